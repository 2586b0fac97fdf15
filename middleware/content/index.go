package content

import (
	"math/bits"
	"net/netip"
	"slices"
)

// index finds the rules that can fit a visit without looking at all of them. Each rule is filed under the values of one of
// its conditions. BenchmarkAnswer measures what that saves, and what it costs where rules only have dates.
type index struct {
	rules map[indexKey][]int
	rest  bitset // rules without such a condition
	sizes []int  // the bits of the networks
}

type indexKey struct {
	condition, value string
	network          netip.Prefix
}

// gram is how many bytes of a glob's text are indexed.
const gram = 4

func newIndex(rules []*compiled) index {
	ix := index{rules: make(map[indexKey][]int), rest: make(bitset, (len(rules)+63)/64)}
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
			ix.rest.add([]int{i})
		}
		for _, key := range keys {
			ix.rules[key] = append(ix.rules[key], i)
			if size := key.network.Bits(); size >= 0 && !slices.Contains(ix.sizes, size) {
				ix.sizes = append(ix.sizes, size)
			}
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
			keys = append(keys, indexKey{condition: by.condition, value: value})
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
		keys = append(keys, indexKey{condition: "command", value: rarest})
	}
	if len(keys) > 0 {
		return keys
	}
	for _, network := range r.Networks {
		keys = append(keys, indexKey{network: network.Masked()})
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
func (ix *index) candidates(v *visitor, marked bitset) {
	copy(marked, ix.rest)
	marked.add(ix.rules[indexKey{condition: "users", value: v.User}])
	marked.add(ix.rules[indexKey{condition: "keys", value: v.Key}])
	for _, group := range v.groups {
		marked.add(ix.rules[indexKey{condition: "groups", value: group}])
	}
	for _, principal := range v.Principals {
		marked.add(ix.rules[indexKey{condition: "principals", value: principal}])
	}
	for _, size := range ix.sizes {
		if network, err := v.address.Prefix(size); err == nil {
			marked.add(ix.rules[indexKey{network: network}])
		}
	}
	for i := 0; i+gram <= len(v.Command); i++ {
		marked.add(ix.rules[indexKey{condition: "command", value: v.Command[i : i+gram]}])
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
