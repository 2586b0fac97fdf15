package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"foyer/cmd/cli"
	"foyer/middleware/source"
)

// The types of the settings. Each is a [pflag.Value] that parses and checks the value.

// choice is one of a list of words.
type choice struct {
	value *string
	of    []string
}

func (c choice) String() string    { return *c.value }
func (c choice) Type() string      { return strings.Join(c.of, "|") }
func (c choice) Choices() []string { return c.of }

func (c choice) Set(word string) error {
	if !slices.Contains(c.of, word) {
		return fmt.Errorf("%q is not one of %s", word, strings.Join(c.of, ", "))
	}
	*c.value = word
	return nil
}

// level is a log level.
type level struct{ value *slog.Level }

var levels = []string{"debug", "info", "warn", "error"}

func (l level) String() string    { return strings.ToLower(l.value.String()) }
func (l level) Type() string      { return strings.Join(levels, "|") }
func (l level) Choices() []string { return levels }

func (l level) Set(word string) error {
	if !slices.Contains(levels, word) {
		return fmt.Errorf("%q is not one of %s", word, strings.Join(levels, ", "))
	}
	return l.value.UnmarshalText([]byte(word))
}

// path is the path of a file or a directory. An empty one stands for none.
type path struct {
	value *string
	kind  string // "file" or "directory"
}

func (p path) String() string { return *p.value }
func (p path) Type() string   { return p.kind }

func (p path) Set(text string) error {
	*p.value = text
	return nil
}

// toggle is true or false.
type toggle struct{ value *bool }

func (t toggle) String() string { return strconv.FormatBool(*t.value) }
func (t toggle) Type() string   { return "bool" }

func (t toggle) Set(text string) (err error) {
	*t.value, err = strconv.ParseBool(text)
	return err
}

// count is an integer from least to most.
type count struct {
	value       *int
	least, most int
}

func (c count) String() string           { return strconv.Itoa(*c.value) }
func (c count) Type() string             { return "number" }
func (c count) Range() (least, most int) { return c.least, c.most }

func (c count) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err == nil {
		err = within(text, n, c.least, c.most)
	}
	if err == nil {
		*c.value = n
	}
	return err
}

// duration is a duration from least to most.
type duration struct {
	value       *time.Duration
	least, most time.Duration
}

func (d duration) String() string { return d.value.String() }
func (d duration) Type() string   { return "duration" }

func (d duration) Set(text string) error {
	span, err := time.ParseDuration(text)
	if err == nil {
		err = within(text, span, d.least, d.most)
	}
	if err == nil {
		*d.value = span
	}
	return err
}

// within returns an error for a value that is too small or too large.
func within[T cmp.Ordered](text string, value, least, most T) error {
	switch {
	case value < least:
		return fmt.Errorf("%s is less than %v", text, least)
	case value > most:
		return fmt.Errorf("%s is more than %v", text, most)
	}
	return nil
}

// optionalLimit is a duration whose 0 means no limit, which is stored as -1.
type optionalLimit struct{ duration }

func (f optionalLimit) String() string {
	if *f.value < 0 {
		return "0"
	}
	return f.duration.String()
}

func (f optionalLimit) Set(text string) error {
	err := f.duration.Set(text)
	if err == nil && *f.value == 0 {
		*f.value = -1
	}
	return err
}

// list is a list. The first use of its flag replaces the default, and each further one adds to it.
type list[T any] struct {
	value *[]T
	kind  string
	parse func(string) (T, error)
	show  func(T) string
	given *bool
}

func newList[T any](value *[]T, kind string, parse func(string) (T, error), show func(T) string) list[T] {
	return list[T]{value, kind, parse, show, new(bool)}
}

func (l list[T]) String() string { return strings.Join(l.GetSlice(), ",") }
func (l list[T]) Type() string   { return l.kind }

// Set adds elements that are separated by commas.
func (l list[T]) Set(text string) error {
	if !*l.given {
		return l.Replace(strings.Split(text, ","))
	}
	for element := range strings.SplitSeq(text, ",") {
		if err := l.Append(element); err != nil {
			return err
		}
	}
	return nil
}

