package session

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
)

// bubble runs a test of a relay with a context that ends with it: a goroutine that is left behind fails the test.
func bubble(t *testing.T, test func(t *testing.T, ctx context.Context, r *relay[string])) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		test(t, ctx, &relay[string]{})
		cancel()
		synctest.Wait()
	})
}

func send(r *relay[string], values ...string) {
	for _, v := range values {
		r.send(v, true)
	}
}

// received returns all that comes through c without further ado.
func received(c <-chan string) (list []string) {
	for {
		synctest.Wait()
		select {
		case v := <-c:
			list = append(list, v)
		default:
			return list
		}
	}
}

func wantReceived(t *testing.T, c <-chan string, want ...string) {
	t.Helper()
	if got := received(c); !slices.Equal(got, want) {
		t.Errorf("received %q, want %q", got, want)
	}
}

func TestRelayKeepsWhatCameBefore(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, r *relay[string]) {
		send(r, "INT", "HUP", "INT", "INT", "TERM", "HUP")
		c := make(chan string)
		r.listen(ctx, c)
		wantReceived(t, c, "INT", "HUP", "TERM")
		send(r, "HUP", "INT")
		wantReceived(t, c, "HUP", "INT")
	})
}

// Nobody listens, or nobody reads: the sender does not wait, and the queue does not grow.
func TestRelayNeverBlocks(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, r *relay[string]) {
		for range 2 {
			for range 1000 {
				send(r, "INT", "HUP")
			}
			if len(r.pending) > 2 {
				t.Errorf("%d values wait", len(r.pending))
			}
			r.listen(ctx, make(chan string))
			synctest.Wait()
		}
	})
}

// A value that comes while its like is on its way is delivered after it. It used to be taken for the same, and lost,
// where it came between the delivery and the note of it.
func TestRelayLosesNothingThatFollowsADelivery(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, r *relay[string]) {
		c := make(chan string)
		r.listen(ctx, c)
		for range 5000 {
			send(r, "INT")
			<-c
		}
	})
}

func TestRelayChangesListeners(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, r *relay[string]) {
		first, second := make(chan string), make(chan string)
		r.listen(ctx, first)
		send(r, "INT", "HUP")
		synctest.Wait() // INT is offered to first, which does not take it
		send(r, "INT")
		r.listen(ctx, second)
		wantReceived(t, first)
		wantReceived(t, second, "INT", "HUP")
		r.listen(ctx, nil)
		send(r, "TERM")
		wantReceived(t, second)
		r.listen(ctx, first)
		wantReceived(t, first, "TERM")
	})
}

func TestRelayDropsWhatNobodyShallKeep(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, r *relay[string]) {
		if r.send("break", false) {
			t.Error("with no listener it is said to be delivered")
		}
		c := make(chan string)
		r.listen(ctx, c)
		wantReceived(t, c)
		if !r.send("break", false) {
			t.Error("with a listener it is said to be dropped")
		}
		wantReceived(t, c, "break")
		r.listen(ctx, nil)
		if r.send("break", false) {
			t.Error("with no listener any more it is said to be delivered")
		}
	})
}

// A send on a closed channel would end the process.
func TestRelayToAClosedChannel(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, r *relay[string]) {
		closed := make(chan string)
		close(closed)
		r.listen(ctx, closed)
		send(r, "INT")
		synctest.Wait()
		if r.send("break", false) {
			t.Error("who closed the channel is said to listen")
		}
		c := make(chan string)
		r.listen(ctx, c)
		wantReceived(t, c, "INT")
	})
}

// Of listeners that register at the same time one stays, and all values reach exactly one of them.
func TestRelayRegistersOneAtATime(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, r *relay[string]) {
		c := make(chan string)
		for range 20 {
			go r.listen(ctx, c)
		}
		synctest.Wait()
		send(r, "INT", "HUP", "TERM")
		wantReceived(t, c, "INT", "HUP", "TERM")
		r.listen(ctx, nil)
		send(r, "INT")
		wantReceived(t, c)
	})
}
