package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"

	gossh "golang.org/x/crypto/ssh"
)

// fake is a door of a few lines, that can be made to misbehave.
type fake struct {
	address  string
	hostKey  gossh.Signer
	password string                                          // that lets guest in; "" lets everybody in
	key      gossh.PublicKey                                 // that lets guest in, or nil
	accept   func(conn net.Conn) bool                        // says whether to go on with a connection, or nil
	prepare  func(config *gossh.ServerConfig, conn net.Conn) // sees to what comes after that, or nil
	full     bool                                            // it opens no sessions
	leave    bool                                            // it hangs up when it is asked for one
	alsoRSA  bool                                            // it has another host key
	session  func(channel gossh.Channel, requests <-chan *gossh.Request, conn gossh.Conn)

	mu    sync.Mutex
	conns map[net.Conn]bool
	came  int
	over  sync.WaitGroup
}

// message is what a fake says.
const message = "This session is very simple.  Goodbye!\r\n"

// open serves f until the test ends.
func (f *fake) open(t testing.TB) *fake {
	t.Helper()
	f.hostKey, f.conns = signer(t), map[net.Conn]bool{}
	if f.session == nil {
		f.session = simple
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.address = listener.Addr().String()
	f.over.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns[conn] = true
			f.came++
			f.mu.Unlock()
			f.over.Go(func() { f.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		f.hangUp()
		f.over.Wait()
	})
	return f
}

// hangUp ends all connections, and reports how many there were.
func (f *fake) hangUp() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for conn := range f.conns {
		_ = conn.Close()
	}
	return len(f.conns)
}

func (f *fake) visitors() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.came
}

// present returns how many connections there are.
func (f *fake) present() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.conns)
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
		if f.leave {
			return
		}
		if f.full {
			_ = offered.Reject(gossh.ResourceShortage, "Full up.\n")
			continue
		}
		if channel, requests, err := offered.Accept(); err == nil {
			f.over.Go(func() { f.session(channel, requests, server) })
		}
	}
}

// simple is the session that every login expects: the message, status 0, the end.
func simple(channel gossh.Channel, requests <-chan *gossh.Request, _ gossh.Conn) {
	answer(channel, requests, message, 0)
}

// grant answers the request for a shell, if the visitor has stayed to make one.
func grant(requests <-chan *gossh.Request, granted bool) {
	if request := <-requests; request != nil {
		_ = request.Reply(granted, nil)
	}
}

func answer(channel gossh.Channel, requests <-chan *gossh.Request, words string, status uint32) {
	grant(requests, true)
	go gossh.DiscardRequests(requests)
	_, _ = channel.Write([]byte(words))
	_, _ = channel.SendRequest("exit-status", false, gossh.Marshal(struct{ Status uint32 }{status}))
	_ = channel.Close()
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

// rsaSigner makes the same key for all connections.
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

// door returns a door that leads to f without a password.
func (f *fake) door(t testing.TB) *door {
	t.Helper()
	s := newSettings()
	s.open, s.timeout = true, patience
	d, err := s.door(t.Context(), "guest@"+f.address)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (f *fake) target() string { return fmt.Sprintf("guest@%s", f.address) }
