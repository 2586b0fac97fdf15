package session

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// The clock goes off when something is due, and not any more once nothing is.
func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &clock{timeout: 10 * time.Second, lifetime: 5 * time.Second}
		var rings []time.Duration
		c.start(func() {
			rings = append(rings, c.age())
			c.check()
		})
		time.Sleep(2 * time.Second)
		c.begin(sendingEnd)
		time.Sleep(2 * time.Second)
		c.begin(sendingEnd) // waits for the first
		time.Sleep(9 * time.Second)
		c.done(sendingEnd)
		time.Sleep(time.Hour)
		synctest.Wait()
		for i := range rings {
			rings[i] /= time.Second
		}
		// The end, one timeout after it began to send, and one and two after the end.
		if want := []time.Duration{5, 12, 15, 25}; !slices.Equal(rings, want) {
			t.Errorf("it went off after %d seconds, want %d", rings, want)
		}
		c.stop()
	})
}

// A clock that goes off while its session ends is not set again, and does not end the process.
func TestClockThatIsStopped(t *testing.T) {
	c := &clock{timeout: time.Hour, lifetime: time.Hour}
	c.start(func() { t.Error("it runs on") })
	c.stop()
	c.begin(sendingEnd)
	if waited, late := c.check(); waited > time.Minute || late > 0 || c.timer != nil {
		t.Errorf("waited for %s, late by %s, runs on: %t", waited, late, c.timer != nil)
	}
}

// A session that has ended leaves nothing behind.
func TestOpenSessions(t *testing.T) {
	o := &Open{}
	for range 3 {
		s := &Session{}
		if o.add(s); len(o.sessions) != 1 {
			t.Errorf("%d sessions are open, want 1", len(o.sessions))
		}
		if o.remove(s); len(o.sessions) != 0 {
			t.Errorf("%d sessions are left", len(o.sessions))
		}
	}
}
