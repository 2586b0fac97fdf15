package main

import (
	"context"
	"io"
	"net"
	"sync"
	"time"

	"foyer/cmd/knock/peers/turns"
)

// link is a long cable for one connection: what is sent on one side arrives on the other after a delay. It takes down
// who sent how much.
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
		server, err := new(net.Dialer).DialContext(ctx, "tcp", to)
		if err != nil {
			return
		}
		defer func() { _ = server.Close() }()
		l.connect(client, server)
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

func (l *link) connect(client, server net.Conn) {
	var both sync.WaitGroup
	both.Go(func() { l.carry(client, server, false) })
	both.Go(func() { l.carry(server, client, true) })
	both.Wait()
}

// chunk is what was read at once, and when it is to arrive.
type chunk struct {
	data []byte
	due  time.Time
}

// carry takes bytes one way until their sender is done, and closes the other end then.
func (l *link) carry(from, to net.Conn, server bool) {
	chunks := make(chan chunk, 1024)
	var writer sync.WaitGroup
	writer.Go(func() {
		for c := range chunks {
			time.Sleep(time.Until(c.due))
			_, _ = to.Write(c.data)
		}
		time.Sleep(l.delay)
		_ = to.Close()
	})
	defer writer.Wait()
	defer close(chunks)
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			l.note(server, n)
			chunks <- chunk{append([]byte(nil), buffer[:n]...), time.Now().Add(l.delay)}
		}
		if err != nil {
			if err != io.EOF {
				_ = from.Close()
			}
			return
		}
	}
}

func (l *link) note(server bool, bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.recorded = l.recorded.Add(server, bytes)
}
