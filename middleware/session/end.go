package session

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"foyer/middleware/eventlog/counters"
)

// handlerGrace is how long a handler may still write after its context has ended. It is enough for a program to leave
// the alternate screen, and too short for a visitor to notice.
const handlerGrace = 250 * time.Millisecond

var errExited = errors.New("the session has exited already")

// The reasons for which the server ends a session. Writes return the first one, and the session's log line shows it.
var (
	errUnread  = errors.New("the client does not read its output")
	errTime    = errors.New("session exceeded its lifetime")
	errClosing = errors.New("the server is closing")
)

// Exit sends the exit status and closes the channel, not the connection. A second call returns an error and sends
// nothing. ssh uses status 255 for its own failures, so Exit sends 1 instead of it and of anything outside 0 to 254.
func (s *Session) Exit(code int) error {
	if code < 0 || code > 254 {
		code = 1
	}
	if !s.claimExit(code) {
		return errExited
	}
	defer s.cancel()
	return s.sendEnd(code)
}

// claimExit reports whether the caller is the first to end the session. Only the first one sends the exit status.
func (s *Session) claimExit(code int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.exited {
		return false
	}
	s.exited, s.status = true, code
	return true
}

// sendEnd sends the exit status and EOF, and closes the channel.
func (s *Session) sendEnd(code int) error {
	s.clock.begin(sendingEnd)
	defer s.clock.done(sendingEnd)
	status := []byte{0, 0, 0, byte(code)} // a uint32 (RFC 4254 section 6.10)
	if _, err := s.SendRequest("exit-status", false, status); err != nil {
		return err
	}
	// RFC 4254 section 5.3 asks for an EOF before the close. It is left out if another goroutine is blocked in a write.
	if s.stdout.mu.TryLock() {
		if s.stderr.mu.TryLock() {
			_ = s.endOutput()
			s.stderr.mu.Unlock()
		}
		s.stdout.mu.Unlock()
	}
	err := s.Channel.Close()
	if release := s.release.Load(); release != nil {
		err = cmp.Or(err, (*release)())
	}
	s.tellEnded()
	return err
}

// tellEnded tells that only the client's close is missing.
func (s *Session) tellEnded() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.told != nil && !s.ended && !s.over {
		s.ended = true
		s.told(s.ctx.Context, 1)
	}
}

// tellOver tells that the client's close is here, or the connection closed.
func (s *Session) tellOver() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	if s.ended {
		s.told(s.ctx.Context, -1)
	}
}

// Close ends the session with exit status 0. If an exit status was sent already, Close does nothing, because the
// channel is closed after it.
func (s *Session) Close() error {
	if err := s.Exit(0); err != errExited {
		return err
	}
	return nil
}

func (s *Session) closeChannel() error {
	s.clock.begin(sendingEnd)
	defer s.clock.done(sendingEnd)
	defer s.tellEnded()
	return s.Channel.Close()
}

// checkTimeouts is called by the clock. If a write is blocked for one write timeout, it closes the channel, which the
// client can confirm even if its window is full. After two write timeouts it closes the connection, which also ends the
// blocked write. If the session's lifetime is over, the visitor reads why, and the same two timeouts apply.
func (s *Session) checkTimeouts() {
	blocked, late := s.clock.check() // sets the timer again, so it also watches the writes below
	timeout := s.clock.timeout
	switch opened := s.opened.Load(); {
	case late >= 2*timeout:
		s.closeConn(errTime, counters.SessionTime)
	case blocked >= 2*timeout:
		s.closeConn(errUnread, counters.Unread)
	case blocked >= timeout && opened:
		s.setErr(errUnread, counters.Unread)
		_ = s.Channel.Close()
	case late >= 0 && opened:
		s.end(lifetimeText(s.clock.lifetime), errTime, counters.SessionTime)
	}
}

// lifetimeText is what the visitor reads at the end of the session's lifetime.
func lifetimeText(lifetime time.Duration) string {
	n, unit := max(1, lifetime.Round(time.Second)/time.Second), "second"
	if n%60 == 0 {
		n, unit = n/60, "minute"
	}
	if n != 1 {
		unit += "s"
	}
	return fmt.Sprintf("This session has lasted %d %s, which is the limit.", n, unit)
}

// end ends the session from the server's side. The handler's context ends, and the handler has handlerGrace to restore
// the terminal. Then the visitor reads text on stderr and gets exit status 1. If there was no shell, exec or subsystem
// request, end only closes the channel. It returns when everything is sent or sending has failed.
func (s *Session) end(text string, why error, reason counters.Reason) {
	if !s.claimExit(1) {
		return // the exit status is sent; only the client's close is missing
	}
	s.grace.Store(true)
	s.setErr(why, reason) // before the context ends, because the handler may log it
	s.cancel()
	if !s.started.Load() {
		_ = s.closeChannel()
		return
	}
	select {
	case <-s.handlerDone:
	case <-time.After(handlerGrace):
	}
	s.grace.Store(false)
	s.stderr.writeLast(text)
	_ = s.sendEnd(1)
}

// setErr records why the server ends the session, and counts the limit if reason names one. Only the first call counts.
func (s *Session) setErr(err error, reason counters.Reason) {
	s.mu.Lock()
	first := s.err == nil
	if first {
		s.err = err
	}
	s.mu.Unlock()
	if first && reason != "" {
		s.counts.Count(reason, s.conn.RemoteAddr())
	}
}

// closeConn ends the session by closing its connection.
func (s *Session) closeConn(err error, reason counters.Reason) {
	s.setErr(err, reason)
	_ = s.conn.Close()
}

// writeErr returns why the handler may not write any more, or nil.
func (s *Session) writeErr() error {
	if s.grace.Load() {
		return nil
	}
	return s.Err()
}

// Err returns why the server ended the session, or nil.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}
