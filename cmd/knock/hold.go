package main

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"foyer/cmd/knock/report"
)

// holding is a number of connections that are opened and kept open.
type holding struct {
	server  *server
	record  *record
	connect connector
	running sync.WaitGroup
	open    atomic.Int64 // connections that are open now
}

// connector opens a connection, calls opened, and returns when the connection has ended.
type connector func(ctx context.Context, a *attempt, opened func()) error

// connectIdle authenticates and then does nothing.
func connectIdle(ctx context.Context, a *attempt, opened func()) error {
	return a.authenticated(ctx, func(client *gossh.Client, c *conn) error {
		_ = c.SetDeadline(time.Time{})
		opened()
		return client.Wait()
	})
}

// connectSilent sends nothing. The connection counts as open once the server has sent its version, because the kernel
// accepts connections that a server never sees.
func connectSilent(ctx context.Context, a *attempt, opened func()) error {
	return a.connected(ctx, func(c *conn) error {
		if err := c.readVersion(); err != nil {
			return failure(keyExchange, err)
		}
		_ = c.SetDeadline(time.Time{})
		opened()
		_, err := c.reader.WriteTo(io.Discard)
		return err
	})
}

// run opens connections, keeps them for a while, and closes them.
func (h *holding) run(ctx context.Context, number int64, keep time.Duration) (*report.Measurement, error) {
	ctx, closeAll := context.WithCancel(ctx)
	defer h.running.Wait()
	defer closeAll()
	var kept int64
	m, err := measure(ctx, h.server, load{concurrency: h.server.concurrency, count: number}, h.record,
		func(intended time.Time) bool { return h.add(ctx, intended) },
		func() {
			if h.open.Load() > 0 {
				sleep(ctx, keep)
			}
			kept = h.open.Load()
		})
	if err != nil {
		return nil, err
	}
	m.Dropped = m.Logins - kept
	if m.Usage != nil && kept > 0 && m.Usage.MemoryAfter > m.Usage.MemoryBefore { // or it freed what others had used
		each := float64(m.Usage.MemoryAfter-m.Usage.MemoryBefore) / float64(kept)
		m.Usage.MemoryEach = &each
	}
	return m, nil
}

// add opens one connection and leaves it open.
func (h *holding) add(ctx context.Context, intended time.Time) bool {
	a := h.server.newAttempt(intended)
	opened := make(chan bool, 2)
	h.running.Go(func() {
		isOpen := false
		err := h.connect(ctx, a, func() {
			isOpen = true
			h.open.Add(1)
			h.record.add(a.result)
			opened <- true
		})
		switch {
		case ctx.Err() != nil:
		case isOpen:
			h.open.Add(-1)
		default:
			a.err = err
			h.record.add(a.result)
		}
		opened <- false
	})
	return <-opened
}
