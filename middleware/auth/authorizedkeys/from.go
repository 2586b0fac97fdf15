package authorizedkeys

import (
	"errors"
	"fmt"
	"net/netip"
	"path"
	"strings"

	"foyer/middleware/auth/keyfile"
)

// pattern is one entry of from=.
type pattern struct {
	refuses bool
	network netip.Prefix // if it is invalid, glob counts
	glob    string       // for the address as text
}

// matches reports whether a pattern matches addr and no pattern refuses it, in any order, as in sshd (addrmatch.c,
// addr_match_list). Nothing matches an invalid address.
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
	matched, _ := path.Match(p.glob, addr.String()) // addressLike admits only * and ?
	return matched
}

// parsePatterns parses the value of from=. An entry that can match no address, such as a host name or, as in sshd, one with
// a blank, is an error. Otherwise an entry with "!" might never refuse anything.
func parsePatterns(list string) ([]pattern, error) {
	if strings.ContainsAny(list, " \t") {
		return nil, errors.New("from has a blank: separate its entries by commas alone")
	}
	var patterns []pattern
	for text := range strings.SplitSeq(list, ",") {
		text, refuses := strings.CutPrefix(text, "!")
		p := pattern{refuses: refuses}
		if strings.ContainsAny(text, "*?") {
			if p.glob = strings.ToLower(text); !addressLike(p.glob) {
				return nil, errors.New("from has a pattern that matches only host names, and foyer does not look them up")
			}
		} else {
			var err error
			if p.network, err = keyfile.Network(text); err != nil {
				return nil, fmt.Errorf("invalid entry in from: %w", err)
			}
		}
		patterns = append(patterns, p)
	}
	return patterns, nil
}

// addressLike reports whether a pattern can match an address: IPv4, or IPv6 in hexadecimal digits.
func addressLike(glob string) bool {
	letters := "0123456789.*?"
	if !strings.Contains(glob, ".") {
		letters = "0123456789abcdef:*?"
	}
	return strings.Trim(glob, letters) == ""
}