// Append implements [pflag.SliceValue].
func (l list[T]) Append(text string) error {
	element, err := l.parse(strings.TrimSpace(text))
	if err == nil {
		*l.value = append(*l.value, element)
	}
	return err
}

// Replace implements [pflag.SliceValue].
func (l list[T]) Replace(texts []string) error {
	var replaced []T
	for _, text := range texts {
		element, err := l.parse(strings.TrimSpace(text))
		if err != nil {
			return err
		}
		replaced = append(replaced, element)
	}
	*l.value, *l.given = replaced, true
	return nil
}

// GetSlice implements [pflag.SliceValue].
func (l list[T]) GetSlice() (texts []string) {
	for _, element := range *l.value {
		texts = append(texts, l.show(element))
	}
	return texts
}

func asIs(text string) string { return text }

// parseAddress checks an address to listen on: host:port, or unix:PATH.
func parseAddress(text string) (string, error) {
	if path, isSocket := strings.CutPrefix(text, "unix:"); isSocket {
		if path == "" || len(path) > maxSocketPath {
			return "", cli.With(fmt.Errorf("%q: the path of a socket has 1 to %d bytes", text, maxSocketPath), "use a path as in --listen unix:/run/foyer.sock")
		}
		return text, nil
	}
	_, port, err := net.SplitHostPort(text)
	if err == nil {
		if _, notNumber := strconv.ParseUint(port, 10, 16); notNumber != nil {
			err = fmt.Errorf("port %q is not a number from 0 to 65535", port)
		}
	}
	if err == nil {
		return text, nil
	}
	if bad, ok := errors.AsType[*net.AddrError](err); ok {
		err = errors.New(bad.Err)
	}
	return "", cli.With(fmt.Errorf("%q: %w", text, err), "use host:port or :port, as in --listen :2022, or unix:PATH")
}

// maxSocketPath is the longest path of a Unix socket, without the zero byte at its end (sun_path in unix(7)).
const maxSocketPath = 107

// parseNetwork parses a network like 192.0.2.0/24.
func parseNetwork(text string) (netip.Prefix, error) {
	network, err := netip.ParsePrefix(text)
	if err == nil {
		err = source.Networks{Exempt: []netip.Prefix{network}}.Validate()
	} else {
		err = fmt.Errorf("%q is not a network", text)
	}
	if err != nil {
		return network, cli.With(err, "use networks like 192.0.2.0/24,2001:db8::/32")
	}
	return network, nil
}

// parseCombination checks a combination of authentication methods.
func parseCombination(text string) (string, error) {
	for method := range strings.SplitSeq(text, "+") {
		if !slices.Contains([]string{"password", "publickey", "keyboard-interactive"}, method) {
			return "", cli.With(fmt.Errorf("unknown method %q", method), "use --auth publickey,password, or publickey+password to require both")
		}
	}
	return text, nil
}

// sourceBits is how many bits of an IPv4 and of an IPv6 address identify a source.
type sourceBits struct{ value *source.Networks }

func (b sourceBits) String() string { return fmt.Sprintf("%d:%d", b.value.Bits4, b.value.Bits6) }
func (b sourceBits) Type() string   { return "bits:bits" }

func (b sourceBits) Set(text string) error {
	four, six, _ := strings.Cut(text, ":")
	bits4, err4 := strconv.ParseUint(four, 10, 8)
	bits6, err6 := strconv.ParseUint(six, 10, 8)
	if errors.Join(err4, err6) != nil || bits4 < 1 || bits4 > 32 || bits6 < 1 || bits6 > 128 {
		return cli.With(fmt.Errorf("%q is not 1 to 32 bits and 1 to 128 bits", text), "use IPv4 bits:IPv6 bits, as in --penalty-sources 32:64")
	}
	b.value.Bits4, b.value.Bits6 = int(bits4), int(bits6)
	return nil
}
