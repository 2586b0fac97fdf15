package middleware

import (
	"errors"
	"os"
	"sync"
	"time"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/eventlog/counters"
)

// DeadlinesConfig configures [Deadlines]. Each duration must be positive.
type DeadlinesConfig struct {
	// Handshake is how long a client may take to authenticate, including the time to type a password.
	Handshake time.Duration
	// Idle is how long a connection may have no session, or only ones that the server has ended.
	Idle time.Duration
	// Keepalive is the interval between two keepalives. A connection without an answer for three intervals is closed.
	Keepalive time.Duration
	// Counters counts the connections that exceed a deadline. It may be nil.
	Counters *counters.Counters
}

// maxUnanswered is how many keepalive intervals may pass without an answer: sshd's ClientAliveCountMax.
const maxUnanswered = 3

// Deadlines returns the layer that closes three kinds of connections: those of clients that do not authenticate in
// time, even if they keep sending; authenticated ones without a session (ssh -N); and those whose client is gone
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
			c.LimitDeadline(time.Now().Add(cfg.Handshake))
			return Moments{
				Stage: func(stage Stage) {
					if stage == Authenticated {
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

// watchdog has the timers of an authenticated connection.
type watchdog struct {
	cfg  DeadlinesConfig
	conn *Conn

	mu              sync.Mutex
	stopped         bool
	waiting         bool // the idle timer is running
	idle, keepalive *time.Timer
}

func (w *watchdog) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
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
