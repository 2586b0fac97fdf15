package program

import (
	"time"

	"charm.land/ssh"
)

// The largest screen that a program draws on. Bubble Tea holds 230 bytes for each cell of it, and a client may say any size.
const (
	maxColumns = 300
	maxRows    = 100
)

// resizeInterval is the least time between two sizes that a program gets, because each makes it draw everything again.
const resizeInterval = 100 * time.Millisecond

// screen is a session with a screen that is not too large. On a larger one a program uses the upper left part.
type screen struct {
	ssh.Session
	sizes chan ssh.Window
}

func newScreen(sess ssh.Session) *screen {
	s := &screen{sess, make(chan ssh.Window)}
	_, sizes, _ := sess.Pty()
	go func() {
		for {
			select {
			case size, open := <-sizes:
				if !open || !s.resize(size) {
					return
				}
			case <-sess.Context().Done():
				return
			}
		}
	}()
	return s
}

// resize reports whether the program has got the size.
func (s *screen) resize(size ssh.Window) bool {
	select {
	case s.sizes <- bounded(size):
	case <-s.Context().Done():
		return false
	}
	select {
	case <-time.After(resizeInterval):
		return true
	case <-s.Context().Done():
		return false
	}
}

func bounded(size ssh.Window) ssh.Window {
	size.Width, size.Height = min(size.Width, maxColumns), min(size.Height, maxRows)
	return size
}

// Pty implements [ssh.Session].
func (s *screen) Pty() (ssh.Pty, <-chan ssh.Window, bool) {
	pty, _, granted := s.Session.Pty()
	pty.Window = bounded(pty.Window)
	return pty, s.sizes, granted
}
