package content

import (
	"fmt"
	"net/netip"
	"time"

	"foyer/middleware/eventlog/sanitize"
)

// maxValue is how many bytes of a value are shown.
const maxValue = 256

// Visit is what is known about a session or, for a banner, about a connection before authentication.
type Visit struct {
	User        string
	Address     netip.Addr
	Client      string // the client's version
	Method      string // the authentication method that succeeded
	Key         string // the SHA256 fingerprint of the key that was proven, if any
	Certificate string // the key id of its certificate
	Principals  []string
	Request     string // "shell", "exec" or "subsystem"
	Command     string // the command line, or the name of the subsystem
	Terminal    bool   // whether a terminal was requested
	Now         time.Time
	Server      string // the name of this server
}

// values are what placeholders are replaced with. Whatever a visitor chose is cleaned as in the log.
type values struct {
	*Visit
	group string
	until time.Time
}

// Value implements placeholder.Values.
func (v *values) Value(name string) string { return sanitize.String(v.raw(name), maxValue) }

func (v *values) raw(name string) string {
	switch name {
	case "user":
		return v.User
	case "group":
		return v.group
	case "address":
		return showAddress(v.Address)
	case "client":
		return v.Client
	case "method":
		return v.Method
	case "key":
		return v.Key
	case "certificate":
		return v.Certificate
	case "command":
		return v.Command
	case "server":
		return v.Server
	}
	return v.clock(name)
}

func showAddress(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.Unmap().String()
}

func (v *values) clock(name string) string {
	switch name {
	case "time":
		return v.Now.Format("15:04 MST")
	case "date":
		return v.Now.Format(time.DateOnly)
	case "until":
		if v.until.IsZero() {
			return "further notice"
		}
		return v.until.Format("2006-01-02 15:04 MST")
	}
	if v.until.IsZero() {
		return "later"
	}
	return left(v.until.Sub(v.Now))
}

// left says when a time comes, such as "in 3 hours", in the largest unit of which there is one or, of days, two.
func left(d time.Duration) string {
	const day = 24 * time.Hour
	minutes, hours, days := d.Round(time.Minute)/time.Minute, d.Round(time.Hour)/time.Hour, d.Round(day)/day
	switch {
	case d <= 0:
		return "now"
	case minutes < 1:
		return "in less than a minute"
	case minutes < 60:
		return in(int(minutes), "minute")
	case hours < 48:
		return in(int(hours), "hour")
	}
	return in(int(days), "day")
}

func in(n int, unit string) string {
	if n != 1 {
		unit += "s"
	}
	return fmt.Sprintf("in %d %s", n, unit)
}
