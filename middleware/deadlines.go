package middleware

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/eventlog/counters"
	"foyer/middleware/transport"
)

// DeadlinesConfig configures [Deadlines]. Each duration must be positive.
type DeadlinesConfig struct {
	// Handshake is how long a client may take to authenticate, including the time to compare a fingerprint and to type a
	// password. For the key exchange it has 20 seconds of that at most, which no person waits for.
	Handshake time.Duration
	// Idle is how long a connection may have no session, or only ones that the server has ended.
	Idle time.Duration
	// Keepalive is the interval between two keepalives. A connection without an answer for three intervals is closed.
	Keepalive time.Duration
	// Counters counts the connections that exceed a deadline. It may be nil.
	Counters *counters.Counters
}

// maxKeyExchange is how long a client may take until keys are exchanged: many times what the slowest network takes.
const maxKeyExchange = 20 * time.Second

// maxUnanswered is how many keepalive intervals may pass without an answer: sshd's ClientAliveCountMax.
const maxUnanswered = 3

// Deadlines returns the layer that closes three kinds of connections: those of clients that do not authenticate in
// time, even if they keep sending, which are told so once keys are exchanged; authenticated ones without a session (ssh -N); and those whose client is gone
// without closing them. Sessions have their own deadlines (package session).
func Deadlines(cfg DeadlinesConfig) Layer {
	return Layer{
		Name: "deadlines",
		Server: func(srv *ssh.Server) error {
			switch {
			case cfg.Handshake <= 0 || cfg.Idle <= 0 || cfg.Keepalive <= 0:
				return errors.New("deadlines must be positive")
			case srv.HandshakeTimeout != 0:
				return errors.New("the server has a handshake timeout already")
			}
			return nil
		},
		Connect: func(c *Conn) (Moments, error) {
			w := &watchdog{cfg: cfg, conn: c}
			c.LimitDeadline(c.accepted.Add(min(cfg.Handshake, maxKeyExchange)))
			return Moments{
				Stage: func(stage Stage) {
					switch stage {
					case KeysExchanged:
						w.awaitLogin()
					case Authenticated:
						w.start()
					}
				},
				Open:   func(gossh.NewChannel, int) error { w.update(); return nil },
				Ended:  w.update,
				Left:   func(string) { w.update() },
				Closed: w.stop,
			}, nil
		},
	}
}

// watchdog has the timers of a connection whose keys are exchanged.
type watchdog struct {
	cfg  DeadlinesConfig
	conn *Conn

	mu              sync.Mutex
	login           *time.Timer
	stopped         bool
	waiting         bool // the idle timer is running
	idle, keepalive *time.Timer
}

// awaitLogin gives the client the rest of its time to authenticate.
func (w *watchdog) awaitLogin() {
	end := w.conn.accepted.Add(w.cfg.Handshake)
	w.conn.LimitDeadline(end.Add(longWait)) // which Disconnect may take
	w.mu.Lock()
	defer w.mu.Unlock()
	w.login = time.AfterFunc(time.Until(end), func() {
		w.conn.fail(fmt.Errorf("not authenticated in time: %w", os.ErrDeadlineExceeded))
		w.conn.Disconnect(transport.ByApplication, fmt.Sprintf("You have %.0f seconds to log in. Please connect again.", w.cfg.Handshake.Seconds()))
	})
}

func (w *watchdog) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.login != nil {
		w.login.Stop()
	}
	w.waiting = true
	w.idle = time.AfterFunc(w.cfg.Idle, w.expire)
	w.keepalive = time.AfterFunc(w.cfg.Keepalive, w.sendKeepalive)
}

// update runs the idle timer while there is no session.
func (w *watchdog) update() {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch idle := w.conn.Idle(); {
	case w.stopped, idle == w.waiting:
	case idle:
		w.waiting = true
		w.idle.Reset(w.cfg.Idle)
	default:
		w.waiting = false
		w.idle.Stop()
	}
}

func (w *watchdog) stop(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		w.cfg.Counters.Count(counters.HandshakeTime, w.conn.RemoteAddr())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	if w.login != nil {
		w.login.Stop()
	}
	if w.idle != nil {
		w.idle.Stop()
		w.keepalive.Stop()
	}
}

// expire closes a connection that had no session for too long.
func (w *watchdog) expire() {
	w.mu.Lock()
	idle := w.waiting && !w.stopped
	w.mu.Unlock()
	if idle {
		w.close(counters.IdleTime)
	}
}

func (w *watchdog) close(reason counters.Reason) {
	w.cfg.Counters.Count(reason, w.conn.RemoteAddr())
	_ = w.conn.Close()
}

// sendKeepalive sends a keepalive as sshd does (serverloop.c, client_alive_check), waits for the answer and sets the
// timer for the next one. Any answer will do. A client that does not read cannot answer.
func (w *watchdog) sendKeepalive() {
	conn, ok := w.conn.Context().Value(ssh.ContextKeyConn).(*gossh.ServerConn)
	if ok {
		vanished := time.AfterFunc(maxUnanswered*w.cfg.Keepalive, func() { w.close(counters.Vanished) })
		defer vanished.Stop()
		if _, _, err := conn.SendRequest("keepalive@openssh.com", true, nil); err != nil {
			return // the connection is closed
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped {
		w.keepalive.Reset(w.cfg.Keepalive)
	}
}
