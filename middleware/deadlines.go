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

// DeadlinesConfig is what [Deadlines] gives a connection. Each duration must be positive.
type DeadlinesConfig struct {
	// Handshake is how long a client may take until it is authenticated. A person types a password in it.
	Handshake time.Duration
	// Idle is how long a connection may be without a session.
	Idle time.Duration
	// Keepalive is how often a client is asked whether it is still there. One that leaves three intervals unanswered is
	// gone. Any answer will do.
	Keepalive time.Duration
	// Counters counts the connections whose time is up. It may be nil.
	Counters *counters.Counters
}

// maxUnanswered is how many keepalive intervals may pass without an answer: sshd's ClientAliveCountMax.
const maxUnanswered = 3

// Deadlines returns the layer that closes connections on which nothing happens: a client that is not authenticated in
// time, whatever it sends meanwhile; one that is, and has no session (ssh -N); and one that has vanished, so that no TCP
// packet tells. Sessions have deadlines of their own (package session).
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
			w := &idleWatch{cfg: cfg, conn: c}
			c.LimitDeadline(time.Now().Add(cfg.Handshake))
			return Moments{
				Stage: func(stage Stage) {
					if stage == Authenticated {
						w.start()
					}
				},
				Open:   func(gossh.NewChannel, int) error { w.update(); return nil },
				Left:   func(string) { w.update() },
				Closed: w.stop,
			}, nil
		},
	}
}

// idleWatch watches over a connection from its authentication on.
type idleWatch struct {
	cfg  DeadlinesConfig
	conn *Conn

	mu              sync.Mutex
	stopped         bool
	waiting         bool // the idle timer runs
	idle, keepalive *time.Timer
}

func (w *idleWatch) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting = true
	w.idle = time.AfterFunc(w.cfg.Idle, w.expire)
	w.keepalive = time.AfterFunc(w.cfg.Keepalive, w.ask)
}

// update runs the idle timer while there is no session.
func (w *idleWatch) update() {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch idle := w.conn.Sessions() == 0; {
	case w.stopped, idle == w.waiting:
	case idle:
		w.waiting = true
		w.idle.Reset(w.cfg.Idle)
	default:
		w.waiting = false
		w.idle.Stop()
	}
}

func (w *idleWatch) stop(err error) {
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

// expire closes a connection that has had no session for too long.
func (w *idleWatch) expire() {
	w.mu.Lock()
	idle := w.waiting && !w.stopped
	w.mu.Unlock()
	if idle {
		w.hangUp(counters.IdleTime)
	}
}

func (w *idleWatch) hangUp(reason counters.Reason) {
	w.cfg.Counters.Count(reason, w.conn.RemoteAddr())
	_ = w.conn.Close()
}

// ask asks the client whether it is there, as sshd does (serverloop.c, client_alive_check), and again later if it is. A
// client that has closed its SSH window, or TCP's, does not answer.
func (w *idleWatch) ask() {
	conn, ok := w.conn.Context().Value(ssh.ContextKeyConn).(*gossh.ServerConn)
	if ok {
		vanished := time.AfterFunc(maxUnanswered*w.cfg.Keepalive, func() { w.hangUp(counters.Vanished) })
		defer vanished.Stop()
		if _, _, err := conn.SendRequest("keepalive@openssh.com", true, nil); err != nil {
			return // the connection is over
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped {
		w.keepalive.Reset(w.cfg.Keepalive)
	}
}
