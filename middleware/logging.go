package middleware

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/eventlog"
	"foyer/middleware/eventlog/sanitize"
	"foyer/middleware/session"
)

// How much of what a peer chose is shown, in bytes: of a name or a client version (which RFC 4253 section 4.2 allows
// 255), and of a command or an error that may quote a peer.
const (
	maxShownName = 64
	maxShownText = 256
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
func Logging(lines *eventlog.Log) Layer {
	return Layer{
		Name: "logging",
		Connect: func(c *Conn) (Moments, error) {
			id := strings.ToLower(rand.Text()[:10]) // 50 bits: unique in any log that is still kept
			c.log = lines.Connection(c.RemoteAddr(), "conn", id, "addr", c.RemoteAddr().String())
			accepted := time.Now()
			c.log.Log(slog.LevelInfo, "connection accepted")
			return Moments{
				Attempt: c.logAttempt,
				Closed: func(err error) {
					facts := []any{"duration", since(accepted)}
					if err != nil {
						facts = append(facts, "err", sanitize.String(c.reason(err), maxShownText))
					}
					c.log.Close("connection closed", facts...)
				},
			}, nil
		},
		Session: logSession,
	}
}

// Logger returns the connection's logger, whose lines carry its conn and addr and count towards its share of the log. It is
// the default logger where there is no Logging layer. Lines may be written a moment later, so what they are given must not
// change any more.
func (c *Conn) Logger() *slog.Logger {
	if c != nil && c.log != nil {
		return c.log.Logger()
	}
	return slog.Default()
}

func (c *Conn) logAttempt(a Attempt) {
	level, event := slog.LevelWarn, "authentication failed"
	switch a.Outcome {
	case Succeeded:
		level, event = slog.LevelInfo, "authentication succeeded"
		c.log.Authenticated()
	case Continues:
		level, event = slog.LevelInfo, "authentication continues"
	case Asked: // every client begins so
		level = slog.LevelDebug
	}
	if !c.log.Take(level, 1) {
		return
	}
	facts := []any{
		"user", sanitize.String(a.User(), maxShownName),
		"method", sanitize.String(a.Method, maxShownName),
		"client", sanitize.String(string(a.ClientVersion()), maxShownName),
	}
	if a.Err != nil {
		facts = append(facts, "err", sanitize.String(a.Err.Error(), maxShownText))
	}
	c.log.Write(level, event, facts...)
}

func logSession(next ssh.Handler) ssh.Handler {
	return func(sess ssh.Session) {
		conn, opened := ConnOf(sess.Context()).log, time.Now()
		if !conn.Take(slog.LevelInfo, 2) { // opened and closed
			next(sess)
			return
		}
		known := known(sess)
		conn.Write(slog.LevelInfo, "session opened", known...)

		status := 1 // a panic's, which passes through here before an outer layer ends the session with it
		defer func() {
			facts := session.InfoOf(sess)
			if facts.Exited {
				status = facts.Status
			}
			ended := append(known, "exit", status, "bytes", facts.Bytes, "duration", since(opened))
			if facts.Err != nil {
				ended = append(ended, "err", facts.Err)
			}
			conn.Write(slog.LevelInfo, "session closed", ended...)
		}()
		next(sess)
		status = 0 // a handler that returns without an Exit has succeeded
	}
}

// known is what is known of a session when it begins.
func known(sess ssh.Session) []any {
	facts := session.InfoOf(sess)
	known := []any{
		"user", sanitize.String(sess.User(), maxShownName),
		"client", sanitize.String(sess.Context().ClientVersion(), maxShownName),
		"request", facts.Request,
	}
	if key, ok := sess.Permissions().Extensions[KeyFingerprint]; ok {
		known = append(known, "key", key)
	}
	if certificate, ok := sess.Permissions().Extensions[KeyCertificate]; ok { // by this it is revoked
		known = append(known, "certificate", certificate)
	}
	if facts.Request != "shell" {
		known = append(known, "command", sanitize.String(sess.RawCommand()+sess.Subsystem(), maxShownText)) // one is empty
	}
	return append(known, "pty", facts.PTY.String())
}

// reason says why a connection failed, in fewer words than the library, which lists every attempt, and every algorithm of
// ours before the client's.
func (c *Conn) reason(err error) string {
	var denied *gossh.ServerAuthError
	var apart *gossh.AlgorithmNegotiationError
	switch {
	case errors.As(err, &denied) && len(denied.Errors) > c.attempts: // the last one is the library's SSH_MSG_DISCONNECT
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

// since is rounded to what an operator compares.
func since(t time.Time) time.Duration {
	return time.Since(t).Round(time.Millisecond / 10)
}
