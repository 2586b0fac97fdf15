package authorizedkeys

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/auth/keyfile"
)

// rules are the options of a line.
type rules struct {
	from    []pattern         // nil for any address
	expires time.Time         // zero for never
	permits map[string]string // as in Permissions
}

// admit returns an error if the key is not valid from an address or at a time.
func (r rules) admit(from netip.Addr, now time.Time) error {
	switch {
	case !r.expires.IsZero() && !now.Before(r.expires):
		return errors.New("the key has expired")
	case r.from != nil && !matches(r.from, from):
		return errors.New("the key is not valid from this address")
	}
	return nil
}

// permissions returns a new copy for each login.
func (r rules) permissions() *gossh.Permissions {
	return &gossh.Permissions{Extensions: maps.Clone(r.permits)}
}

// flags are the options that permit something or, with "no-" in front, forbid it.
var flags = map[string]string{
	"pty":              keyfile.PermitPTY,
	"port-forwarding":  keyfile.PermitPortForwarding,
	"agent-forwarding": keyfile.PermitAgentForwarding,
	"x11-forwarding":   keyfile.PermitX11Forwarding,
	"user-rc":          keyfile.PermitUserRC,
}

// parseOptions parses the options of a line in order, as sshd does (auth-options.c, sshauthopt_parse), which skips commas
// without an option. It returns an error for an option that cannot be honoured.
func parseOptions(list string) (rules, error) {
	r := rules{permits: map[string]string{}}
	for _, permit := range keyfile.Permits() {
		r.permits[permit] = ""
	}
	for rest := strings.TrimLeft(list, ","); rest != ""; rest = strings.TrimLeft(rest, ",") {
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

func (r *rules) apply(o option) (err error) {
	flag, forbid := strings.CutPrefix(o.name, "no-")
	permit, isFlag := flags[flag]
	switch {
	case o.name == "from" && o.valued && r.from == nil:
		r.from, err = parsePatterns(o.value)
	case o.name == "expiry-time" && o.valued:
		err = r.expire(o.value)
	case o.name == "restrict" && !o.valued:
		clear(r.permits)
	case isFlag && !o.valued && forbid:
		delete(r.permits, permit)
	case isFlag && !o.valued:
		r.permits[permit] = ""
	default:
		err = o.refuse()
	}
	return err
}

// expire sets the expiry time, unless the key expires earlier. The formats are those of sshd (misc.c,
// parse_absolute_time), which also rejects times before 1970. The zero time, in the year 1, would mean that the key never
// expires.
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

var errExpiry = errors.New("invalid expiry-time: use a time like 20301231, 203012312359 or 20301231235959Z")

var errAuthority = &keyfile.Error{
	Err: errors.New("cert-authority is not supported in the file of a user"),
	Fix: "put the key on a line of its own in another FILE, and use: --user-ca FILE",
}

// refuse returns the reason why a key with this option is not used.
func (o option) refuse() error {
	switch o.name {
	case "cert-authority":
		return errAuthority
	case "from":
		return errors.New("from needs exactly one list of addresses")
	case "no-touch-required":
		return errors.New("no-touch-required is not supported, because a security key has to be touched")
	}
	if len(o.name) > 32 || strings.Trim(o.name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return errors.New("invalid options") // not quoted: this may be a private key
	}
	return fmt.Errorf("option %q cannot be honoured, so the key is not used", o.name)
}

// option is one option of a line, its name in lower case.
type option struct {
	name, value string
	valued      bool // whether there is a value, even an empty one
}

// cutOption cuts the first option off a list that is not empty. The rest is empty or starts with a comma.
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
	if rest != "" && rest[0] != ',' {
		return option{}, "", errors.New("options must be separated by commas, without spaces")
	}
	return o, rest, nil
}

// unquote cuts a quoted value off text. The only escape sequence is \", as in sshd (misc.c, opt_dequote).
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
	return "", "", errors.New("the value of an option has no closing quotation mark")
}

// cutOptions splits a line at the first space outside quotation marks (auth2-pubkeyfile.c, sshkey_advance_past_options).
// Without such a space, rest is empty.
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
