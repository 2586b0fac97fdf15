package userca

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/auth/keyfile"
	"foyer/middleware/watchfile"
)

// parseLines calls parse for each line of a file, up to the first error.
func parseLines(path, data string, parse func(text string) error) error {
	lines, err := keyfile.Lines(data)
	if err != nil {
		return &watchfile.Error{Path: path, Err: err}
	}
	for number, text := range lines {
		err := parse(text)
		if len(text) > keyfile.MaxLine {
			err = fmt.Errorf("the line has %d bytes, the limit is %d", len(text), keyfile.MaxLine)
		}
		if err != nil {
			return &watchfile.Error{Path: path, Line: number, Err: err}
		}
	}
	return nil
}

func parseAuthorities(path, data string) (authorities, error) {
	var keys authorities
	err := parseLines(path, data, func(text string) error {
		key, _, err := keyfile.ParseKey(text)
		keys = append(keys, key)
		return err
	})
	return keys, err
}

// serial is the number of a certificate and the fingerprint of its authority, or "" for any authority.
type serial struct {
	number    uint64
	authority string
}

// revocations are the entries of a revocation list.
type revocations struct {
	keys    map[string]bool // by fingerprint
	ids     map[string]bool
	serials map[serial]bool
}

// revoke reports whether an entry revokes cert.
func (r revocations) revoke(cert *gossh.Certificate) bool {
	authority := gossh.FingerprintSHA256(cert.SignatureKey)
	return r.ids[cert.KeyId] || r.keys[authority] || r.keys[gossh.FingerprintSHA256(cert.Key)] ||
		r.serials[serial{cert.Serial, authority}] || r.serials[serial{cert.Serial, ""}]
}

func parseRevocations(path, data string) (revocations, error) {
	r := revocations{keys: map[string]bool{}, ids: map[string]bool{}, serials: map[serial]bool{}}
	return r, parseLines(path, data, r.add)
}

// compareRevocations returns a parser that warns when a list lacks entries of the one before: it may have been cut.
func compareRevocations(warn func(error)) func(path, data string) (revocations, error) {
	var last revocations
	return func(path, data string) (revocations, error) {
		r, err := parseRevocations(path, data)
		if err != nil {
			return r, err
		}
		if gone := last.without(r); gone > 0 {
			warn(&watchfile.Error{Path: path, Err: fmt.Errorf("entries that are gone: %d; what they revoked is valid again", gone)})
		}
		last = r
		return r, nil
	}
}

// without returns how many entries next lacks.
func (r revocations) without(next revocations) int {
	return missing(r.keys, next.keys) + missing(r.ids, next.ids) + missing(r.serials, next.serials)
}

func missing[K comparable](old, next map[K]bool) (n int) {
	for key := range old {
		if !next[key] {
			n++
		}
	}
	return n
}

var errRevocation = errors.New(`not a revocation: use "SHA256:FINGERPRINT", "serial: NUMBER [SHA256:FINGERPRINT]" or "id: KEY ID"`)

func (r revocations) add(text string) error {
	if strings.HasPrefix(text, fingerprintPrefix) {
		r.keys[text] = true
		return checkFingerprint(text)
	}
	kind, value, _ := strings.Cut(text, ":")
	value = strings.TrimLeft(value, " \t")
	switch {
	case kind == "id" && value != "":
		r.ids[value] = true
		return nil
	case kind == "serial":
		s, err := parseSerial(value)
		r.serials[s] = true
		return err
	}
	return errRevocation
}

// parseSerial parses "NUMBER [FINGERPRINT]".
func parseSerial(text string) (serial, error) {
	words := strings.Fields(text)
	if len(words) == 0 || len(words) > 2 {
		return serial{}, errRevocation
	}
	number, err := strconv.ParseUint(words[0], 10, 64)
	switch {
	case err != nil:
		return serial{}, errors.New("a serial number is a decimal number of at most 64 bits")
	case number == 0:
		return serial{}, errors.New("serial 0 would revoke every certificate without a serial number: use id or the fingerprint")
	case len(words) == 1:
		return serial{number: number}, nil
	}
	return serial{number, words[1]}, checkFingerprint(words[1])
}

const fingerprintPrefix = "SHA256:"

// checkFingerprint returns an error if text is not a fingerprint, because it would revoke nothing.
func checkFingerprint(text string) error {
	encoded, _ := strings.CutPrefix(text, fingerprintPrefix)
	sum, err := base64.RawStdEncoding.Strict().DecodeString(encoded)
	if err != nil || len(sum) != 32 || !strings.HasPrefix(text, fingerprintPrefix) {
		return errors.New("not a fingerprint as ssh-keygen -l shows it: use SHA256: and 43 characters")
	}
	return nil
}
