package main

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	gossh "golang.org/x/crypto/ssh"
)

// holding is a number of connections that are kept open, and what they cost.
type holding struct {
	door    *door
	record  *record
	asked   int64
	wait    waiter
	over    sync.WaitGroup
	open    atomic.Int64 // are open now
	opened  int64
	dropped int64 // by the server
	opening time.Duration
	held    time.Duration
	cpu     time.Duration // of the server, while they were opened
	memory  *heldMemory   // of the server, or nil where it was not measured
	lost    error         // why the two could not be told in the end

	gaveUp      bool
	interrupted bool
}

// heldMemory is what a server held, in bytes.
type heldMemory struct {
	Before int64    `json:"before_bytes"`         // with no connection
	Held   int64    `json:"held_bytes"`           // once all of them were open
	End    *int64   `json:"end_bytes"`            // before they were closed; null where the server was gone by then
	Each   *float64 `json:"per_connection_bytes"` // Held without Before, for each one then open; null where that tells nothing
}

// waiter opens a connection, calls opened, and returns when the connection is over.
type waiter func(ctx context.Context, v *visit, opened func()) error

// authenticated waits with a connection that is authenticated and idle.
func authenticated(ctx context.Context, v *visit, opened func()) error {
	return v.enter(ctx, func(client gossh.Conn, conn *wire) error {
		_ = conn.SetDeadline(time.Time{})
		opened()
		return client.Wait()
	})
}

// silent waits with a connection that says nothing. It counts as open once the server has begun to speak, since the
// kernel takes connections that a server never gets to see.
func silent(ctx context.Context, v *visit, opened func()) error {
	return v.connect(ctx, func(conn *wire) error {
		if err := version(conn); err != nil {
			return v.unspoken(conn, err)
		}
		_ = conn.SetDeadline(time.Time{})
		opened()
		return drain(conn)
	})
}

// errSilent is what a server is left for that never begins.
var errSilent = failed{"the server said nothing"}

// unspoken says why no version came. Without one there is no key exchange yet that could have timed out.
func (v *visit) unspoken(conn *wire, err error) error {
	if conn.timedOut() != nil && len(conn.first) == 0 && len(conn.line) == 0 {
		return errSilent
	}
	return v.refused(conn, err)
}

// drain reads to the end. Its buffer is small, for there are many who drain.
func drain(conn io.Reader) error {
	var buffer [64]byte
	for {
		if _, err := conn.Read(buffer[:]); err != nil {
			return err
		}
	}
}

// errNoVersion is what a server is refused for that has many words and no version.
var errNoVersion = errors.New("no version of SSH")

// maxGreeting is how many bytes of a server are read until its version was: as many as x/crypto reads in a login, which
// is 1024 lines of 255.
const maxGreeting = 1024 * 255

// version reads up to the version, before which a server may say other lines (RFC 4253, section 4.2).
func version(conn *wire) error {
	one := make([]byte, 1)
	for range maxGreeting {
		if _, err := conn.Read(one); err != nil {
			return err
		}
		if conn.hasVersion {
			return nil
		}
	}
	return errNoVersion
}

// hold opens the connections, some at a time, keeps them for a while, and closes them.
func (h *holding) hold(ctx context.Context, openers int, keep time.Duration) error {
	ctx, release := context.WithCancel(ctx)
	defer h.over.Wait()
	defer release()
	before, err := h.look(ctx)
	if err != nil {
		return err
	}
	h.record.began = time.Now()
	_, h.gaveUp = pace{visitors: openers, count: h.asked}.knockInHope(ctx, h.record, func(intended time.Time) bool {
		return h.add(ctx, intended)
	})
	h.opening = time.Since(h.record.began)
	h.opened, _ = h.record.counts()
	var full state
	full, h.lost = h.look(context.WithoutCancel(ctx))
	from := time.Now()
	if h.opened > 0 {
		sleep(ctx, keep)
	}
	h.held, h.interrupted = time.Since(from), ctx.Err() != nil
	h.dropped = h.opened - h.open.Load()
	if h.lost == nil {
		h.compare(before, full)
	}
	return nil
}

// add opens one connection and leaves it to itself.
func (h *holding) add(ctx context.Context, intended time.Time) bool {
	v := h.door.visit(intended)
	opened := make(chan bool, 2)
	h.over.Go(func() {
		isOpen := false
		err := h.wait(ctx, v, func() {
			isOpen = true
			h.open.Add(1)
			h.record.add(v.result)
			opened <- true
		})
		switch {
		case isOpen:
			if ctx.Err() == nil {
				h.open.Add(-1)
			}
		case ctx.Err() == nil:
			v.err = err
			h.record.add(v.result)
		}
		opened <- false
	})
	return <-opened
}

// state is how a server is at one moment.
type state struct {
	cpu    time.Duration
	memory int64
	open   int64 // connections
}

// look waits until the server has settled. Without a meter there is nothing to see.
func (h *holding) look(ctx context.Context) (s state, err error) {
	if h.door.meter == nil {
		return s, nil
	}
	if s.cpu, err = settledCPU(ctx, h.door.meter); err != nil {
		return s, err
	}
	s.open = h.open.Load()
	s.memory, err = h.door.meter.memory()
	return s, err
}

// compare takes down what the connections cost.
func (h *holding) compare(before, full state) {
	if h.cpu, h.lost = spent(before.cpu, full.cpu); h.lost != nil {
		return
	}
	if h.door.meter == nil || before.memory < 0 {
		return
	}
	h.memory = &heldMemory{Before: before.memory, Held: full.memory}
	if more := full.memory - before.memory; full.open > 0 && more > 0 {
		each := float64(more) / float64(full.open)
		h.memory.Each = &each
	}
	if end, err := h.door.meter.memory(); err == nil {
		h.memory.End = &end
	}
}

// errNotKept is the end of a holding that is told in full by its report.
var errNotKept = errors.New("not every connection was opened and kept")

// verdict returns nil where all were opened, the server kept all of them, and their cost is known if it was asked for.
func (h *holding) verdict() error {
	if h.opened < h.asked || h.dropped > 0 {
		return errNotKept
	}
	return h.lost
}
