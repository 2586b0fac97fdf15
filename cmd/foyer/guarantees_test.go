package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/auth/passwords"
	"foyer/middleware/sshtest"
)

// login connects from an address of loopback, authenticates, and returns the output of a shell.
func (p *process) login(from, user string, auth ...gossh.AuthMethod) (string, error) {
	return p.loginWithin(sshtest.Patience, from, user, auth...)
}

func (p *process) loginWithin(limit time.Duration, from, user string, auth ...gossh.AuthMethod) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	client, err := p.dial(ctx, from, user, auth...)
	if err != nil {
		return "", err
	}
	defer context.AfterFunc(ctx, func() { _ = client.Close() })()
	defer func() { _ = client.Close() }()
	sess, err := client.NewSession()
	if err != nil {
		return "", err
	}
	defer func() { _ = sess.Close() }()
	var stdout, stderr bytes.Buffer
	sess.Stdout, sess.Stderr = &stdout, &stderr
	if err := sess.Shell(); err != nil {
		return "", err
	}
	err = sess.Wait()
	return stdout.String() + stderr.String(), err
}

// dial connects and authenticates, until ctx is done.
func (p *process) dial(ctx context.Context, from, user string, auth ...gossh.AuthMethod) (*gossh.Client, error) {
	dialer := net.Dialer{Timeout: sshtest.Patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := dialer.DialContext(ctx, "tcp", "127.0.0.1:"+p.port)
	if err != nil {
		return nil, err
	}
	p.dialed.Add(1)
	_ = conn.SetDeadline(time.Now().Add(sshtest.Patience))
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	c, channels, requests, err := gossh.NewClientConn(conn, p.port, &gossh.ClientConfig{
		User: user, Auth: auth, HostKeyCallback: gossh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return gossh.NewClient(c, channels, requests), nil
}

// authorize gives user a new key.
func (p *process) authorize(t *testing.T, user string) gossh.AuthMethod {
	t.Helper()
	key := sshtest.HostKey(t)
	dir := filepath.Join(p.dir, "authorized_keys.d")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, user), gossh.MarshalAuthorizedKey(key.PublicKey()), 0o600); err != nil {
		t.Fatal(err)
	}
	return gossh.PublicKeys(key)
}

// lines returns the lines of the log that have all of the parts, once every connection that has dialed has its last one.
func (p *process) lines(t *testing.T, parts ...string) (found []string) {
	t.Helper()
	sshtest.Eventually(t, "the log does not have the end of every connection", func() bool {
		return strings.Count(p.log(t), "connection closed") >= int(p.dialed.Load())
	})
	for line := range strings.Lines(p.log(t)) {
		all := true
		for _, part := range parts {
			all = all && strings.Contains(line, part)
		}
		if all {
			found = append(found, line)
		}
	}
	return found
}

// A client cannot log in under another user's name, and the log has the same user as the session.
func TestServerIdentity(t *testing.T) {
	srv := startServer(t, "--penalty-exempt", "127.0.0.0/8", "--log-format", "logfmt")
	alice, mallory := srv.authorize(t, "alice"), srv.authorize(t, "mallory")
	for _, tt := range []struct {
		name, user string
		auth       []gossh.AuthMethod
		method     string // empty: not authenticated
	}{
		{"one's own key", "alice", []gossh.AuthMethod{alice}, "publickey"},
		{"another's key", "mallory", []gossh.AuthMethod{alice}, ""},
		{"another's key as nobody", "nobody", []gossh.AuthMethod{alice}, ""},
		{"another's key, then one's own password", "guest", []gossh.AuthMethod{mallory, gossh.Password(srv.password)}, "password"},
		{"another's password", "alice", []gossh.AuthMethod{mallory, gossh.Password(srv.password)}, ""},
		{"nothing", "alice", nil, ""},
	} {
		in := len(srv.lines(t, "authentication succeeded"))
		text, err := srv.login("127.0.0.1", tt.user, tt.auth...)
		if (err == nil) != (tt.method != "") {
			t.Errorf("%s: %q, %v", tt.name, text, err)
		}
		succeeded := srv.lines(t, "authentication succeeded")[in:]
		switch {
		case tt.method == "" && len(succeeded) > 0:
			t.Errorf("%s: %q", tt.name, succeeded)
		case tt.method != "" && (len(succeeded) != 1 || !strings.Contains(succeeded[0], "user="+tt.user+" method="+tt.method+" ")):
			t.Errorf("%s: %q, want one login of %s with a %s", tt.name, succeeded, tt.user, tt.method)
		}
	}
	if opened := srv.lines(t, "session opened"); len(opened) != 2 || !strings.Contains(opened[0], "user=alice ") || !strings.Contains(opened[1], "user=guest ") {
		t.Errorf("sessions: %q", opened)
	}
}

// Where a key and a password are required, one of them is not enough.
func TestServerRequiresBoth(t *testing.T) {
	srv := startServer(t, "--penalty-exempt", "127.0.0.0/8", "--auth", "publickey+password", "--log-format", "logfmt")
	key, stranger, password := srv.authorize(t, "guest"), gossh.PublicKeys(sshtest.HostKey(t)), gossh.Password(srv.password)
	for _, tt := range []struct {
		name string
		auth []gossh.AuthMethod
		in   bool
	}{
		{"the key", []gossh.AuthMethod{key}, false},
		{"the password", []gossh.AuthMethod{password}, false},
		{"the password and a key", []gossh.AuthMethod{stranger, password}, false},
		{"the key and a password", []gossh.AuthMethod{key, gossh.Password("wrong")}, false},
		{"both", []gossh.AuthMethod{key, password}, true},
		{"both, in the other order", []gossh.AuthMethod{password, key}, true}, // the client follows the methods that are offered
	} {
		if _, err := srv.login("127.0.0.1", "guest", tt.auth...); (err == nil) != tt.in {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if first := srv.lines(t, "authentication continues", "user=guest", "method=publickey"); len(first) != 4 {
		t.Errorf("first steps: %q, want 4", first)
	}
}

// A user who was removed opens no more sessions on a connection that is open.
func TestServerRemovedUser(t *testing.T) {
	srv := startServer(t, "--log-format", "logfmt")
	for _, tt := range []struct {
		user string
		auth gossh.AuthMethod
	}{
		{"guest", gossh.Password(srv.password)},
		{"alice", srv.authorize(t, "alice")},
	} {
		client, err := srv.dial(t.Context(), "127.0.0.1", tt.user, tt.auth)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			sess, err := client.NewSession()
			if err != nil {
				t.Fatalf("%s: %v", tt.user, err)
			}
			_ = sess.Close()
		}
		remove := exec.Command(os.Args[0], "user", "remove", tt.user)
		remove.Args[0], remove.Dir = "foyer", srv.dir
		if out, err := remove.CombinedOutput(); err != nil {
			t.Fatalf("%s, %v", out, err)
		}
		if _, err := client.NewSession(); err == nil || !strings.Contains(err.Error(), "this user may not log in any more") {
			t.Errorf("%s, who was removed: %v", tt.user, err)
		}
		_ = client.Close()
		if refused := srv.lines(t, "session refused", "user="+tt.user); len(refused) != 1 {
			t.Errorf("%s: %q, want one line", tt.user, refused)
		}
	}
}

// During a thousand wrong passwords, a client with a key and a client with the right password log in at the first attempt.
func TestServerUnderGuesses(t *testing.T) {
	t.Setenv("GOMAXPROCS", "2") // so that the queue is as short on every machine
	srv := startServer(t, "--penalty-exempt", "127.0.0.0/8", "--remember-passwords", "0", "--log-format", "logfmt")
	key := srv.authorize(t, "alice")
	for _, user := range []string{"alice", "bob"} {
		if err := passwords.Add(filepath.Join(srv.dir, "ssh-passwords"), user, user+"'s", false); err != nil {
			t.Fatal(err)
		}
	}
	guessing := startGuessing(t, srv, 196, 1000)
	<-guessing.answered // so that the next client waits behind all of them
	for range 2 {
		if text, err := srv.login("127.0.0.1", "alice", key); err != nil {
			t.Errorf("with a key: %q, %v", text, err)
		}
		if text, err := srv.login("127.0.0.1", "bob", gossh.Password("bob's")); err != nil {
			t.Errorf("with the password: %q, %v", text, err)
		}
	}
	sshtest.Receive(t, guessing.enough)
	guessing.stop()
	if n := guessing.accepted.Load(); n > 0 {
		t.Errorf("%d wrong passwords were accepted", n)
	}
	if busy := srv.lines(t, "authentication failed", "too many passwords"); len(busy) == 0 {
		t.Error("the queue was never full")
	}
}

// guessing is a number of clients that attempt wrong passwords concurrently.
type guessing struct {
	answered          chan struct{} // closed when each has received its first failure
	enough            chan struct{} // closed when there were enough attempts
	guesses, accepted atomic.Int32
	stop              func()
}

// startGuessing starts n clients with addresses from 127.0.0.2 to 127.0.0.50, which attempt six passwords on each
// connection.
func startGuessing(t *testing.T, srv *process, n int, enough int32) *guessing {
	s := &guessing{answered: make(chan struct{}), enough: make(chan struct{})}
	ctx, cancel := context.WithTimeout(t.Context(), 2*sshtest.Patience)
	var ready, answered, all sync.WaitGroup
	ready.Add(n)
	answered.Add(n)
	go func() { answered.Wait(); close(s.answered) }()
	for i := range n {
		all.Go(func() {
			first, second := sync.OnceFunc(ready.Done), sync.OnceFunc(answered.Done)
			defer second()
			defer first()
			asked := 0
			from := fmt.Sprintf("127.0.0.%d", 2+i%49)
			for ctx.Err() == nil {
				guess := gossh.PasswordCallback(func() (string, error) {
					first()
					ready.Wait() // all begin at once
					if asked++; asked == 2 {
						second()
					}
					n := s.guesses.Add(1)
					if n == enough {
						close(s.enough)
					}
					return fmt.Sprint("guess ", n), nil
				})
				if client, err := srv.dial(ctx, from, []string{"alice", "bob", "guest", "nobody"}[i%4], gossh.RetryableAuthMethod(guess, 6)); err == nil {
					s.accepted.Add(1)
					_ = client.Close()
				}
			}
		})
	}
	s.stop = sync.OnceFunc(func() { cancel(); all.Wait() })
	t.Cleanup(s.stop)
	return s
}
