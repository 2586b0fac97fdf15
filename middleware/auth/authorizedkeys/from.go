package authorizedkeys

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"foyer/middleware/auth/keyfile"
)

// pattern is one entry of from=.
type pattern struct {
	refuses bool
	network netip.Prefix // or, where it is invalid,
	glob    string       // on the address as text
}

// matches reports whether addr is matched and not refused, in any order, as in sshd (addrmatch.c, addr_match_list).
// The zero address is matched by nothing.
func matches(patterns []pattern, addr netip.Addr) bool {
	matched := false
	for _, p := range patterns {
		if addr.IsValid() && p.match(addr) {
			if p.refuses {
				return false
			}
			matched = true
		}
	}
	return matched
}

func (p pattern) match(addr netip.Addr) bool {
	if p.network.IsValid() {
		return p.network.Contains(addr)
	}
	return glob(p.glob, addr.String())
}

// parsePatterns parses the value of from=. An entry that no address can match, because it is a host name or a slip, is
// an error: a refusal among the others would be ignored.
func parsePatterns(list string) ([]pattern, error) {
	var patterns []pattern
	for text := range strings.SplitSeq(list, ",") {
		text, refuses := strings.CutPrefix(strings.TrimSpace(text), "!")
		p := pattern{refuses: refuses}
		if strings.ContainsAny(text, "*?") {
			if p.glob = strings.ToLower(text); !addressLike(p.glob) {
				return nil, errHostName
			}
		} else {
			var err error
			if p.network, err = keyfile.Network(text); err != nil {
				return nil, fmt.Errorf("from has an entry that cannot be used: %w", err)
			}
		}
		patterns = append(patterns, p)
	}
	return patterns, nil
}

var errHostName = errors.New("from has a pattern that only a host name could match, and no names are looked up")

// addressLike reports whether a pattern can match an address: dotted IPv4, or IPv6, which never has a dot here.
func addressLike(glob string) bool {
	letters := "0123456789.*?"
	if !strings.Contains(glob, ".") {
		letters = "0123456789abcdef:*?"
	}
	return strings.Trim(glob, letters) == ""
}

// glob reports whether text matches a pattern in which "*" stands for anything and "?" for one character. It looks
// back to the last star only, so that many of them cost no more than the product of both lengths.
func glob(pattern, text string) bool {
	star, mark := -1, 0
	p, t := 0, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p++
			t++
		case star >= 0:
			mark++
			p, t = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
