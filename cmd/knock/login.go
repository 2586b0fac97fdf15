package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"

	gossh "golang.org/x/crypto/ssh"
)

// phase is a part of a login that is measured separately.
type phase int

// The phases in their order.
const (
	connect        phase = iota // TCP
	keyExchange                 // until the server's signature is verified
	authentication              // all of user authentication
	firstByte                   // session and shell, until the first byte of stdout
	wholeLogin                  // from the intended start until the connection is closed
	phases         int   = iota
)

func (p phase) String() string {
	return [phases]string{"connect", "key exchange", "authentication", "first byte", "whole login"}[p]
}

// result is the result of one login.
type result struct {
	took   [phases]time.Duration // 0 if the phase was not complete
	err    error                 // nil if the login succeeded
	server serverInfo
}

// serverInfo is what a server reports about itself.
type serverInfo struct {
	version    string
	algorithms gossh.NegotiatedAlgorithms
}

// attempt is a login in progress.
type attempt struct {
	*server
	intended, started time.Time
	current           phase
	phaseStart        time.Duration // of the current phase, since started
	result
}

// login makes a login whose time, and timeout, count from intended.
func (srv *server) login(ctx context.Context, intended time.Time) result {
	a := srv.newAttempt(intended)
	if a.err = a.authenticated(ctx, a.session); a.err == nil {
		a.took[wholeLogin] = time.Since(intended)
	}
	return a.result
}

func (srv *server) newAttempt(intended time.Time) *attempt {
	return &attempt{server: srv, intended: intended, started: time.Now()}
}

// authenticated calls use with an authenticated connection, and closes it.
func (a *attempt) authenticated(ctx context.Context, use func(*gossh.Client, *conn) error) error {
	return a.connected(ctx, func(c *conn) error {
		client, err := a.handshake(c)
		if err == nil {
			err = use(client, c)
		}
		if errors.Is(c.ended(), os.ErrDeadlineExceeded) {
			return failure(a.current, c.ended())
		}
		return err
	})
}

// connected calls use with a connection, and closes it. The connection ends at the timeout, or when ctx is done.
func (a *attempt) connected(ctx context.Context, use func(*conn) error) error {
	deadline := a.intended.Add(a.timeout)
	dialer := net.Dialer{Deadline: deadline}
	tcp, err := dialer.DialContext(ctx, "tcp", a.address.String())
	if err != nil {
		return failure(connect, err)
	}
	defer func() { _ = tcp.Close() }()
	a.end(connect, time.Since(a.started))
	defer context.AfterFunc(ctx, func() { _ = tcp.Close() })()
	_ = tcp.SetDeadline(deadline)
	return use(newConn(tcp))
}

// end ends a phase; at counts from the start of the attempt.
func (a *attempt) end(p phase, at time.Duration) {
	a.took[p], a.phaseStart, a.current = at-a.phaseStart, at, p+1
}

// handshake authenticates. x/crypto verifies the server's signature before it calls HostKeyCallback, so the first call
// is the end of the key exchange; later calls are rekeying.
func (a *attempt) handshake(c *conn) (*gossh.Client, error) {
	var exchanged atomic.Int64
	config := a.config
	config.HostKeyCallback = func(host string, remote net.Addr, key gossh.PublicKey) error {
		err := a.config.HostKeyCallback(host, remote, key)
		if err == nil {
			exchanged.CompareAndSwap(0, int64(time.Since(a.started)))
		}
		return err
	}
	client, channels, requests, err := gossh.NewClientConn(c, a.target.address, &config)
	if at := exchanged.Load(); at != 0 {
		a.end(keyExchange, time.Duration(at))
	}
	if err != nil {
		return nil, failure(a.current, err)
	}
	a.end(authentication, time.Since(a.started))
	if negotiated, ok := client.(gossh.AlgorithmsConnMetadata); ok {
		a.result.server = serverInfo{string(client.ServerVersion()), negotiated.Algorithms()}
	}
	return gossh.NewClient(client, channels, requests), nil
}

var errOutput = errors.New("stdout differs from --expect")

// session does what "ssh -T host </dev/null" does: it asks for a shell, ends the input, and reads until the server
// closes the channel. A session without an exit status has succeeded, unless the connection was lost.
func (a *attempt) session(client *gossh.Client, c *conn) error {
	session, err := client.NewSession()
	if err != nil {
		return failure(firstByte, err)
	}
	out := &stdout{attempt: a, rest: a.expected}
	session.Stdout = out
	if err := session.Shell(); err != nil {
		return failure(firstByte, err)
	}
	err = session.Wait()
	if _, missing := errors.AsType[*gossh.ExitMissingError](err); missing {
		err = c.ended()
	}
	if err == nil && (out.differs || len(out.rest) > 0) {
		err = errOutput
	}
	if err == nil {
		if err = client.Close(); errors.Is(err, net.ErrClosed) { // by x/crypto, if the server was faster
			err = nil
		}
	}
	if err != nil {
		return failure(wholeLogin, err)
	}
	return nil
}

// stdout compares the output of a session with the expected one.
type stdout struct {
	*attempt
	rest    []byte // of the expected output
	differs bool
}

// Write implements [io.Writer].
func (s *stdout) Write(p []byte) (int, error) {
	if s.took[firstByte] == 0 {
		s.end(firstByte, time.Since(s.started))
	}
	if s.expected != nil {
		if s.differs = s.differs || !bytes.HasPrefix(s.rest, p); !s.differs {
			s.rest = s.rest[len(p):]
		}
	}
	return len(p), nil
}
