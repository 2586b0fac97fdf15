package middleware_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"charm.land/ssh"
	"charm.land/wish/v2"

	"foyer/middleware"
	"foyer/middleware/sshtest"
)

// say returns a layer that writes before and after what it stands around.
func say(name string) middleware.Layer {
	return middleware.Layer{
		Name: name,
		Session: func(next ssh.Handler) ssh.Handler {
			return func(sess ssh.Session) {
				_, _ = io.WriteString(sess, name+"(")
				next(sess)
				_, _ = io.WriteString(sess, ")")
			}
		},
	}
}

func TestStackReadsOutermostFirst(t *testing.T) {
	srv := sshtest.Serve(t, middleware.Message("h"), say("a"), middleware.Open(), say("b"), middleware.Layer{}, say("c"))
	if got, want := srv.Visit(t, sshtest.Visit{}).Stdout, "a(b(c(h)))"; got != want {
		t.Errorf("a visitor saw %q, want %q", got, want)
	}
}

func TestStackAppliesServerHalvesOutermostFirst(t *testing.T) {
	var order []string
	note := func(name string) middleware.Layer {
		return middleware.Layer{Name: name, Server: func(*ssh.Server) error {
			order = append(order, name)
			return nil
		}}
	}
	if _, err := wish.NewServer(withKey(t), middleware.Stack(nil, note("a"), middleware.Open(), note("b"))); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(order, " "); got != "a b" {
		t.Errorf("server halves ran in order %q", got)
	}
}

func TestStackErrors(t *testing.T) {
	broken := middleware.Layer{Name: "broken", Server: func(*ssh.Server) error { return errors.New("no such file") }}
	yes := func(string, string) bool { return true }
	wishPassword := middleware.Layer{Server: wish.WithPasswordAuth(func(ssh.Context, string) bool { return true })}
	for _, tt := range []struct {
		name   string
		layers []middleware.Layer
		want   string
	}{
		{"nobody authenticates", []middleware.Layer{middleware.Greeting("hi")}, "no layer authenticates"},
		{"no layers", nil, "no layer authenticates"},
		{"a layer's error names it", []middleware.Layer{middleware.Open(), broken}, "layer broken: no such file"},
		{"the library's own handlers override ours", []middleware.Layer{checks(yes), wishPassword}, "would override"},
		{"two layers check passwords", []middleware.Layer{checks(yes), checks(yes)}, "layer password: another layer"},
		{"an open door has no use for passwords", []middleware.Layer{middleware.Open(), checks(yes)}, "layer password: another layer"},
		{"nothing to check passwords with", []middleware.Layer{middleware.Password(nil)}, "layer password: nothing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := wish.NewServer(withKey(t), middleware.Stack(middleware.Message(""), tt.layers...))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

// What other packages put into the library's globals is not served by a stack.
func TestStackIgnoresGlobals(t *testing.T) {
	ssh.DefaultRequestHandlers["backdoor"] = nil
	ssh.DefaultSubsystemHandlers["backdoor"] = func(sess ssh.Session) { _, _ = io.WriteString(sess, "open") }
	t.Cleanup(func() {
		delete(ssh.DefaultRequestHandlers, "backdoor")
		delete(ssh.DefaultSubsystemHandlers, "backdoor")
	})
	srv := sshtest.Serve(t, middleware.Message("closed"), middleware.Open())
	if got := srv.Visit(t, sshtest.Visit{Subsystem: "backdoor"}); got.Stdout != "" || got.Status != 1 {
		t.Errorf("a global subsystem was served: %+v", got)
	}
}

func withKey(t *testing.T) ssh.Option {
	return func(srv *ssh.Server) error {
		srv.AddHostKey(sshtest.HostKey(t))
		return nil
	}
}

func ExampleStack() {
	a := middleware.Layer{Session: func(next ssh.Handler) ssh.Handler {
		return func(sess ssh.Session) { fmt.Print("a("); next(sess); fmt.Print(")") }
	}}
	b := middleware.Layer{Session: func(next ssh.Handler) ssh.Handler {
		return func(sess ssh.Session) { fmt.Print("b("); next(sess); fmt.Print(")") }
	}}
	srv := &ssh.Server{}
	_ = middleware.Stack(func(ssh.Session) { fmt.Print("handler") }, middleware.Open(), a, b)(srv)
	srv.Handler(nil)
	// Output: a(b(handler))
}
