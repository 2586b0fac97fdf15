package main

import (
	"context"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/transport"
)

// login makes one login that begins now.
func login(t *testing.T, d *door) result {
	t.Helper()
	return d.login(t.Context(), time.Now())
}

func TestLogin(t *testing.T) {
	d := new(fake).open(t).door(t)
	expected := []byte(message)
	d.expected = &expected
	got := login(t, d)
	if got.err != nil {
		t.Fatal(got.err)
	}
	var sum time.Duration
	for p := range firstByte + 1 {
		if sum += got.took[p]; got.took[p] <= 0 || !got.reached[p] {
			t.Errorf("%s took %s", p, got.took[p])
		}
	}
	if got.took[wholeLogin] < sum {
		t.Errorf("the whole took %s, and its phases %s", got.took[wholeLogin], sum)
	}
	if got.server.version != "SSH-2.0-fake" || got.server.algorithms.HostKey != "ssh-ed25519" {
		t.Errorf("%+v", got.server)
	}
}

// TestPhases: what takes long in one phase is in no other.
func TestPhases(t *testing.T) {
	const stall = 200 * time.Millisecond
	password := &fake{password: "secret"}
	slow := map[phase]*fake{
		keyExchange: {accept: func(net.Conn) bool { time.Sleep(stall); return true }},
		firstByte: {session: func(channel gossh.Channel, requests <-chan *gossh.Request, conn gossh.Conn) {
			time.Sleep(stall)
			simple(channel, requests, conn)
		}},
		authentication: password,
	}
	for p, f := range slow {
		t.Run(p.String(), func(t *testing.T) {
			d := f.open(t).door(t)
			if p == authentication {
				d.config.Auth = []gossh.AuthMethod{gossh.PasswordCallback(func() (string, error) {
					time.Sleep(stall)
					return "secret", nil
				})}
			}
			got := login(t, d)
			if got.err != nil {
				t.Fatal(got.err)
			}
			for other := range firstByte + 1 {
				if long := got.took[other] >= stall; long != (other == p) {
					t.Errorf("%s took %s", other, got.took[other])
				}
			}
		})
	}
}

// say returns a session that is answered so.
func say(words string, status uint32) func(gossh.Channel, <-chan *gossh.Request, gossh.Conn) {
	return func(channel gossh.Channel, requests <-chan *gossh.Request, _ gossh.Conn) {
		answer(channel, requests, words, status)
	}
}

// TestOutcomes: every way in which a login ends is told from the others.
func TestOutcomes(t *testing.T) {
	for _, tt := range []struct {
		name   string
		fake   *fake
		reason string // "" for a success
	}{
		{"as it should", &fake{}, ""},
		{"without a status", &fake{session: func(channel gossh.Channel, requests <-chan *gossh.Request, _ gossh.Conn) {
			grant(requests, true)
			_, _ = channel.Write([]byte(message))
			_ = channel.Close()
		}}, ""},
		{"much on stderr", &fake{session: func(channel gossh.Channel, requests <-chan *gossh.Request, conn gossh.Conn) {
			_, _ = channel.Stderr().Write(make([]byte, 4<<20)) // more than a window
			simple(channel, requests, conn)
		}}, ""},
		{"an exit status", &fake{session: say(message, 3)}, "exit status 3"},
		{"less", &fake{session: say(message[1:], 0)}, "stdout is not what was expected"},
		{"more", &fake{session: say(message+"!", 0)}, "stdout is not what was expected"},
		{"nothing", &fake{session: say("", 0)}, "stdout is not what was expected"},
		{"hung up in the session", &fake{session: func(channel gossh.Channel, requests <-chan *gossh.Request, conn gossh.Conn) {
			grant(requests, true)
			_, _ = channel.Write([]byte(message))
			_ = conn.Close()
		}}, "hung up before the session was over"},
		{"a signal", &fake{session: func(channel gossh.Channel, requests <-chan *gossh.Request, _ gossh.Conn) {
			grant(requests, true)
			_, _ = channel.SendRequest("exit-signal", false, gossh.Marshal(struct {
				Name            string
				Core            bool
				Error, Language string
			}{"SEGV\x1b[2J", false, "", ""}))
			_ = channel.Close()
		}}, `ended by signal SEGV\x1b[2J`},
		{"an odd signal", &fake{session: func(channel gossh.Channel, requests <-chan *gossh.Request, _ gossh.Conn) {
			grant(requests, true)
			_, _ = channel.SendRequest("exit-signal", false, nil)
			_ = channel.Close()
		}}, "ended by a signal"},
		{"no session", &fake{full: true}, `first byte: the session was refused: Full up.\n`},
		{"no shell", &fake{session: func(channel gossh.Channel, requests <-chan *gossh.Request, _ gossh.Conn) {
			grant(requests, false)
		}}, "first byte: the shell was refused"},
		{"hung up without a session", &fake{leave: true}, "first byte: the server hung up"},
		{"words", &fake{accept: func(conn net.Conn) bool {
			_, _ = conn.Write([]byte("Too many \x1b[31mvisitors.\r\n"))
			return false
		}}, `the server said: Too many \x1b[31mvisitors.`},
		{"a disconnect", &fake{accept: func(conn net.Conn) bool {
			transport.New(conn, "SSH-2.0-fake", nil).Disconnect(
				transport.TooManyConnections, "too many visitors at the moment, please try again in a minute", time.Second)
			return false
		}}, "the server said: too many visitors at the moment, please try again in a minute"},
		{"a banner", &fake{prepare: func(config *gossh.ServerConfig, conn net.Conn) {
			config.BannerCallback = func(gossh.ConnMetadata) string { return "Too many visitors.\r\n" }
			config.NoClientAuthCallback = func(gossh.ConnMetadata) (*gossh.Permissions, error) {
				_ = conn.Close()
				return nil, net.ErrClosed
			}
		}}, "the server said: Too many visitors."},
		{"hung up at once", &fake{accept: func(net.Conn) bool { return false }}, "key exchange: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := tt.fake.open(t).door(t)
			expected := []byte(message)
			d.expected = &expected
			got := login(t, d)
			switch {
			case tt.reason == "" && got.err != nil:
				t.Error(got.err)
			case tt.reason != "" && (got.err == nil || !strings.HasPrefix(got.err.Error(), tt.reason)):
				t.Errorf("%v, want %q", got.err, tt.reason)
			case got.reached[wholeLogin] != (tt.reason == ""):
				t.Error("a whole login is one that succeeded")
			}
			until(t, func() bool { return tt.fake.present() == 0 }) // no connection is left behind
		})
	}
}

