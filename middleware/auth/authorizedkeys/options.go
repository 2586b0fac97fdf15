package authorizedkeys

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/auth/keyfile"
)

// rules are what the options of a line say.
type rules struct {
	from    []pattern // nil where anywhere will do
	expires time.Time // zero for never
	permits map[string]bool
}

// admit returns why the key does not let anybody in from an address at a time, or nil.
func (r rules) admit(from netip.Addr, now time.Time) error {
	switch {
	case !r.expires.IsZero() && !now.Before(r.expires):
		return errors.New("the key has expired")
	case r.from != nil && !matches(r.from, from):
		return errors.New("the key is not for this address")
	}
	return nil
}

// permissions returns a copy of its own for each login.
func (r rules) permissions() *gossh.Permissions {
	extensions := map[string]string{}
	for permit, ok := range r.permits {
		if ok {
			extensions[permit] = ""
		}
	}
	return &gossh.Permissions{Extensions: extensions}
}

// flags are the options that permit something, and with "no-" in front do not.
var flags = map[string]string{
	"pty":              keyfile.PermitPTY,
	"port-forwarding":  keyfile.PermitPortForwarding,
	"agent-forwarding": keyfile.PermitAgentForwarding,
	"x11-forwarding":   keyfile.PermitX11Forwarding,
	"user-rc":          keyfile.PermitUserRC,
}

// parseOptions parses the options of a line as sshd does (auth-options.c, sshauthopt_parse), in their order. An option
// that cannot be honoured is an error.
func parseOptions(list string) (rules, error) {
	r := rules{permits: map[string]bool{}}
	for _, permit := range keyfile.Permits() {
		r.permits[permit] = true
	}
	for rest := list; rest != ""; {
		var o option
		var err error
		if o, rest, err = cutOption(rest); err != nil {
			return rules{}, err
		}
		if err := r.apply(o); err != nil {
			return rules{}, err
		}
	}
	return r, nil
}

// apply lets an option have its effect.
func (r *rules) apply(o option) (err error) {
	permit, isFlag := flags[strings.TrimPrefix(o.name, "no-")]
	switch {
	case o.name == "from" && o.valued && r.from == nil:
		r.from, err = parsePatterns(o.value)
	case o.name == "expiry-time" && o.valued:
		err = r.expire(o.value)
	case o.name == "restrict" && !o.valued:
		clear(r.permits)
	case isFlag && !o.valued:
		r.permits[permit] = !strings.HasPrefix(o.name, "no-")
	default:
		err = o.refuse()
	}
	return err
}

// expire makes the key expire at the time, unless it does so before. The forms are those of sshd (misc.c,
// parse_absolute_time), which takes no time before 1970 either: the year 1 would here be no time at all, and the key
// good for ever.
func (r *rules) expire(text string) error {
	digits, zone := strings.ToUpper(text), time.Local
	for _, suffix := range []string{"Z", "UTC"} {
		if before, ok := strings.CutSuffix(digits, suffix); ok {
			digits, zone = before, time.UTC
			break
		}
	}
	layout, ok := map[int]string{8: "20060102", 12: "200601021504", 14: "20060102150405"}[len(digits)]
	if !ok || strings.Trim(digits, "0123456789") != "" {
		return errExpiry
	}
	at, err := time.ParseInLocation(layout, digits, zone)
	if err != nil || at.Unix() < 0 {
		return errExpiry
	}
	if r.expires.IsZero() || at.Before(r.expires) {
		r.expires = at
	}
	return nil
}

var errExpiry = errors.New("expiry-time is not a time like 20301231, 203012312359 or 20301231235959Z")

// errAuthority is why the key of an authority is no key of the user.
var errAuthority = errors.New("cert-authority is not for the keys of a user")

// refuse says why an option makes its key unusable.
func (o option) refuse() error {
	switch o.name {
	case "cert-authority":
		return errAuthority
	case "from":
		return errors.New("from wants one list of addresses, once")
	case "no-touch-required":
		return errors.New("no-touch-required: a security key has to be touched")
	}
	if len(o.name) > 32 || strings.Trim(o.name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return errors.New("the options cannot be read") // it may be anything, a private key too
	}
	return fmt.Errorf("option %q cannot be honoured, and none is ignored", o.name)
}

// option is one option of a line, its name in lower case.
type option struct {
	name, value string
	valued      bool // whether there is a value, be it empty
}

var errList = errors.New("the options are divided by one comma each, with no space")

// cutOption takes the first option off a list that is not empty, and the comma behind it.
func cutOption(list string) (o option, rest string, err error) {
	end := strings.IndexAny(list, "=,")
	if end < 0 {
		return option{name: strings.ToLower(list)}, "", nil
	}
	o.name = strings.ToLower(list[:end])
	rest = list[end:]
	if rest[0] == '=' {
		o.valued = true
		if o.value, rest, err = unquote(rest[1:]); err != nil {
			return option{}, "", err
		}
	}
	if rest == "" {
		return o, "", nil
	}
	if rest[0] != ',' || rest == "," {
		return option{}, "", errList
	}
	return o, rest[1:], nil
}

// unquote takes a quoted value off text. The only escape in it is \", as in sshd (misc.c, opt_dequote).
func unquote(text string) (value, rest string, err error) {
	if !strings.HasPrefix(text, `"`) {
		return "", "", errors.New("the value of an option is not in quotation marks")
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch {
		case strings.HasPrefix(text[i:], `\"`):
			i++
			b.WriteByte('"')
		case text[i] == '"':
			return b.String(), text[i+1:], nil
		default:
			b.WriteByte(text[i])
		}
	}
	return "", "", errors.New("a quotation mark of an option is missing")
}

// cutOptions divides a line at the first space that is not quoted (auth2-pubkeyfile.c, sshkey_advance_past_options).
// Where there is none, no key is left.
func cutOptions(text string) (options, rest string) {
	quoted := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case strings.HasPrefix(text[i:], `\"`):
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ' ' || c == '\t'):
			return text[:i], strings.TrimLeft(text[i:], " \t")
		}
	}
	return text, ""
}
