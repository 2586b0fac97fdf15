package main

import (
	"context"
	"net"
	"sync"
	"time"

	"foyer/cmd/knock/peers/turns"
)

// link is a long cable for one connection: what is sent on one side arrives on the other after a delay, and so does the
// connection itself, which its server hears of with the client's first bytes. It takes down who sent how much.
type link struct {
	listener net.Listener
	delay    time.Duration
	over     sync.WaitGroup

	mu       sync.Mutex
	recorded turns.Script
}

// openLink lays a link to an address. It takes one connection.
func openLink(ctx context.Context, to string, delay time.Duration) (*link, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &link{listener: listener, delay: delay}
	l.over.Go(func() {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		defer func() { _ = client.Close() }()
		l.connect(ctx, client, to)
	})
	return l, nil
}

func (l *link) address() string { return l.listener.Addr().String() }

// close waits until both ends are closed.
func (l *link) close() {
	_ = l.listener.Close()
	l.over.Wait()
}

// script returns what was sent so far.
func (l *link) script() turns.Script {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.recorded.ClientFirst()
}

func (l *link) connect(ctx context.Context, client net.Conn, to string) {
	there := l.take(client, false)
	time.Sleep(l.delay)
	server, err := new(net.Dialer).DialContext(ctx, "tcp", to)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	back := l.take(server, true)
	var both sync.WaitGroup
	both.Go(func() { l.deliver(there, server) })
	both.Go(func() { l.deliver(back, client) })
	both.Wait()
}

// chunk is what was read at once, and when it is to arrive.
type chunk struct {
	data []byte
	due  time.Time
}

// take reads what is sent until its sender is done.
func (l *link) take(from net.Conn, server bool) <-chan chunk {
	chunks := make(chan chunk, 1024)
	l.over.Go(func() {
		defer close(chunks)
		buffer := make([]byte, 64<<10)
		for {
			n, err := from.Read(buffer)
			if n > 0 {
				l.note(server, n)
				chunks <- chunk{append([]byte(nil), buffer[:n]...), time.Now().Add(l.delay)}
			}
			if err != nil {
				return
			}
		}
	})
	return chunks
}

// deliver writes what was taken when it is due, and closes the connection when there is no more.
func (l *link) deliver(chunks <-chan chunk, to net.Conn) {
	for c := range chunks {
		time.Sleep(time.Until(c.due))
		_, _ = to.Write(c.data)
	}
	time.Sleep(l.delay)
	_ = to.Close()
}

func (l *link) note(server bool, bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.recorded = l.recorded.Add(server, bytes)
}