// TestGreeting: what a server says before its version is told only where no version follows.
func TestGreeting(t *testing.T) {
	for _, tt := range []struct {
		name   string
		fake   *fake
		cipher string
		reason string // "" for a success
	}{
		{"and in", &fake{accept: greet}, "", ""},
		{"and not authenticated", &fake{accept: greet, password: "secret"}, "", "authentication: unable to authenticate"},
		{"in a banner, and not authenticated", &fake{password: "secret", prepare: func(config *gossh.ServerConfig, _ net.Conn) {
			config.BannerCallback = func(gossh.ConnMetadata) string { return "Welcome.\n" }
		}}, "", "authentication: unable to authenticate"},
		{"and no key exchange", &fake{accept: greet}, "aes128-cbc", "key exchange: no common algorithm"},
		{"and no more", &fake{accept: func(conn net.Conn) bool { greet(conn); return false }}, "", "the server said: Welcome."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := tt.fake.open(t).door(t)
			if tt.cipher != "" {
				d.config.Ciphers = []string{tt.cipher}
			}
			got := login(t, d)
			if got.err == nil && tt.reason != "" || got.err != nil && (tt.reason == "" || !strings.HasPrefix(got.err.Error(), tt.reason)) {
				t.Errorf("%v, want %q", got.err, tt.reason)
			}
		})
	}
}

// A server may hang up once the channel is closed: the visitor has had all of the session.
func TestHungUpAfterwards(t *testing.T) {
	d := (&fake{session: func(channel gossh.Channel, requests <-chan *gossh.Request, conn gossh.Conn) {
		simple(channel, requests, conn)
		_ = conn.Close()
	}}).open(t).door(t)
	for range 20 {
		if got := login(t, d); got.err != nil || !got.reached[wholeLogin] {
			t.Errorf("%v, whole: %t", got.err, got.reached[wholeLogin])
		}
	}
}

