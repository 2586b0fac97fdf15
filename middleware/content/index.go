package content

import "math/bits"

// index finds the rules that can fit a visit without looking at all of them. Each rule is filed under the values of one of
// its conditions.
type index struct {
	rules map[indexKey][]int
	rest  []int // rules without such a condition
}

type indexKey struct{ condition, value string }

// gram is how many bytes of a glob's text are indexed.
const gram = 4

func newIndex(rules []*compiled) index {
	ix := index{rules: make(map[indexKey][]int)}
	frequency := make(map[string]int)
	for _, r := range rules {
		for _, g := range r.globs {
			for _, part := range g.grams() {
				frequency[part]++
			}
		}
	}
	for i, r := range rules {
		keys := r.indexKeys(frequency)
		if len(keys) == 0 {
			ix.rest = append(ix.rest, i)
		}
		for _, key := range keys {
			ix.rules[key] = append(ix.rules[key], i)
		}
	}
	return ix
}

// indexKeys returns one of which every visit that fits must have, or nothing.
func (r *compiled) indexKeys(frequency map[string]int) (keys []indexKey) {
	for _, by := range []struct {
		condition string
		values    []string
	}{{"users", r.Users}, {"keys", r.Keys}, {"groups", r.Groups}, {"principals", r.Principals}} {
		for _, value := range by.values {
			keys = append(keys, indexKey{by.condition, value})
		}
		if len(keys) > 0 {
			return keys
		}
	}
	for _, g := range r.globs {
		rarest := ""
		for _, part := range g.grams() {
			if rarest == "" || frequency[part] < frequency[rarest] {
				rarest = part
			}
		}
		if rarest == "" {
			return nil
		}
		keys = append(keys, indexKey{"command", rarest})
	}
	return keys
}

// grams returns all texts of the length gram that a command which matches contains.
func (g glob) grams() (grams []string) {
	for _, text := range g.literals() {
		for i := 0; i+gram <= len(text); i++ {
			grams = append(grams, text[i:i+gram])
		}
	}
	return grams
}

// candidates marks the rules that can fit.
func (ix *index) candidates(v visitor, marked bitset) {
	marked.add(ix.rest)
	marked.add(ix.rules[indexKey{"users", v.User}])
	marked.add(ix.rules[indexKey{"keys", v.Key}])
	for _, group := range v.groups {
		marked.add(ix.rules[indexKey{"groups", group}])
	}
	for _, principal := range v.Principals {
		marked.add(ix.rules[indexKey{"principals", principal}])
	}
	for i := 0; i+gram <= len(v.Command); i++ {
		marked.add(ix.rules[indexKey{"command", v.Command[i : i+gram]}])
	}
}

// bitset is a set of rules.
type bitset []uint64

func (b bitset) add(rules []int) {
	for _, i := range rules {
		b[i/64] |= 1 << (i % 64)
	}
}

// next returns the first rule from i on, or -1.
func (b bitset) next(i int) int {
	for word := i / 64; word < len(b); word++ {
		left := b[word]
		if word == i/64 {
			left &= ^uint64(0) << (i % 64)
		}
		if left != 0 {
			return word*64 + bits.TrailingZeros64(left)
		}
	}
	return -1
}
