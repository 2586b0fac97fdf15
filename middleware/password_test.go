package middleware_test

import (
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
	"foyer/middleware/sshtest"
)

// users verifies passwords, and records the users of all calls.
type users struct {
	passwords map[string]string
	mu        sync.Mutex
	asked     []string
}

func (u *users) verify(user, password string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.asked = append(u.asked, user)
	known, ok := u.passwords[user]
	return ok && known == password
}

// answered returns the users of the calls so far.
func (u *users) answered() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.asked)
}

// whoami is a handler that writes the session's user.
func whoami(sess ssh.Session) { _, _ = io.WriteString(sess, sess.User()) }

func TestPassword(t *testing.T) {
	longest := strings.Repeat("p", 1<<10)
	longName := strings.Repeat("u", 256)
	known := map[string]string{"alice": "correct horse", "max": longest, longName: "x", "over": longest + "p", longName + "u": "x", "empty": ""}
	for _, tt := range []struct {
		name, user, password string
		asked, in            bool
	}{
		{"the right password", "alice", "correct horse", true, true},
		{"the wrong password", "alice", "correct horsf", true, false},
		{"an empty password", "alice", "", true, false},
		{"an empty password that is right", "empty", "", true, true},
		{"a user who does not exist", "mallory", "correct horse", true, false},
		{"the longest password", "max", longest, true, true},
		{"a password that is too long", "over", longest + "p", false, false},
		{"the longest name", longName, "x", true, true},
		{"a name that is too long", longName + "u", "x", false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u := &users{passwords: known}
			srv := sshtest.Serve(t, passwordLayer(u.verify), middleware.Handler("test", whoami))
			client, err := srv.Dial(tt.user, tt.password)
			if in := err == nil; in != tt.in {
				t.Fatalf("Dial returned %v", err)
			}
			if asked := slices.Contains(u.answered(), tt.user); asked != tt.asked {
				t.Errorf("verify was called: %t, want %t", asked, tt.asked)
			}
			if tt.in {
				expect(t, sshtest.Run(t, client, sshtest.Visit{}), sshtest.Result{Stdout: tt.user})
				_ = client.Close()
			}
		})
	}
}

// github.com/charmbracelet/ssh, fixed in charm.land/ssh 0.4: a client could authenticate as one user and be served as
// another.
func TestPasswordUserOfTheAttempt(t *testing.T) {
	l := sshtest.NewLog()
	u := &users{passwords: map[string]string{"alice": "a", "root": "r"}}
	served := make(chan string, 1)
	note := func(sess ssh.Session) { served <- sess.User() + " " + sess.Context().User() }
	srv := sshtest.Serve(t, middleware.Logging(l.Events()), passwordLayer(u.verify), middleware.Handler("test", note))
	client := srv.DialRaw(t)
	for _, attempt := range []struct {
		user, password string
		in, ended      bool
	}{
		{"root", "guess", false, false},
		{"alice", "a", false, true}, // a password was tried for another user
	} {
		if in, err := client.Password(attempt.user, attempt.password); (err != nil) != attempt.ended || in != attempt.in {
			t.Fatalf("%+v: authenticated: %t, error: %v", attempt, in, err)
		}
	}
	client = srv.DialRaw(t)
	if _, err := client.Query("root", sshtest.HostKey(t).PublicKey()); err != nil {
		t.Fatal(err)
	}
	if in, err := client.Password("alice", "a"); err != nil || !in {
		t.Fatalf("authenticated: %t, error: %v", in, err)
	}
	if got, want := strings.Join(u.answered(), " "), "root alice"; got != want {
		t.Errorf("verified as %q, want %q", got, want)
	}
	l.Line(t, "authentication succeeded", "user=alice")
	if err := client.Shell(); err != nil {
		t.Fatal(err)
	}
	if got := sshtest.Receive(t, served); got != "alice alice" {
		t.Errorf("served as %q", got)
	}
}

func TestPasswordSixFailuresEndTheConnection(t *testing.T) {
	u := &users{passwords: map[string]string{"alice": "a"}}
	log := sshtest.NewLog()
	srv := sshtest.Serve(t, middleware.Logging(log.Events()), passwordLayer(u.verify), middleware.Handler("test", whoami))
	client := srv.DialRaw(t)
	for i := range 6 {
		in, err := client.Password("alice", "guess")
		if in || (err != nil) != (i == 5) {
			t.Fatalf("attempt %d: authenticated: %t, error: %v", i+1, in, err)
		}
	}
	if _, err := client.Password("alice", "a"); err == nil {
		t.Error("a seventh attempt was answered")
	}
	if got := len(u.answered()); got != 6 {
		t.Errorf("verify was called %d times, want 6", got)
	}
	log.Line(t, "connection closed", "too many authentication failures")
}

func TestPasswordIgnoresOtherMethods(t *testing.T) {
	everybody := &users{passwords: map[string]string{"guest": ""}}
	srv := sshtest.Serve(t, passwordLayer(everybody.verify), middleware.Handler("test", whoami))
	client := srv.DialRaw(t)
	for _, attempt := range []func() (bool, error){
		func() (bool, error) { return client.Attempt("guest", "ssh-connection", "none", nil) },
		func() (bool, error) { return client.PublicKey("guest", sshtest.HostKey(t)) },
		func() (bool, error) {
			return client.Attempt("guest", "ssh-connection", "keyboard-interactive", gossh.Marshal(struct{ Language, Hints string }{}))
		},
	} {
		if in, err := attempt(); in || err != nil {
			t.Errorf("authenticated: %t, error: %v", in, err)
		}
	}
	if got := everybody.answered(); got != nil {
		t.Errorf("verify was called for %q", got)
	}
}

func TestPasswordSurvivesAPanic(t *testing.T) {
	l := sshtest.NewLog()
	verify := func(_, password string) bool {
		if password == "panic" {
			panic(errors.New("unknown hash"))
		}
		return true
	}
	srv := sshtest.Serve(t, middleware.Logging(l.Events()), passwordLayer(verify), middleware.Handler("test", whoami))
	before, err := srv.Dial("early", "fine")
	if err != nil {
		t.Fatal(err)
	}
	if client, err := srv.Dial("guest", "panic"); err == nil {
		_ = client.Close()
		t.Error("authenticated by a verify that panics")
	}
	l.Line(t, "panic in authentication", "unknown hash", "stack=")
	l.Line(t, "connection closed", `err="left without authentication"`)
	client := srv.DialRaw(t) // the attempt fails, and the next one on the connection does not
	for _, attempt := range []struct {
		password string
		in       bool
	}{{"panic", false}, {"fine", true}} {
		if in, err := client.Password("guest", attempt.password); in != attempt.in || err != nil {
			t.Errorf("%s: authenticated: %t, error: %v", attempt.password, in, err)
		}
	}
	expect(t, sshtest.Run(t, before, sshtest.Visit{}), sshtest.Result{Stdout: "early"})
	expect(t, srv.Visit(t, sshtest.Visit{User: "late"}), sshtest.Result{Stdout: "late"})
	_ = before.Close()
}
