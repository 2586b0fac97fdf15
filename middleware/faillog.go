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
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/auth/passwords"
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
	return Layer{Name: "faillog", Server: l.attach}
}

// pids is how many numbers there are before they come again: as many as Linux has for processes.
const pids = 1 << 22

type failLog struct {
	known       func(user string) bool
	host        string
	connections atomic.Uint32

	mu sync.Mutex
	w  io.Writer
}

// guest is who is on a connection, so far as is known before they are let in.
type guest struct {
	number uint32
	peer   string // "192.0.2.1 port 4711"
	user   string // who tried last, cleaned; empty where nobody did
	valid  bool
}

func (l *failLog) attach(srv *ssh.Server) error {
	if l.w == nil {
		return errors.New("nothing to write to")
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	l.host = nameOf(host)
	return Hooks{Configure: l.configure, Closed: l.closed}.Add(srv)
}

func (l *failLog) configure(ctx ssh.Context, cfg *gossh.ServerConfig) {
	g := &guest{}
	keep(ctx, g)
	afterAttempts(cfg, func(conn gossh.ConnMetadata, method string, err error) {
		if g.number == 0 {
			g.number = (l.connections.Add(1)-1)%pids + 1
		}
		g.user, g.peer = nameOf(conn.User()), peerOf(conn.RemoteAddr())
		g.valid = l.known == nil || l.known(conn.User())
		var partial *gossh.PartialSuccessError
		switch {
		case errors.Is(err, passwords.ErrBusy): // nobody has looked at the password
		case err == nil:
			l.tell(ctx, g, "Accepted %s for %s from %s ssh2", method, g.user, g.peer)
		case errors.As(err, &partial):
			l.tell(ctx, g, "Partial %s for %s from %s ssh2", nameOf(method), g.user, g.peer)
		case method == "password", method == "keyboard-interactive":
			invalid := ""
			if !g.valid {
				invalid = "invalid user "
			}
			l.tell(ctx, g, "Failed %s for %s%s from %s ssh2", method, invalid, g.user, g.peer)
		}
	})
}

func (l *failLog) closed(ctx ssh.Context, err error) {
	g := kept[*guest](ctx)
	if err == nil || g == nil || g.user == "" {
		return
	}
	kind := "authenticating"
	if !g.valid {
		kind = "invalid"
		l.tell(ctx, g, "Invalid user %s from %s", g.user, g.peer)
	}
	l.tell(ctx, g, "Connection closed by %s user %s %s [preauth]", kind, g.user, g.peer)
}

// tell writes a line. Who cannot be told of is let in or refused all the same.
func (l *failLog) tell(ctx ssh.Context, g *guest, format string, facts ...any) {
	prefix := fmt.Sprintf("%s %s sshd[%d]: ", time.Now().Format(time.Stamp), l.host, g.number)
	line := []byte(prefix + fmt.Sprintf(format, facts...) + "\n")
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.w.Write(line); err != nil {
		Logger(ctx).Error("failed login not told", "err", err)
	}
}

// nameOf returns name as a filter takes it for one: CrowdSec's USERNAME is [a-zA-Z0-9._-]+, and fail2ban wants no space.
func nameOf(name string) string {
	shown := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r) {
			return r
		}
		return '_'
	}, name[:min(len(name), shownName)])
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
