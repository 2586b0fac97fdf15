package penalties_test

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"charm.land/log/v2"

	"foyer/middleware/penalties"
)

// Who was hung up on without having tried anything, to make room for another, pays nothing. All others do.
func TestVisitHungUpOn(t *testing.T) {
	hungUp := &net.OpError{Op: "read", Net: "tcp", Err: net.ErrClosed}
	for name, tt := range map[string]struct {
		attempts []string
		err      error
		pays     bool
	}{
		"in silence":            {nil, hungUp, false},
		"at the prompt":         {[]string{"none"}, hungUp, false},
		"after a guess":         {[]string{"none", "password"}, hungUp, true},
		"left by itself":        {nil, io.EOF, true},
		"out of time":           {nil, os.ErrDeadlineExceeded, true},
		"over a budget":         {nil, errors.New("too much"), true},
		"left after it guessed": {[]string{"password"}, io.EOF, true},
	} {
		t.Run(name, func(t *testing.T) {
			still := func() time.Time { return time.Unix(0, 0) }
			ledger, err := penalties.NewLedger(penalties.Config{Logger: log.New(io.Discard), Now: still})
			if err != nil {
				t.Fatal(err)
			}
			peer := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}
			for range 20 {
				visit, admitted := ledger.Admit(peer)
				if !admitted {
					break
				}
				for _, method := range tt.attempts {
					visit.Attempt("guest", method, errors.New("no"))
				}
				visit.Close(tt.err)
			}
			if _, admitted := ledger.Admit(peer); admitted == tt.pays {
				t.Errorf("let in after twenty visits: %t", admitted)
			}
		})
	}
}
