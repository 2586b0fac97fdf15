package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
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

// visitorPatience is how long a visitor waits for what must come.
const visitorPatience = 30 * time.Second

// enter connects from an address of loopback, with one key or one password, and returns what the visitor reads.
func (p *process) enter(from, user string, auth ...gossh.AuthMethod) (string, error) {
	client, err := p.knock(context.Background(), from, user, auth...)
	if err != nil {
		return "", err
	}
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

// knock authenticates within the visitor's patience, or ctx.
func (p *process) knock(ctx context.Context, from, user string, auth ...gossh.AuthMethod) (*gossh.Client, error) {
	dialer := net.Dialer{Timeout: visitorPatience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := dialer.DialContext(ctx, "tcp", "127.0.0.1:"+p.port)
	if err != nil {
		return nil, err
	}
	p.knocked.Add(1)
	_ = conn.SetDeadline(time.Now().Add(visitorPatience))
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

// lines returns the lines of the log that have all of the parts, once every connection that has knocked has its last one.
func (p *process) lines(t *testing.T, parts ...string) (found []string) {
	t.Helper()
	log := p.log(t)
	deadline := time.Now().Add(10 * time.Second)
	for strings.Count(log, "connection closed") < int(p.knocked.Load()) && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
		log = p.log(t)
	}
	for line := range strings.Lines(log) {
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

// Nobody comes in under a name that is not theirs, and the log has the same name as the session.
func TestDoorIdentity(t *testing.T) {
	door := startDoor(t, "--penalty-exempt", "127.0.0.0/8", "--log-format", "logfmt")
	alice, mallory := door.authorize(t, "alice"), door.authorize(t, "mallory")
	for _, tt := range []struct {
		name, user string
		auth       []gossh.AuthMethod
		method     string // empty: not let in
	}{
		{"one's own key", "alice", []gossh.AuthMethod{alice}, "publickey"},
		{"another's key", "mallory", []gossh.AuthMethod{alice}, ""},
		{"another's key as nobody", "nobody", []gossh.AuthMethod{alice}, ""},
		{"another's key, then one's own password", "guest", []gossh.AuthMethod{mallory, gossh.Password(door.password)}, "password"},
		{"another's password", "alice", []gossh.AuthMethod{mallory, gossh.Password(door.password)}, ""},
		{"nothing", "alice", nil, ""},
	} {
		in := len(door.lines(t, "authentication succeeded"))
		text, err := door.enter("127.0.0.1", tt.user, tt.auth...)
		if (err == nil) != (tt.method != "") {
			t.Errorf("%s: %q, %v", tt.name, text, err)
		}
		succeeded := door.lines(t, "authentication succeeded")[in:]
		switch {
		case tt.method == "" && len(succeeded) > 0:
			t.Errorf("%s: %q", tt.name, succeeded)
		case tt.method != "" && (len(succeeded) != 1 || !strings.Contains(succeeded[0], "user="+tt.user+" method="+tt.method+" ")):
			t.Errorf("%s: %q, want one login of %s with a %s", tt.name, succeeded, tt.user, tt.method)
		}
	}
	if opened := door.lines(t, "session opened"); len(opened) != 2 || !strings.Contains(opened[0], "user=alice ") || !strings.Contains(opened[1], "user=guest ") {
		t.Errorf("sessions: %q", opened)
	}
}

// Where a key and a password are asked for, neither is enough.
func TestDoorAsksForBoth(t *testing.T) {
	door := startDoor(t, "--penalty-exempt", "127.0.0.0/8", "--auth", "publickey+password", "--log-format", "logfmt")
	key, stranger, password := door.authorize(t, "guest"), gossh.PublicKeys(sshtest.HostKey(t)), gossh.Password(door.password)
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
		{"both, the other way round", []gossh.AuthMethod{password, key}, true}, // the client takes what is offered
	} {
		if _, err := door.enter("127.0.0.1", "guest", tt.auth...); (err == nil) != tt.in {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if first := door.lines(t, "authentication continues", "user=guest", "method=publickey"); len(first) != 4 {
		t.Errorf("first steps: %q, want 4", first)
	}
}

// A thousand guesses keep nobody out: neither who has a key nor who knows the password, at the first attempt.
func TestDoorUnderGuesses(t *testing.T) {
	t.Setenv("GOMAXPROCS", "2") // so that the line is as short on every machine
	door := startDoor(t, "--penalty-exempt", "127.0.0.0/8", "--remember-passwords", "0", "--log-format", "logfmt")
	key := door.authorize(t, "alice")
	for _, user := range []string{"alice", "bob"} {
		if err := passwords.Add(filepath.Join(door.dir, "ssh-passwords"), user, user+"'s"); err != nil {
			t.Fatal(err)
		}
	}
	siege := besiege(t, door, 196, 1000)
	<-siege.answered // a visitor would stand behind those who have just come, too
	for range 2 {
		if text, err := door.enter("127.0.0.1", "alice", key); err != nil {
			t.Errorf("with a key: %q, %v", text, err)
		}
		if text, err := door.enter("127.0.0.1", "bob", gossh.Password("bob's")); err != nil {
			t.Errorf("with the password: %q, %v", text, err)
		}
	}
	select {
	case <-siege.enough:
	case <-time.After(visitorPatience):
		t.Errorf("only %d guesses", siege.guesses.Load())
	}
	siege.lift()
	if n := siege.lucky.Load(); n > 0 {
		t.Errorf("%d guesses were right", n)
	}
	if busy := door.lines(t, "authentication failed", "too many passwords"); len(busy) == 0 {
		t.Error("the line was never full")
	}
}

// siege is many guessers at once.
type siege struct {
	answered       chan struct{} // closed when each has heard that a guess was wrong
	enough         chan struct{} // closed when there were enough guesses
	guesses, lucky atomic.Int32
	lift           func() // ends it
}

// besiege lets n guess at once from 127.0.0.2 to 127.0.0.50, six times on a connection and again, until it is lifted.
func besiege(t *testing.T, door *process, n int, enough int32) *siege {
	s := &siege{answered: make(chan struct{}), enough: make(chan struct{})}
	ctx, cancel := context.WithTimeout(t.Context(), 2*visitorPatience)
	var ready, heard, all sync.WaitGroup
	ready.Add(n)
	heard.Add(n)
	go func() { heard.Wait(); close(s.answered) }()
	for i := range n {
		all.Go(func() {
			first, second := sync.OnceFunc(ready.Done), sync.OnceFunc(heard.Done)
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
				if client, err := door.knock(ctx, from, []string{"alice", "bob", "guest", "nobody"}[i%4], gossh.RetryableAuthMethod(guess, 6)); err == nil {
					s.lucky.Add(1)
					_ = client.Close()
				}
			}
		})
	}
	s.lift = sync.OnceFunc(func() { cancel(); all.Wait() })
	t.Cleanup(s.lift)
	return s
}
