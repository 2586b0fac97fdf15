package penalties_test

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"testing"
	"time"

	"foyer/middleware/penalties"
)

// blocked reports whether 20 connections like this one, at the same time, block their source.
func blocked(t *testing.T, connect func(*penalties.Connection)) bool {
	t.Helper()
	still := func() time.Time { return time.Unix(0, 0) }
	tracker, err := penalties.NewTracker(penalties.Config{Logger: slog.New(slog.DiscardHandler), Now: still})
	if err != nil {
		t.Fatal(err)
	}
	peer := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}
	for range 20 {
		c, admitted := tracker.Admit(peer)
		if !admitted {
			return true
		}
		connect(c)
	}
	_, admitted := tracker.Admit(peer)
	return !admitted
}

// A connection on which nothing failed pays nothing if it was evicted, or if the server was too busy to check what it
// tried. All others pay.
func TestWhoPays(t *testing.T) {
	evicted := &net.OpError{Op: "read", Net: "tcp", Err: net.ErrClosed}
	const (
		failed     = penalties.Failed
		asked      = penalties.Asked
		notChecked = penalties.NotChecked
	)
	for name, tt := range map[string]struct {
		attempts []penalties.Outcome
		err      error
		pays     bool
	}{
		"evicted in silence":       {nil, evicted, false},
		"evicted at the prompt":    {[]penalties.Outcome{asked}, evicted, false},
		"evicted after a guess":    {[]penalties.Outcome{asked, failed}, evicted, true},
		"left by itself":           {nil, io.EOF, true},
		"out of time":              {nil, os.ErrDeadlineExceeded, true},
		"over a budget":            {nil, errors.New("too much"), true},
		"left after it guessed":    {[]penalties.Outcome{failed}, io.EOF, true},
		"asked and left":           {[]penalties.Outcome{asked}, io.EOF, true},
		"not checked":              {[]penalties.Outcome{asked, notChecked}, io.EOF, false},
		"not checked, out of time": {[]penalties.Outcome{notChecked, notChecked}, os.ErrDeadlineExceeded, false},
		"not checked, then failed": {[]penalties.Outcome{notChecked, failed}, io.EOF, true},
		"failed, then not checked": {[]penalties.Outcome{failed, notChecked}, io.EOF, true},
		"not checked, evicted":     {[]penalties.Outcome{notChecked}, evicted, false},
	} {
		t.Run(name, func(t *testing.T) {
			got := blocked(t, func(c *penalties.Connection) {
				for _, outcome := range tt.attempts {
					c.Attempt("guest", outcome)
				}
				c.Close(tt.err)
			})
			if got != tt.pays {
				t.Errorf("the source is blocked: %t", got)
			}
		})
	}
}

// Who gets in pays for what failed in the name of others.
func TestSuccessForgivesOneUser(t *testing.T) {
	for name, tt := range map[string]struct {
		failed []string
		pays   bool
	}{
		"nothing failed":     {nil, false},
		"a wrong password":   {[]string{"ada", "ada"}, false},
		"another user":       {[]string{"bob"}, true},
		"another user first": {[]string{"bob", "ada"}, true},
		"another user last":  {[]string{"ada", "bob"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			got := blocked(t, func(c *penalties.Connection) {
				for _, user := range tt.failed {
					c.Attempt(user, penalties.Failed)
				}
				c.Attempt("ada", penalties.Succeeded)
				c.Close(nil)
			})
			if got != tt.pays {
				t.Errorf("the source is blocked: %t", got)
			}
		})
	}
}
