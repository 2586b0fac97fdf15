package main

import (
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

// count is an integer of at least least.
type count struct {
	value *int
	least int
}

func (c count) String() string { return strconv.Itoa(*c.value) }
func (c count) Type() string   { return "number" }

func (c count) Set(text string) error {
	n, err := strconv.Atoi(text)
	switch {
	case err != nil:
		return err
	case n < c.least:
		return tooSmall{text, strconv.Itoa(c.least)}
	}
	*c.value = n
	return nil
}

// duration is a duration of at least least.
type duration struct {
	value *time.Duration
	least time.Duration
}

func (d duration) String() string { return d.value.String() }
func (d duration) Type() string   { return "duration" }

func (d duration) Set(text string) error {
	span, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return err
	case span < d.least:
		return tooSmall{text, d.least.String()}
	}
	*d.value = span
	return nil
}

// tooSmall is the error of a number below the minimum.
type tooSmall struct{ value, least string }

func (e tooSmall) Error() string { return fmt.Sprintf("%s is less than %s", e.value, e.least) }

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

// address is a TCP address to listen on.
type address struct{ value *string }

func (a address) String() string { return *a.value }
func (a address) Type() string   { return "address" }

func (a address) Set(text string) error {
	_, port, err := net.SplitHostPort(text)
	if err == nil {
		if _, notNumber := strconv.ParseUint(port, 10, 16); notNumber != nil {
			err = fmt.Errorf("port %q is not a number from 0 to 65535", port)
		}
	}
	if err == nil {
		*a.value = text
		return nil
	}
	if bad, ok := errors.AsType[*net.AddrError](err); ok {
		err = errors.New(bad.Err)
	}
	return cli.With(fmt.Errorf("%q: %w", text, err), "use host:port or :port, as in --listen :2022")
}

// networks is a list of networks. Each use of the flag adds to it.
type networks struct{ value *[]netip.Prefix }

func (n networks) String() string {
	var texts []string
	for _, network := range *n.value {
		texts = append(texts, network.String())
	}
	return strings.Join(texts, ",")
}

func (n networks) Type() string { return "networks" }

func (n networks) Set(text string) error {
	for part := range strings.SplitSeq(text, ",") {
		network, err := netip.ParsePrefix(strings.TrimSpace(part))
		if err == nil {
			err = source.Networks{Exempt: []netip.Prefix{network}}.Validate()
		} else {
			err = fmt.Errorf("%q is not a network", part)
		}
		if err != nil {
			return cli.With(err, "use networks like 192.0.2.0/24,2001:db8::/32")
		}
		*n.value = append(*n.value, network)
	}
	return nil
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

// combinations is a list of combinations of authentication methods. The first use of the flag replaces the default.
type combinations struct {
	value *[]string
	given *bool
}

func newCombinations(value *[]string, defaults ...string) combinations {
	*value = defaults
	return combinations{value, new(bool)}
}

func (c combinations) String() string { return strings.Join(*c.value, ",") }
func (c combinations) Type() string   { return "methods" }

func (c combinations) Set(text string) error {
	for method := range strings.SplitSeq(strings.ReplaceAll(text, "+", ","), ",") {
		if !slices.Contains([]string{"password", "publickey", "keyboard-interactive"}, method) {
			return cli.With(fmt.Errorf("unknown method %q", method), "use --auth publickey,password, or publickey+password to require both")
		}
	}
	if !*c.given {
		*c.value, *c.given = nil, true
	}
	*c.value = append(*c.value, strings.Split(text, ",")...)
	return nil
}
