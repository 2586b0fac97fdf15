package middleware

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"charm.land/ssh"
)

// FailLog returns the layer that logs failed logins for programs that ban attackers, such as fail2ban and CrowdSec. The
// lines have sshd's format, so that the standard filters of these programs match them. Each line is one Write.
//
//	Nov 22 16:20:00 host sshd[17]: Failed password for invalid user root from 192.0.2.1 port 4711 ssh2
//
// The number identifies the connection, where sshd has a process ID. Filters use it to group lines, and to discard the
// failures of a connection that is authenticated later. The time is local, as in syslog. If known is not nil, users for
// whom it is false are logged as invalid.
//
// A user name is shown with the characters that the filters accept: letters, digits, "_", "-" and ".". Other characters
// become "_", and only 64 bytes are shown. So no name can forge the end of a line, and no name keeps a filter from
// matching.
//
// The lines count towards the limits of [Logging], so that nobody can fill the disk with them.
//
// Open a file with O_APPEND.
//
// Refused keys are not logged. Clients offer several keys, the layer cannot distinguish a refused offer from an invalid
// signature, and the library does not report an invalid signature by an accepted key. The user of such a connection is
// logged when it ends without authentication. sshd logs "Invalid user" at once, but this layer waits until then: an
// extra line for some users could be measured in the response time.
func FailLog(w io.Writer, known func(user string) bool) Layer {
	l := &failLog{w: w, known: known}
	l.connections.Store(uint32(time.Now().Unix())) // a later layer on the same file has other numbers
	return Layer{
		Name:   "faillog",
		Server: l.prepare,
		Connect: func(c *Conn) (Moments, error) {
			f := &failures{log: l, conn: c}
			return Moments{Attempt: f.attempt, Closed: f.closed}, nil
		},
	}
}

// maxPID is the largest process ID on Linux. After it the numbers start again at 1.
const maxPID = 1 << 22

type failLog struct {
	known       func(user string) bool
	host        string
	connections atomic.Uint32

	mu sync.Mutex
	w  io.Writer
}

func (l *failLog) prepare(*ssh.Server) error {
	if l.w == nil {
		return errors.New("no writer")
	}
	host, err := os.Hostname()
	l.host = nameOf(host)
	return err
}

// failures logs the failed logins of one connection.
type failures struct {
	log    *failLog
	conn   *Conn
	number uint32
	peer   string // "192.0.2.1 port 4711"
	user   string // of the last attempt, as it is shown; "" before the first one
	valid  bool   // the user is known
}

func (f *failures) attempt(a Attempt) {
	if f.number == 0 {
		f.number = (f.log.connections.Add(1)-1)%maxPID + 1
	}
	f.user, f.peer = nameOf(a.User()), peerOf(a.RemoteAddr())
	f.valid = f.log.known == nil || f.log.known(a.User())
	switch a.Outcome {
	case Succeeded:
		f.write("Accepted %s for %s from %s ssh2", a.Method, f.user, f.peer)
	case Continues:
		f.write("Partial %s for %s from %s ssh2", nameOf(a.Method), f.user, f.peer)
	case AttemptFailed:
		if a.Method != "password" && a.Method != "keyboard-interactive" {
			return
		}
		invalid := ""
		if !f.valid {
			invalid = "invalid user "
		}
		f.write("Failed %s for %s%s from %s ssh2", a.Method, invalid, f.user, f.peer)
	}
}

func (f *failures) closed(err error) {
	if err == nil || f.user == "" {
		return
	}
	kind := "authenticating"
	if !f.valid {
		kind = "invalid"
		f.write("Invalid user %s from %s", f.user, f.peer)
	}
	f.write("Connection closed by %s user %s %s [preauth]", kind, f.user, f.peer)
}

// write writes a line, if the log's budget allows one more. A write error does not change the outcome of the attempt.
func (f *failures) write(format string, args ...any) {
	if !f.conn.log.Allow(slog.LevelWarn, 1) {
		return
	}
	prefix := fmt.Sprintf("%s %s sshd[%d]: ", time.Now().Format(time.Stamp), f.log.host, f.number)
	line := []byte(prefix + fmt.Sprintf(format, args...) + "\n")
	f.log.mu.Lock()
	defer f.log.mu.Unlock()
	if _, err := f.log.w.Write(line); err != nil {
		f.conn.Logger().Error("failed login not written", "err", err)
	}
}

// nameOf returns name in a form that filters match: CrowdSec's USERNAME is [a-zA-Z0-9._-]+, and fail2ban allows no space.
func nameOf(name string) string {
	shown := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r) {
			return r
		}
		return '_'
	}, name[:min(len(name), maxShownName)])
	if shown == "" {
		return "_"
	}
	return shown
}

// peerOf returns an address in sshd's format, also if it is not an IP address.
func peerOf(addr net.Addr) string {
	peer, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return "UNKNOWN port 65535"
	}
	return fmt.Sprintf("%s port %d", peer.Addr().Unmap().WithZone(""), peer.Port())
}