func TestNobodyThere(t *testing.T) {
	d := new(fake).open(t).door(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = listener.Close()
	d.address = listener.Addr().String()
	if got := login(t, d); got.err == nil || got.err.Error() != "connect: connection refused" {
		t.Error(got.err)
	}
}

// TestHungUpOn: that the library closes the connection then is not why it ended.
func TestHungUpOn(t *testing.T) {
	d := (&fake{accept: func(conn net.Conn) bool {
		_, _ = io.WriteString(conn, "SSH-2.0-brief\r\n")
		return false
	}}).open(t).door(t)
	for range 50 {
		got := login(t, d)
		if got.err == nil || !contains(got.err.Error(), "the server hung up") && !contains(got.err.Error(), "reset by peer") {
			t.Fatal(got.err)
		}
	}
}

// TestNoDescriptors: what knock lacks itself is not the server's fault.
func TestNoDescriptors(t *testing.T) {
	err := failure(connect, &net.OpError{Op: "dial", Err: os.NewSyscallError("socket", syscall.EMFILE)})
	if want := "connect: knock has no descriptors left: raise ulimit -n"; err.Error() != want {
		t.Errorf("%v, want %q", err, want)
	}
}

// mute takes a connection and says nothing until the visitor leaves.
func mute(conn net.Conn) bool {
	_, _ = io.Copy(io.Discard, conn)
	return false
}

// TestTimeouts: a server that stands still, in whichever phase, is left, and the time counts from the intended start.
func TestTimeouts(t *testing.T) {
	wait := func(_ gossh.Channel, _ <-chan *gossh.Request, conn gossh.Conn) { _ = conn.Wait() }
	granted := func(_ gossh.Channel, requests <-chan *gossh.Request, conn gossh.Conn) {
		grant(requests, true)
		_ = conn.Wait()
	}
	endless := func(channel gossh.Channel, requests <-chan *gossh.Request, conn gossh.Conn) {
		grant(requests, true)
		_, _ = channel.Write([]byte(message))
		_, _ = channel.SendRequest("exit-status", false, make([]byte, 4))
		_ = conn.Wait()
	}
	for _, tt := range []struct {
		name   string
		fake   *fake
		reason string
	}{
		{"no version", &fake{accept: mute}, "key exchange: timed out"},
		{"no session", &fake{full: true}, `first byte: the session was refused: Full up.\n`},
		{"no shell", &fake{session: wait}, "first byte: timed out"},
		{"no answer", &fake{session: granted}, "first byte: timed out"},
		{"no end", &fake{session: endless}, "timed out before the session was over"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := tt.fake.open(t).door(t)
			d.timeout = time.Hour
			got := d.login(t.Context(), time.Now().Add(500*time.Millisecond-time.Hour))
			if got.err == nil || got.err.Error() != tt.reason {
				t.Error(got.err)
			}
		})
	}
	d := new(fake).open(t).door(t)
	if got := d.login(t.Context(), time.Now().Add(-2*d.timeout)); got.err == nil || got.err.Error() != "connect: timed out" {
		t.Errorf("a visitor whose time was over came in: %v", got.err)
	}
}

func TestInterruptedLogin(t *testing.T) {
	arrived := make(chan struct{})
	d := (&fake{accept: func(conn net.Conn) bool { close(arrived); return mute(conn) }}).open(t).door(t)
	d.timeout = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan result)
	go func() { over <- d.login(ctx, time.Now()) }()
	<-arrived
	cancel()
	select {
	case got := <-over:
		if got.err == nil {
			t.Error("it succeeded")
		}
	case <-time.After(patience):
		t.Error("it goes on")
	}
}

// TestUsualAlgorithms: of a server with several keys, the one is asked for that ssh would ask for.
func TestUsualAlgorithms(t *testing.T) {
	got := login(t, (&fake{alsoRSA: true}).open(t).door(t))
	if a := got.server.algorithms; got.err != nil || a.HostKey != "ssh-ed25519" || a.Read.Cipher != "chacha20-poly1305@openssh.com" {
		t.Errorf("%+v, %v", a, got.err)
	}
}

// TestAlgorithms: what is asked for is what is used.
func TestAlgorithms(t *testing.T) {
	f := new(fake).open(t)
	s := newSettings()
	s.open, s.timeout = true, patience
	s.kex, s.ciphers, s.hostKeys = []string{"ecdh-sha2-nistp256"}, []string{"aes128-ctr"}, []string{"ssh-ed25519"}
	d, err := s.door(t.Context(), f.target())
	if err != nil {
		t.Fatal(err)
	}
	got := login(t, d)
	if a := got.server.algorithms; got.err != nil || a.KeyExchange != s.kex[0] || a.Read.Cipher != s.ciphers[0] {
		t.Errorf("%+v, %v", a, got.err)
	}
	s.hostKeys = []string{"rsa-sha2-512"}
	if d, err = s.door(t.Context(), f.target()); err != nil {
		t.Fatal(err)
	}
	const reason = "key exchange: no common algorithm for host key: the server has ssh-ed25519"
	if got := login(t, d); got.err == nil || got.err.Error() != reason {
		t.Error(got.err)
	}
}
