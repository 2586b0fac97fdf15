package main

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"
)

// login makes one login that starts now.
func login(t *testing.T, srv *server) result {
	t.Helper()
	return srv.login(t.Context(), time.Now())
}

func TestLogin(t *testing.T) {
	srv := new(fake).open(t).server(t)
	srv.expected = []byte(message)
	got := login(t, srv)
	if got.err != nil {
		t.Fatal(got.err)
	}
	for p, took := range got.took {
		if took <= 0 {
			t.Errorf("%s took %s", phase(p), took)
		}
	}
	if got.server.version != "SSH-2.0-fake" || got.server.algorithms.HostKey != "ssh-ed25519" {
		t.Errorf("%+v", got.server)
	}
}

// send returns a session with this output and exit status.
func send(text string, status uint32) func(gossh.Channel, <-chan *gossh.Request, gossh.Conn) {
	return func(channel gossh.Channel, requests <-chan *gossh.Request, _ gossh.Conn) {
		answer(channel, requests, text, status)
	}
}

// disconnect sends the version and an SSH_MSG_DISCONNECT (RFC 4253, section 11.1).
func disconnect(conn net.Conn) bool {
	payload := gossh.Marshal(struct {
		Reason         uint32 `sshtype:"1"`
		Text, Language string
	}{12, "Too many \x1b[31mconnections.", ""})
	padding := 8 - (5+len(payload))%8 + 8
	packet := append([]byte{0, 0, 0, byte(1 + len(payload) + padding), byte(padding)}, payload...)
	_, _ = io.WriteString(conn, "SSH-2.0-busy\r\n")
	_, _ = conn.Write(append(packet, make([]byte, padding)...))
	return sendNothing(conn)
}

func TestLoginOutcomes(t *testing.T) {
	for _, tt := range []struct {
		name   string
		fake   *fake
		reason string // "" if the login succeeds
	}{
		{"success", &fake{}, ""},
		{"no exit status", &fake{session: func(channel gossh.Channel, requests <-chan *gossh.Request, _ gossh.Conn) {
			reply(requests, true)
			_, _ = channel.Write([]byte(message))
			_ = channel.Close()
		}}, ""},
		{"more on stderr than a window", &fake{session: func(c gossh.Channel, requests <-chan *gossh.Request, _ gossh.Conn) {
			reply(requests, true)
			_, _ = c.Stderr().Write(make([]byte, 4<<20))
			_, _ = c.Write([]byte(message))
			_ = c.Close()
		}}, ""},
		{"exit status 3", &fake{session: send(message, 3)}, "Process exited with status 3"},
		{"less output", &fake{session: send(message[1:], 0)}, "stdout differs from --expect"},
		{"a part of the output", &fake{session: send(message[:9], 0)}, "stdout differs from --expect"},
		{"more output", &fake{session: send(message+"!", 0)}, "stdout differs from --expect"},
		{"no output", &fake{session: send("", 0)}, "stdout differs from --expect"},
		{"closed in the session", &fake{session: func(c gossh.Channel, requests <-chan *gossh.Request, conn gossh.Conn) {
			reply(requests, true)
			_, _ = c.Write([]byte(message))
			_ = conn.Close()
		}}, "connection closed by the server"},
		{"session refused", &fake{channel: func(offered gossh.NewChannel, _ net.Conn) bool {
			_ = offered.Reject(gossh.ResourceShortage, "No more.\n")
			return false
		}}, `first byte: rejected: resource shortage ("No more.`},
		{"shell refused", &fake{session: func(channel gossh.Channel, requests <-chan *gossh.Request, _ gossh.Conn) {
			reply(requests, false)
		}}, "first byte: could not start shell"},
		{"closed without a session", &fake{channel: func(_ gossh.NewChannel, conn net.Conn) bool {
			_ = conn.Close()
			return false
		}}, "first byte: connection closed by the server"},
		{"disconnect message", &fake{accept: disconnect}, `the server said: Too many \x1b[31mconnections.`},
		{"closed at once", &fake{accept: refuseAll}, "key exchange: "},
		{"wrong credentials", &fake{password: "secret"}, "authentication: unable to authenticate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := tt.fake.open(t).server(t)
			srv.expected = []byte(message)
			got := login(t, srv)
			switch {
			case tt.reason == "" && got.err != nil:
				t.Error(got.err)
			case tt.reason != "" && (got.err == nil || !strings.HasPrefix(got.err.Error(), tt.reason)):
				t.Errorf("%v, want %q", got.err, tt.reason)
			case (got.took[wholeLogin] > 0) != (tt.reason == ""):
				t.Error("only a successful login is complete")
			}
			eventually(t, func() bool { _, open := tt.fake.counts(); return open == 0 }) // no connection is left
		})
	}
}

