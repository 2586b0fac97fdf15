package middleware

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/eventlog/counters"
)

// DeadlinesConfig is what [Deadlines] gives a connection. Each has to be more than 0.
type DeadlinesConfig struct {
	// Handshake is how long a client may take until it is authenticated. A person types a password in it.
	Handshake time.Duration
	// Idle is how long a connection may be without a session.
	Idle time.Duration
	// Keepalive is how often a client is asked whether it is still there; one that leaves three such times unanswered
	// is gone. What it answers is of no interest.
	Keepalive time.Duration
	// Counters counts those whose time was up, if it is not nil.
	Counters *counters.Counters
}

// unanswered is how many keepalive intervals may pass without an answer: sshd's ClientAliveCountMax.
const unanswered = 3

// Deadlines returns the layer that ends connections on which nothing happens: whoever is not authenticated in time,
// however slowly or busily the time was spent; whoever is, and has no session (ssh -N), whatever else it sends; and
// whoever has vanished without a word, so that no TCP packet tells. Sessions have deadlines of their own, the session
// channel's.
func Deadlines(cfg DeadlinesConfig) Layer {
	return Layer{
		Name: "deadlines",
		Server: func(srv *ssh.Server) error {
			switch {
			case cfg.Handshake <= 0 || cfg.Idle <= 0 || cfg.Keepalive <= 0:
				return errors.New("a deadline is not more than 0")
			case srv.HandshakeTimeout != 0:
				return errors.New("the server has a handshake timeout already")
			}
			srv.HandshakeTimeout = cfg.Handshake
			aroundSessions(srv, watchSessions)
			return Hooks{
				Accept: func(ctx ssh.Context, conn net.Conn) net.Conn {
					p := &presence{Conn: conn, cfg: cfg, ctx: ctx, until: time.Now().Add(cfg.Handshake)}
					keep(ctx, p)
					return p
				},
				Configure: watchLogins,
				Closed: func(ctx ssh.Context, err error) {
					if errors.Is(err, os.ErrDeadlineExceeded) {
						cfg.Counters.Count(counters.HandshakeTime, kept[*presence](ctx).RemoteAddr())
					}
					kept[*presence](ctx).end()
				},
			}.Add(srv)
		},
	}
}

// presence is a connection, and watches over it from its authentication on.
type presence struct {
	net.Conn
	cfg DeadlinesConfig
	ctx ssh.Context

	mu          sync.Mutex
	until       time.Time // when somebody has to be authenticated; zero once somebody is
	sessions    int
	ended       bool
	idle, alive *time.Timer
}

func watchLogins(ctx ssh.Context, cfg *gossh.ServerConfig) {
	p := kept[*presence](ctx)
	if p == nil {
		return // at start
	}
	afterAttempts(cfg, func(conn gossh.ConnMetadata, method string, err error) {
		if err == nil {
			p.begin()
		}
	})
}

func watchSessions(next ssh.ChannelHandler) ssh.ChannelHandler {
	return func(srv *ssh.Server, conn *gossh.ServerConn, channel gossh.NewChannel, ctx ssh.Context) {
		p := kept[*presence](ctx)
		p.open()
		defer p.leave()
		next(srv, conn, channel, ctx)
	}
}

// SetDeadline implements [net.Conn]. Before authentication none is later than the first one, whoever sets it.
func (p *presence) SetDeadline(t time.Time) error {
	p.mu.Lock()
	until := p.until
	p.mu.Unlock()
	if !until.IsZero() && (t.IsZero() || t.After(until)) {
		t = until
	}
	return p.Conn.SetDeadline(t)
}

func (p *presence) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.until = time.Time{}
	p.idle = time.AfterFunc(p.cfg.Idle, p.expire)
	p.alive = time.AfterFunc(p.cfg.Keepalive, p.ask)
}

func (p *presence) open() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sessions++
	p.idle.Stop()
}

func (p *presence) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sessions--
	if p.sessions == 0 && !p.ended {
		p.idle.Reset(p.cfg.Idle)
	}
}

// end forgets a connection that is over.
func (p *presence) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	if p.idle != nil {
		p.idle.Stop()
		p.alive.Stop()
	}
}

// expire ends a connection that has had no session for too long.
func (p *presence) expire() {
	p.mu.Lock()
	idle := p.sessions == 0 && !p.ended
	p.mu.Unlock()
	if idle {
		p.hangUp(counters.IdleTime)
	}
}

func (p *presence) hangUp(reason counters.Reason) {
	p.cfg.Counters.Count(reason, p.RemoteAddr())
	_ = p.Close()
}

// ask asks the client whether it is there, as sshd does (serverloop.c, client_alive_check), and asks again later if it
// is. A client that has closed its window, or TCP's, answers neither.
func (p *presence) ask() {
	conn, ok := p.ctx.Value(ssh.ContextKeyConn).(*gossh.ServerConn)
	if ok {
		vanished := time.AfterFunc(unanswered*p.cfg.Keepalive, func() { p.hangUp(counters.Vanished) })
		defer vanished.Stop()
		if _, _, err := conn.SendRequest("keepalive@openssh.com", true, nil); err != nil {
			return // the connection is over
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		p.alive.Reset(p.cfg.Keepalive)
	}
}
