package middleware_test

import (
	"strings"
	"testing"

	"charm.land/ssh"
	"charm.land/wish/v2"

	"foyer/middleware"
	"foyer/middleware/sshtest"
)

func TestOpenAuthenticatesEverybody(t *testing.T) {
	l := sshtest.NewLog()
	served := make(chan string, 1)
	note := func(sess ssh.Session) { served <- sess.User() }
	srv := sshtest.Serve(t, middleware.Logging(l.Events()), middleware.Open(), middleware.Handler("test", note))
	for _, tt := range []struct {
		method, user string
		attempt      func(c *sshtest.Raw, user string) (bool, error)
	}{
		{"none", "nobody", func(c *sshtest.Raw, user string) (bool, error) {
			return c.Attempt(user, "ssh-connection", "none", nil)
		}},
		{"password", "petra", func(c *sshtest.Raw, user string) (bool, error) { return c.Password(user, "whatever") }},
		{"publickey", "kai", func(c *sshtest.Raw, user string) (bool, error) { return c.PublicKey(user, sshtest.HostKey(t)) }},
	} {
		t.Run(tt.method, func(t *testing.T) {
			client := srv.DialRaw(t)
			if in, err := tt.attempt(client, tt.user); err != nil || !in {
				t.Fatalf("authenticated: %t, error: %v", in, err)
			}
			l.Line(t, "authentication succeeded", "user="+tt.user, "method="+tt.method)
			if err := client.Shell(); err != nil {
				t.Fatal(err)
			}
			if got := sshtest.Receive(t, served); got != tt.user {
				t.Errorf("served as %q", got)
			}
		})
	}
}

func TestOpenWithTheGoClient(t *testing.T) {
	srv := sshtest.Serve(t, middleware.Open(), middleware.Handler("test", whoami))
	for _, user := range []string{"guest", "Zoë 東京"} {
		expect(t, srv.Visit(t, sshtest.Visit{User: user}), sshtest.Result{Stdout: user})
	}
}

// Each connection has permissions of its own.
func TestOpenPermissionsAreNotShared(t *testing.T) {
	grant := func(sess ssh.Session) {
		granted := sess.Context().Permissions()
		_, _ = sess.Write([]byte(granted.Extensions["granted"]))
		granted.Extensions = map[string]string{"granted": "everything"}
	}
	srv := sshtest.Serve(t, middleware.Open(), middleware.Handler("test", grant))
	for range 2 {
		expect(t, srv.Visit(t, sshtest.Visit{}), sshtest.Result{})
	}
}

// Open beside a layer that authenticates is an error.
func TestOpenBesideAuthentication(t *testing.T) {
	never := func(string, string) bool { return false }
	for _, tt := range []struct {
		name  string
		other middleware.Layer
		want  string
	}{
		{"password", passwordLayer(never), "layer open: another layer checks password already"},
		{"open", middleware.Open(), "layer open: it stands in the list twice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := wish.NewServer(withKey(t), middleware.NewStack(tt.other, middleware.Open(), middleware.Handler("test", whoami)).Install)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v", err)
			}
		})
	}
}
