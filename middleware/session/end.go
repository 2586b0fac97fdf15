package session

import (
	"errors"
	"fmt"
	"time"

	"foyer/middleware/eventlog/counters"
)

// handlerGrace is how long a handler may go on writing once its context has ended: enough for a program to leave the
// alternate screen, and less than anybody waits for.
const handlerGrace = 250 * time.Millisecond

var errExited = errors.New("the session has exited already")

// Why foyer ends a session. A write returns the first of them, and the session's log line tells them all.
var (
	errUnread  = errors.New("the client does not read its output")
	errTime    = errors.New("the session's time is over")
	errClosing = errors.New("the server is closing")
)

// Exit sends the exit status and closes the channel, not the connection. A second call is an error and sends
// nothing. Status 255 is how ssh reports a failure of its own: it and all that is no exit status becomes 1.
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

// claimExit reports whether the caller is the first to end the session, and so the one who does.
func (s *Session) claimExit(code int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.exited {
		return false
	}
	s.exited, s.status = true, code
	return true
}

// sendEnd sends the exit status, and closes the channel.
func (s *Session) sendEnd(code int) error {
	s.clock.begin(sendingEnd)
	defer s.clock.done(sendingEnd)
	status := []byte{0, 0, 0, byte(code)} // a uint32 (RFC 4254 section 6.10)
	if _, err := s.SendRequest("exit-status", false, status); err != nil {
		return err
	}
	// RFC 4254 section 5.3: whoever has no more to send should say so. Where another goroutine is stuck in a write,
	// the close has to do.
	if s.stdout.mu.TryLock() {
		if s.stderr.mu.TryLock() {
			_ = s.endOutput()
			s.stderr.mu.Unlock()
		}
		s.stdout.mu.Unlock()
	}
	return s.Channel.Close()
}

// Close ends the session with exit status 0. If it has exited already, or the server ends it, Close does nothing: the
// channel is closed after the exit status.
func (s *Session) Close() error {
	if err := s.Exit(0); err != errExited {
		return err
	}
	return nil
}

func (s *Session) closeChannel() error {
	s.clock.begin(sendingEnd)
	defer s.clock.done(sendingEnd)
	return s.Channel.Close()
}

// ring is called by the clock. What a client does not read costs it the channel after the write timeout, which it can
// confirm however full its window is, and after a second one the connection, which takes a write that is stuck with
// it. The end of the session's time costs it the same, in words at first.
func (s *Session) ring() {
	waited, late := s.clock.look() // from here on the clock watches over this goroutine too
	timeout := s.clock.timeout
	switch opened := s.opened.Load(); {
	case late >= 2*timeout:
		s.hangUp(errTime, counters.SessionTime)
	case waited >= 2*timeout:
		s.hangUp(errUnread, counters.Unread)
	case waited >= timeout && opened:
		s.giveUp(errUnread, counters.Unread)
		_ = s.Channel.Close()
	case late >= 0 && opened:
		s.end(lastWords(s.clock.lifetime), errTime, counters.SessionTime)
	}
}

// lastWords is what a visitor is told whose session has lasted for as long as it may.
func lastWords(lifetime time.Duration) string {
	n, unit := max(1, lifetime.Round(time.Second)/time.Second), "second"
	if n%60 == 0 {
		n, unit = n/60, "minute"
	}
	if n != 1 {
		unit += "s"
	}
	return fmt.Sprintf("This session has lasted %d %s, which is as long as one may here.", n, unit)
}

// end ends the session from this side. The handler's context ends, and the handler has a moment to put the terminal back.
// Then the visitor reads words on stderr and gets a failing exit status, unless nothing was asked of the session. It
// returns when that is sent, or cannot be.
func (s *Session) end(words string, why error, reason counters.Reason) {
	if !s.claimExit(1) {
		return // what is missing is the client's close
	}
	s.grace.Store(true)
	s.giveUp(why, reason) // before the context ends: the handler may log it
	s.cancel()
	if !s.begun.Load() {
		_ = s.closeChannel()
		return
	}
	select {
	case <-s.handled:
	case <-time.After(handlerGrace):
	}
	s.grace.Store(false)
	s.stderr.last(words)
	_ = s.sendEnd(1)
}

// giveUp notes why the session is ended from this side, and counts it if that is for a reason to count. The first time
// is what counts.
func (s *Session) giveUp(err error, reason counters.Reason) {
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

// hangUp gives up the session with its connection.
func (s *Session) hangUp(err error, reason counters.Reason) {
	s.giveUp(err, reason)
	_ = s.conn.Close()
}

// refusal returns why the handler may not write any more, or nil.
func (s *Session) refusal() error {
	if s.grace.Load() {
		return nil
	}
	return s.Err()
}

// Err returns why foyer gave the session up, or nil.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}
