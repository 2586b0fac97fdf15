package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	gossh "golang.org/x/crypto/ssh"
)

// fake is a small SSH server that can be made to misbehave.
type fake struct {
	address  string
	hostKey  gossh.Signer
	password string                                             // guest's; "" lets everybody in
	key      gossh.PublicKey                                    // guest's, or nil
	accept   func(conn net.Conn) bool                           // reports whether to serve a connection, or nil
	prepare  func(config *gossh.ServerConfig, conn net.Conn)    // is called before the handshake, or nil
	channel  func(offered gossh.NewChannel, conn net.Conn) bool // reports whether to accept a session, or nil
	alsoRSA  bool                                               // it has a second host key
	session  func(channel gossh.Channel, requests <-chan *gossh.Request, conn gossh.Conn)

	mu       sync.Mutex
	conns    map[net.Conn]bool
	accepted int
	running  sync.WaitGroup
}

// message is what a fake sends.
const message = "This session is very simple.  Goodbye!\r\n"

// open serves f until the test ends.
func (f *fake) open(t testing.TB) *fake {
	t.Helper()
	f.hostKey, f.conns = signer(t), map[net.Conn]bool{}
	if f.session == nil {
		f.session = sendMessage
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.address = listener.Addr().String()
	f.running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns[conn] = true
			f.accepted++
			f.mu.Unlock()
			f.running.Go(func() { f.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		f.closeAll()
		f.running.Wait()
	})
	return f
}

// closeAll closes all connections, and returns how many there were.
func (f *fake) closeAll() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	for conn := range f.conns {
		_ = conn.Close()
	}
	return len(f.conns)
}

// counts returns how many connections were accepted, and how many are open.
func (f *fake) counts() (accepted, open int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.accepted, len(f.conns)
}

func (f *fake) config() *gossh.ServerConfig {
	config := &gossh.ServerConfig{NoClientAuth: f.password == "" && f.key == nil, ServerVersion: "SSH-2.0-fake"}
	if f.password != "" {
		config.PasswordCallback = func(_ gossh.ConnMetadata, password []byte) (*gossh.Permissions, error) {
			if string(password) != f.password {
				return nil, errors.New("wrong")
			}
			return nil, nil
		}
	}
	if f.key != nil {
		config.PublicKeyCallback = func(_ gossh.ConnMetadata, key gossh.PublicKey) (*gossh.Permissions, error) {
			if string(key.Marshal()) != string(f.key.Marshal()) {
				return nil, errors.New("unknown")
			}
			return nil, nil
		}
	}
	config.AddHostKey(f.hostKey)
	if f.alsoRSA {
		config.AddHostKey(rsaSigner())
	}
	return config
}

func (f *fake) serve(conn net.Conn) {
	defer func() {
		_ = conn.Close()
		f.mu.Lock()
		delete(f.conns, conn)
		f.mu.Unlock()
	}()
	if f.accept != nil && !f.accept(conn) {
		return
	}
	config := f.config()
	if f.prepare != nil {
		f.prepare(config, conn)
	}
	server, channels, requests, err := gossh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go gossh.DiscardRequests(requests)
	for offered := range channels {
		if f.channel != nil && !f.channel(offered, conn) {
			continue
		}
		if channel, requests, err := offered.Accept(); err == nil {
			f.running.Go(func() { f.session(channel, requests, server) })
		}
	}
}

// sendMessage is the usual session: the message, and exit status 0.
func sendMessage(channel gossh.Channel, requests <-chan *gossh.Request, _ gossh.Conn) {
	answer(channel, requests, message, 0)
}

// reply answers the request for a shell.
func reply(requests <-chan *gossh.Request, granted bool) {
	if request := <-requests; request != nil {
		_ = request.Reply(granted, nil)
	}
}

func answer(channel gossh.Channel, requests <-chan *gossh.Request, text string, status uint32) {
	reply(requests, true)
	go gossh.DiscardRequests(requests)
	_, _ = channel.Write([]byte(text))
	_, _ = channel.SendRequest("exit-status", false, gossh.Marshal(struct{ Status uint32 }{status}))
	_ = channel.Close()
}

// refuseAll closes every connection at once.
func refuseAll(net.Conn) bool { return false }

// sendNothing keeps a connection open without sending anything.
func sendNothing(conn net.Conn) bool {
	_, _ = io.Copy(io.Discard, conn)
	return false
}

func signer(t testing.TB) gossh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := gossh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// rsaSigner makes one key for all connections.
var rsaSigner = sync.OnceValue(func() gossh.Signer {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	key, err := gossh.NewSignerFromKey(private)
	if err != nil {
		panic(err)
	}
	return key
})

// server returns f as a server to measure, without authentication.
func (f *fake) server(t testing.TB) *server {
	t.Helper()
	s := newSettings()
	s.noAuth, s.timeout = true, timeout
	srv, err := s.open(t.Context(), f.target())
	if err != nil {
		t.Fatal(err)
	}
	return srv
}

func (f *fake) target() string { return "guest@" + f.address }
