package budgets

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"foyer/middleware/eventlog/counters"
)

// come returns what counts for a connection on which n bytes have been sent since its authentication.
func (b *Budgets) come(t *testing.T, n int) *Connection {
	t.Helper()
	c := b.Connection()
	c.Authenticated()
	if reason := c.Received(n); reason != "" {
		t.Fatalf("%d bytes: over the budget %q", n, reason)
	}
	return c
}

// A connection may send so much before its authentication, and so much that no session reads afterwards. What was sent
// before is forgiven.
func TestReceived(t *testing.T) {
	var all Budgets
	c := all.Connection()
	for _, tt := range []struct {
		name string
		most int
	}{{"unauthenticated", maxBeforeAuth}, {"authenticated", maxUnread}} {
		if reason := c.Received(tt.most); reason != "" {
			t.Errorf("%s: %d bytes are over the budget %q", tt.name, tt.most, reason)
		}
		if reason := c.Received(1); reason != counters.Received {
			t.Errorf("%s: a byte more is over the budget %q", tt.name, reason)
		}
		c.Authenticated()
	}
	if c.unread != 0 || all.unread.Load() != 0 {
		t.Errorf("%d bytes are left, and %d of all", c.unread, all.unread.Load())
	}
}

// What all connections have left unread is bounded. A connection with no more than a fair part of it is never over its
// budget, and nothing is left of those that are closed.
func TestUnreadTotal(t *testing.T) {
	var all Budgets
	var conns []*Connection
	for range maxUnreadTotal / (2 << 20) {
		conns = append(conns, all.come(t, 2<<20))
	}
	small := all.come(t, fairUnread)
	conns = append(conns, small)
	if reason := small.Received(1); reason != counters.Received {
		t.Errorf("more than a fair part is over the budget %q", reason)
	}
	conns[0].Read(1 << 20)
	if reason := conns[1].Received(1 << 10); reason != "" {
		t.Errorf("there is room again, and a connection is over the budget %q", reason)
	}
	for _, c := range conns {
		c.Closed()
	}
	if left := all.unread.Load(); left != 0 {
		t.Errorf("%d bytes are left", left)
	}
}

// A connection that is closed counts nothing any more.
func TestClosed(t *testing.T) {
	var all Budgets
	c := all.come(t, 1000)
	c.Closed()
	c.Authenticated()
	if reason := c.Received(2 * maxUnread); reason != "" || all.unread.Load() != 0 {
		t.Errorf("over the budget %q; %d bytes of all are left", reason, all.unread.Load())
	}
}

// Connections may end while bytes are still received and read: the sum comes back to 0.
func TestUnreadComesBack(t *testing.T) {
	var all Budgets
	var everybody sync.WaitGroup
	for range 50 {
		c := all.Connection()
		var begun sync.WaitGroup
		begun.Add(3)
		for _, do := range []func(){
			func() { c.Received(1000) },
			func() { c.Read(1000) },
			c.Authenticated,
		} {
			everybody.Go(func() {
				for i := range 200 {
					do()
					if i == 20 {
						begun.Done()
					}
				}
			})
		}
		everybody.Go(func() { begun.Wait(); c.Closed() })
	}
	everybody.Wait()
	if left := all.unread.Load(); left != 0 {
		t.Errorf("%d bytes are left", left)
	}
}

// Read takes back an eighth more than was read, for the packets around it, and never more than is counted.
func TestRead(t *testing.T) {
	var all Budgets
	c := all.come(t, 1000)
	c.Read(800)
	if c.unread != 100 || all.unread.Load() != 100 {
		t.Errorf("%d bytes are unread, and %d of all", c.unread, all.unread.Load())
	}
	c.Read(800)
	if c.unread != 0 || all.unread.Load() != 0 {
		t.Errorf("%d bytes are unread, and %d of all", c.unread, all.unread.Load())
	}
	for range 100 {
		if reason := c.Received(maxUnread); reason != "" {
			t.Fatalf("with nothing unread over the budget %q", reason)
		}
		c.Read(maxUnread)
	}
}

// So many of each are allowed in a minute, each by itself, and as many again in the next.
func TestPerMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all Budgets
		c := all.Connection()
		for minute := range 2 {
			for _, tt := range []struct {
				count  func() counters.Reason
				most   int
				reason counters.Reason
			}{
				{c.KeyExchange, maxKeyExchanges, counters.KeyExchanges},
				{c.GlobalRequest, maxGlobalRequests, counters.GlobalRequests},
				{c.ChannelOpen, maxChannelOpens, counters.ChannelOpens},
			} {
				for i := range 3 * tt.most {
					want := tt.reason
					if i < tt.most {
						want = ""
					}
					if got := tt.count(); got != want {
						t.Errorf("minute %d, %d of %s: over the budget %q, want %q", minute, i+1, tt.reason, got, want)
					}
				}
			}
			time.Sleep(time.Minute - time.Nanosecond)
			if got := c.KeyExchange(); got != counters.KeyExchanges {
				t.Errorf("before the minute is over: over the budget %q", got)
			}
			time.Sleep(time.Nanosecond)
		}
	})
}

// BenchmarkReceived is what counting one read from a connection costs.
func BenchmarkReceived(b *testing.B) {
	var all Budgets
	for _, n := range []int{64, 4096} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c := all.Connection()
			c.Authenticated()
			b.ReportAllocs()
			for b.Loop() {
				c.Received(n)
				c.Read(n)
			}
		})
	}
}
