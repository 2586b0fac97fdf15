package middleware_test

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"charm.land/ssh"

	"foyer/middleware"
	"foyer/middleware/sshtest"
	"foyer/middleware/transport"
)

// A few clients at a time have a second to read why they are disconnected. The others have 5 ms, and a place is free again
// when its client is gone.
func TestSlowDisconnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refuse := connects(func(c *middleware.Conn) error {
			c.Disconnect(transport.TooManyConnections, "full")
			return errors.New("full")
		})
		stack := middleware.NewStack(refuse, middleware.Open(), middleware.Message(middleware.Fixed("")))
		stack.SlowDisconnects = 2
		srv := &ssh.Server{}
		srv.AddHostKey(sshtest.HostKey(t))
		if err := stack.Install(srv); err != nil {
			t.Fatal(err)
		}
		for range 3 { // rounds
			var listening []*sshtest.MemoryConn
			for range 2 {
				listening = append(listening, sshtest.Connect(t, srv))
				synctest.Wait()
			}
			for range 5 {
				shortDeadlines := sshtest.Connect(t, srv)
				time.Sleep(5*time.Millisecond - time.Nanosecond)
				if shortDeadlines.Closed() {
					t.Error("one more has less than 5 ms")
				}
				time.Sleep(time.Nanosecond)
				if !shortDeadlines.Closed() {
					t.Error("one more has more than 5 ms")
				}
			}
			time.Sleep(time.Second - 5*5*time.Millisecond - time.Nanosecond)
			for _, w := range listening {
				if w.Closed() {
					t.Error("disconnected before a second is over")
				}
			}
			time.Sleep(time.Nanosecond)
			for _, w := range listening {
				if !w.Closed() {
					t.Error("not disconnected after a second")
				}
				text, _ := io.ReadAll(w)
				if len(text) == 0 {
					t.Error("the client read nothing")
				}
			}
		}
	})
}