// A server may close the connection right after the channel: the session was complete.
func TestClosedAfterSession(t *testing.T) {
	srv := (&fake{session: func(channel gossh.Channel, requests <-chan *gossh.Request, conn gossh.Conn) {
		sendMessage(channel, requests, conn)
		_ = conn.Close()
	}}).open(t).server(t)
	for range 20 {
		if got := login(t, srv); got.err != nil {
			t.Error(got.err)
		}
	}
}

// A server that stops responding is left at the timeout, which counts from the intended start.
func TestTimeouts(t *testing.T) {
	wait := func(_ gossh.Channel, _ <-chan *gossh.Request, conn gossh.Conn) { _ = conn.Wait() }
	granted := func(_ gossh.Channel, requests <-chan *gossh.Request, conn gossh.Conn) {
		reply(requests, true)
		_ = conn.Wait()
	}
	noEnd := func(channel gossh.Channel, requests <-chan *gossh.Request, conn gossh.Conn) {
		reply(requests, true)
		_, _ = channel.Write([]byte(message))
		_ = conn.Wait()
	}
	for _, tt := range []struct {
		name   string
		fake   *fake
		reason string
	}{
		{"no version", &fake{accept: sendNothing}, "key exchange: timed out"},
		{"no reply", &fake{session: wait}, "first byte: timed out"},
		{"no output", &fake{session: granted}, "first byte: timed out"},
		{"no end", &fake{session: noEnd}, "timed out"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			srv := tt.fake.open(t).server(t)
			srv.timeout = time.Hour
			got := srv.login(t.Context(), time.Now().Add(time.Second-time.Hour))
			if got.err == nil || got.err.Error() != tt.reason {
				t.Error(got.err)
			}
		})
	}
	srv := new(fake).open(t).server(t)
	got := srv.login(t.Context(), time.Now().Add(-2*srv.timeout))
	if got.err == nil || got.err.Error() != "connect: timed out" {
		t.Errorf("a login after its timeout: %v", got.err)
	}
}

func TestInterruptedLogin(t *testing.T) {
	accepted := make(chan struct{}, 9)
	srv := (&fake{accept: func(conn net.Conn) bool { accepted <- struct{}{}; return sendNothing(conn) }}).open(t).server(t)
	<-accepted
	srv.timeout = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan result)
	go func() { done <- srv.login(ctx, time.Now()) }()
	<-accepted
	cancel()
	if got := <-done; got.err == nil {
		t.Error("it succeeded")
	}
}

// knock chooses the algorithms that ssh would choose.
func TestUsualAlgorithms(t *testing.T) {
	got := login(t, (&fake{alsoRSA: true}).open(t).server(t))
	a := got.server.algorithms
	if got.err != nil || a.HostKey != "ssh-ed25519" || a.Read.Cipher != "chacha20-poly1305@openssh.com" {
		t.Errorf("%+v, %v", a, got.err)
	}
}

func TestAlgorithms(t *testing.T) {
	f := new(fake).open(t)
	m := knockJSON(t, 0, f.target(), "--open", "-n1", "--kex", "ecdh-sha2-nistp256", "--cipher", "aes128-ctr")
	if m.Server.Kex != "ecdh-sha2-nistp256" || m.Server.Cipher != "aes128-ctr" {
		t.Errorf("%+v", m.Server)
	}
	knock(t, f.target(), "--open", "-n1", "--cipher", "3des-cbc").check(t, 1, "key exchange: no common algorithm")
}
