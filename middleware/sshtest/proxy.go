package sshtest

import (
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy passes connections on to an address, and can disturb them. It is closed when the test ends.
type Proxy struct {
	Address string // host:port on loopback

	network, to string
	mu          sync.Mutex
	disturb     Disturbance
	conns       map[net.Conn]bool
}

// Disturbance is what a [Proxy] does to connections. The zero value does nothing.
type Disturbance struct {
	Refuse  bool                // close new connections
	Stall   bool                // pass nothing on
	Delay   time.Duration       // before each answer
	Corrupt func([]byte) []byte // changes answers
}

// StartProxy returns a proxy to an address.
func StartProxy(t testing.TB, network, to string) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Address: listener.Addr().String(), network: network, to: to, conns: map[net.Conn]bool{}}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go p.pass(conn)
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		p.Disturb(Disturbance{Refuse: true})
		p.Cut()
	})
	return p
}

// Disturb changes what happens to open and new connections.
func (p *Proxy) Disturb(d Disturbance) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.disturb = d
}

// Cut closes all open connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		_ = conn.Close()
	}
}

func (p *Proxy) current() Disturbance {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.disturb
}

func (p *Proxy) keep(conn net.Conn, open bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if open {
		p.conns[conn] = true
		return
	}
	delete(p.conns, conn)
	_ = conn.Close()
}

func (p *Proxy) pass(client net.Conn) {
	p.keep(client, true)
	defer p.keep(client, false)
	for p.current().Stall && !p.current().Refuse {
		time.Sleep(time.Millisecond)
	}
	server, err := net.Dial(p.network, p.to)
	if err != nil || p.current().Refuse {
		return
	}
	p.keep(server, true)
	defer p.keep(server, false)
	go p.copy(server, client, false)
	p.copy(client, server, true)
}

// copy copies until one side is closed.
func (p *Proxy) copy(to, from net.Conn, answers bool) {
	defer func() { _ = to.Close() }()
	for buf := make([]byte, 32<<10); ; {
		n, err := from.Read(buf)
		for p.current().Stall {
			time.Sleep(time.Millisecond)
		}
		d, data := p.current(), buf[:n]
		if answers {
			time.Sleep(d.Delay)
		}
		if answers && d.Corrupt != nil {
			data = d.Corrupt(data)
		}
		if _, failed := to.Write(data); failed != nil || err != nil {
			return
		}
	}
}
