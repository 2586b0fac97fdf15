package middleware

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"charm.land/ssh"
)

// FailLog returns the layer that tells programs which ban who guesses, such as fail2ban and CrowdSec, of failed logins:
// in sshd's own words, so that their stock filters read them, one line and one Write each. Logging is for people.
//
//	Nov 22 16:20:00 door sshd[17]: Failed password for invalid user root from 192.0.2.1 port 4711 ssh2
//
// The number is the connection's, as with sshd, which has a process for each: filters tell by it what belongs together,
// and forget the failures of a connection when somebody gets in on it. The time is local, as syslog's. Where known is not
// nil, users for whom it is false are called invalid.
//
// A user name is shown as what those filters take for one: letters, digits, "_", "-" and ".", every other character as
// "_", and no more than 64. A name that is dressed up as the end of a line bans nobody, and one that no filter can read
// protects nobody.
//
// A file has to be opened with O_APPEND, and rotated with copytruncate: it is written to for as long as the server runs.
//
// Failed keys are not told: clients offer one after the other, and an offer that is refused looks here like a proof that
// is; of a false proof of a key that would do the library does not tell. Their users are told when the connection ends
// without success. That is also when "Invalid user" is said, which sshd says at once: a line more for some users than for
// others could be seen in the time until the answer.
func FailLog(w io.Writer, known func(user string) bool) Layer {
	l := &failLog{w: w, known: known}
	return Layer{
		Name:   "faillog",
		Server: l.prepare,
		Connect: func(c *Conn) (Moments, error) {
			f := &failures{log: l, conn: c}
			return Moments{Attempt: f.attempt, Closed: f.closed}, nil
		},
	}
}

// maxPID is the largest process id that Linux has. Numbers start again after it.
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
		return errors.New("nothing to write to")
	}
	host, err := os.Hostname()
	l.host = nameOf(host)
	return err
}

// failures are those of one connection.
type failures struct {
	log    *failLog
	conn   *Conn
	number uint32
	peer   string // "192.0.2.1 port 4711"
	user   string // who tried last, cleaned; empty where nobody did
	valid  bool
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

// write writes a line. If that fails the attempt is decided all the same.
func (f *failures) write(format string, facts ...any) {
	prefix := fmt.Sprintf("%s %s sshd[%d]: ", time.Now().Format(time.Stamp), f.log.host, f.number)
	line := []byte(prefix + fmt.Sprintf(format, facts...) + "\n")
	f.log.mu.Lock()
	defer f.log.mu.Unlock()
	if _, err := f.log.w.Write(line); err != nil {
		f.conn.Logger().Error("failed login not told", "err", err)
	}
}

// nameOf returns name as a filter takes it for one: CrowdSec's USERNAME is [a-zA-Z0-9._-]+, and fail2ban wants no space.
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

// peerOf returns an address in sshd's words, and, where it is none, those that sshd has for that.
func peerOf(addr net.Addr) string {
	peer, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return "UNKNOWN port 65535"
	}
	return fmt.Sprintf("%s port %d", peer.Addr().Unmap().WithZone(""), peer.Port())
}
