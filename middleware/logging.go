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
	"foyer/middleware/transport"
)

// How many bytes of a peer's text are shown: of a name or a client version (RFC 4253 section 4.2 allows 255), and of a
// command or an error that may quote the peer.
const (
	maxShownName = 64
	maxShownText = 256
)

// Logging returns the layer that logs connections, attempts to authenticate and sessions. Each event is one line, and
// all lines of a connection have the same conn. Passwords and the data of a session are never logged, and text that a
// peer chose is escaped and shortened (package sanitize).
//
// Most clients begin with the method "none" to get the list of methods. That is logged at debug level, not as a failure.
//
// lines limits the log; the numbers here are its defaults. A connection writes at most 100 lines, enough for 48
// sessions; a line has 200 bytes, or 2 kB at most. Unauthenticated connections together write 100 lines a second after
// a burst of 25,000, and so do authenticated ones, so a flood of unauthenticated clients does not hide visitors. 5,000
// visitors in ten seconds are within the limit. Above it, a new connection is omitted completely until it is
// authenticated. A connection that is in the log always has its last line, with the number of omitted lines. Errors
// have a limit of their own at the same rate. So the log grows by 20 kB a second for each kind of connection, or by 200
// kB at worst. Omitted lines are counted as log-lines or log-rate.
func Logging(lines *eventlog.Log) Layer {
	return Layer{
		Name: "logging",
		Connect: func(c *Conn) (Moments, error) {
			id := strings.ToLower(rand.Text()[:10]) // 50 bits: unique in any log that is still kept
			c.log = lines.Connection(c.RemoteAddr(), "conn", id, "addr", c.RemoteAddr().String())
			return Moments{
				Configure: func(*gossh.ServerConfig) {
					if c.Stage() >= Speaking { // not for a client that stays silent
						c.log.Log(slog.LevelInfo, "connection accepted")
					}
				},
				Attempt: c.logAttempt,
				Closed: func(err error) {
					if err == errSilent {
						c.log.Log(slog.LevelDebug, "connection closed", "duration", since(c.accepted), "err", err)
						return
					}
					facts := []any{"duration", since(c.accepted)}
					if err != nil {
						facts = append(facts, "err", sanitize.String(c.reason(err), maxShownText))
					}
					if other, ok := errors.AsType[*transport.NotSSHError](err); ok && other.Hint() != "" {
						facts = append(facts, "hint", other.Hint())
					}
					c.log.Close("connection closed", facts...)
				},
			}, nil
		},
		Session: logSession,
	}
}

// Logger returns the connection's logger. Its lines have the keys conn and addr and count towards the connection's limit.
// Without a Logging layer it is the default logger. A line may be written later, so its values must not change any more.
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
	case Asked:
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
		facts := sessionFacts(sess)
		conn.Write(slog.LevelInfo, "session opened", facts...)

		status := 1 // after a panic, with which an outer layer ends the session
		defer func() {
			info := session.InfoOf(sess)
			if info.Exited {
				status = info.Status
			}
			facts = append(facts, "exit", status, "bytes", info.Bytes, "duration", since(opened))
			if info.Err != nil {
				facts = append(facts, "err", info.Err)
			}
			conn.Write(slog.LevelInfo, "session closed", facts...)
		}()
		next(sess)
		status = 0 // unless the handler has called Exit
	}
}

// sessionFacts returns what is known about a session when it opens.
func sessionFacts(sess ssh.Session) []any {
	info := session.InfoOf(sess)
	facts := []any{
		"user", sanitize.String(sess.User(), maxShownName),
		"client", sanitize.String(sess.Context().ClientVersion(), maxShownName),
		"request", info.Request,
	}
	if key, ok := sess.Permissions().Extensions[KeyFingerprint]; ok {
		facts = append(facts, "key", key)
	}
	if certificate, ok := sess.Permissions().Extensions[KeyCertificate]; ok { // the operator needs it to revoke the certificate
		facts = append(facts, "certificate", certificate)
	}
	if info.Request != "shell" {
		facts = append(facts, "command", sanitize.String(sess.RawCommand()+sess.Subsystem(), maxShownText)) // one is empty
	}
	return append(facts, "pty", info.PTY.String())
}

// reason says why a connection failed. It is shorter than the library's error, which lists every attempt and all
// algorithms of the server.
func (c *Conn) reason(err error) string {
	var denied *gossh.ServerAuthError
	var mismatch *gossh.AlgorithmNegotiationError
	switch {
	case errors.As(err, &denied) && len(denied.Errors) > c.attempts: // the last one is the library's SSH_MSG_DISCONNECT
		return "too many authentication failures"
	case errors.Is(err, net.ErrClosed):
		return "closed by the server"
	case errors.As(err, &denied):
		return "left without authentication"
	case errors.As(err, &mismatch):
		return fmt.Sprintf("no common algorithm for %s: the client offers %q", mismatch.What, mismatch.RequestedAlgorithms)
	}
	return err.Error()
}

// since returns the time since t, rounded to a tenth of a millisecond.
func since(t time.Time) time.Duration {
	return time.Since(t).Round(time.Millisecond / 10)
}
