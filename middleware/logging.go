package middleware

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"charm.land/log/v2"
	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/eventlog"
	"foyer/middleware/eventlog/sanitize"
	"foyer/middleware/session"
)

// How much of what a peer chose is shown, in bytes: of a name or a client version (which RFC 4253 section 4.2 allows
// 255), and of a command or an error that may quote a peer.
const (
	shownName = 64
	shownText = 256
)

// Logging returns the layer that tells the operator who came, how they got in or did not, and what became of each
// session. One line per event, all lines of a connection with the same conn; passwords and what is said in a session
// are never in it, and what a peer chose is in it cleaned and bounded (package clean).
//
// Failed logins never reach a session, so they are logged from the handshake. The "none" that most clients open with
// is a question, not a failure, and is logged at debug level.
//
// The log is bounded. A connection writes at most 100 lines, each of at most 2 kB and mostly of 200 bytes: a visit has
// five, and 48 sessions on one connection are told in full. All connections together write 100 lines a second after a
// burst of 25,000, those of strangers and those of people who are authenticated each: a flood of strangers hides no
// visitor, and the front page of a news site, 5,000 visitors in ten seconds, is no flood. Above that a connection is
// left out from its first line on, until somebody gets in; one that is in the log has a last line in any case, with the
// number of those that were left out before, omitted. Errors pass: nothing but errors, by the same rate, is in their
// way. So whatever comes, and however long, adds 20 kB a second for each of the two, 200 kB at the very worst. From 250
// connections, guesses or sessions a second on that is less than they are themselves, once they have made up for the
// burst.
//
// The logger is a [log.Logger] for these bounds, or what [eventlog.New] has made of one for others. Lines that were left
// out are counted in its counters, as log-lines or log-rate, which tells of them once a minute.
func Logging(logger eventlog.Sink) Layer {
	lines := eventlog.Of(logger)
	return Layer{
		Name: "logging",
		Server: Hooks{
			Accept: func(ctx ssh.Context, conn net.Conn) net.Conn {
				id := strings.ToLower(rand.Text()[:10]) // 50 bits: unique in any log that is still kept
				peer := conn.RemoteAddr()
				told := connection{lines.Connection(peer, "conn", id, "addr", peer.String()), time.Now()}
				keep(ctx, told)
				told.Info("connection accepted")
				return conn
			},
			Configure: logAttempts,
			Closed: func(ctx ssh.Context, err error) {
				conn := kept[connection](ctx)
				facts := []any{"duration", since(conn.accepted)}
				if err != nil {
					facts = append(facts, "err", sanitize.String(reason(err), shownText))
				}
				conn.Close("connection closed", facts...)
			},
		}.Add,
		Session: logSession,
	}
}

// Logger returns the logger of the connection that ctx belongs to, whose lines carry its conn and addr and are bounded
// with it, or the default logger where no Logging layer stands around. Lines may be written a moment later: what they are
// given must not change any more.
func Logger(ctx context.Context) eventlog.Logger {
	if conn := kept[connection](ctx); conn.Connection != nil {
		return conn
	}
	return log.Default()
}

// connection is what Logging keeps of a connection. The zero value, where there is no Logging layer, writes nothing.
type connection struct {
	*eventlog.Connection
	accepted time.Time
}

func logAttempts(ctx ssh.Context, cfg *gossh.ServerConfig) {
	told := kept[connection](ctx)
	if told.Connection == nil {
		return // at start
	}
	afterAttempts(cfg, func(conn gossh.ConnMetadata, method string, err error) {
		level, event := log.InfoLevel, "authentication succeeded"
		var partial *gossh.PartialSuccessError
		switch {
		case err == nil:
			told.Authenticated()
		case errors.As(err, &partial):
			event, err = "authentication continues", nil
		case method == "none" && errors.Is(err, gossh.ErrNoAuth): // with which every client begins
			level, event = log.DebugLevel, "authentication failed"
		default:
			level, event = log.WarnLevel, "authentication failed"
		}
		if !told.Take(level, 1) {
			return
		}
		facts := []any{
			"user", sanitize.String(conn.User(), shownName),
			"method", sanitize.String(method, shownName),
			"client", sanitize.String(string(conn.ClientVersion()), shownName),
		}
		if err != nil {
			facts = append(facts, "err", sanitize.String(err.Error(), shownText))
		}
		told.Write(level, event, facts...)
	})
}

func logSession(next ssh.Handler) ssh.Handler {
	return func(sess ssh.Session) {
		conn, opened := kept[connection](sess.Context()), time.Now()
		if !conn.Take(log.InfoLevel, 2) { // opened and closed
			next(sess)
			return
		}
		known := known(sess)
		conn.Write(log.InfoLevel, "session opened", known...)

		status := 1 // a panic's, which passes through here before an outer layer ends the session with it
		defer func() {
			facts := session.Of(sess)
			if facts.Exited {
				status = facts.Status
			}
			ended := append(known, "exit", status, "bytes", facts.Bytes, "duration", since(opened))
			if facts.Err != nil {
				ended = append(ended, "err", facts.Err)
			}
			conn.Write(log.InfoLevel, "session closed", ended...)
		}()
		next(sess)
		status = 0 // a handler that returns without an Exit has succeeded
	}
}

// known is what is known of a session when it begins.
func known(sess ssh.Session) []any {
	facts := session.Of(sess)
	known := []any{
		"user", sanitize.String(sess.User(), shownName),
		"client", sanitize.String(sess.Context().ClientVersion(), shownName),
		"request", facts.Request,
	}
	if key, ok := sess.Permissions().Extensions[KeyFingerprint]; ok {
		known = append(known, "key", key)
	}
	if certificate, ok := sess.Permissions().Extensions[KeyCertificate]; ok { // by this it is revoked
		known = append(known, "certificate", certificate)
	}
	if facts.Request != "shell" {
		known = append(known, "command", sanitize.String(sess.RawCommand()+sess.Subsystem(), shownText)) // one is empty
	}
	return append(known, "pty", facts.PTY)
}

// reason says why a connection failed in fewer words than the library where it lists every attempt, and every algorithm
// of ours before the client's.
func reason(err error) string {
	var denied *gossh.ServerAuthError
	var apart *gossh.AlgorithmNegotiationError
	switch {
	case errors.As(err, &denied) && tooMany(denied.Errors):
		return "too many authentication failures"
	case errors.Is(err, net.ErrClosed):
		return "hung up on"
	case errors.As(err, &denied):
		return "left without authentication"
	case errors.As(err, &apart):
		return fmt.Sprintf("no common algorithm for %s: the client offers %q", apart.What, apart.RequestedAlgorithms)
	}
	return err.Error()
}

// tooMany reports whether the last of the errors is what the library has sent the client in the end. All that quotes a
// client begins otherwise.
func tooMany(errs []error) bool {
	return len(errs) > 0 && strings.HasPrefix(errs[len(errs)-1].Error(), `ssh: disconnect, reason 2: "too many authentication`)
}

// since is rounded to what an operator compares.
func since(t time.Time) time.Duration {
	return time.Since(t).Round(time.Millisecond / 10)
}
