package middleware_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"charm.land/ssh"
	"charm.land/wish/v2"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
	"foyer/middleware/sshtest"
)

// writeAround returns a layer that writes before and after the next handler.
func writeAround(name string) middleware.Layer {
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
	srv := sshtest.Serve(t, writeAround("a"), middleware.Open(), writeAround("b"), middleware.Layer{}, writeAround("c"), middleware.Message(middleware.Fixed("h")))
	if got, want := srv.Visit(t, sshtest.Visit{}).Stdout, "a(b(c(h)))"; got != want {
		t.Errorf("the client received %q, want %q", got, want)
	}
}

func TestStackErrors(t *testing.T) {
	broken := middleware.Layer{Name: "broken", Server: func(*ssh.Server) error { return errors.New("no such file") }}
	yes := func(string, string) bool { return true }
	wishPassword := middleware.Layer{Server: wish.WithPasswordAuth(func(ssh.Context, string) bool { return true })}
	handler := middleware.Message(middleware.Fixed(""))
	interactive := configures(func(*gossh.ServerConfig) {}, "keyboard-interactive")
	interactive.Name = "interactive"
	for _, tt := range []struct {
		name   string
		layers []middleware.Layer
		want   string
	}{
		{"no layer authenticates", []middleware.Layer{middleware.Greeting(middleware.Fixed("hi")), handler}, "no layer authenticates"},
		{"no layers", nil, "no layer authenticates"},
		{"a layer's error names it", []middleware.Layer{middleware.Open(), broken, handler}, "layer broken: no such file"},
		{"the library's own handlers", []middleware.Layer{passwordLayer(yes), wishPassword, handler}, "would override"},
		{"a layer twice", []middleware.Layer{passwordLayer(yes), passwordLayer(yes), handler}, "layer password: it stands in the list twice"},
		{"passwords after Open", []middleware.Layer{middleware.Open(), passwordLayer(yes), handler}, "layer password: another layer"},
		{"Open after another method", []middleware.Layer{interactive, middleware.Open(), handler}, "layer open: another layer"},
		{"no password source", []middleware.Layer{middleware.Password(nil), handler}, "layer password: no password source"},
		{"no handler", []middleware.Layer{middleware.Open()}, "the last layer has no handler"},
		{"a handler before the end", []middleware.Layer{handler, middleware.Open()}, "layer message: a handler ends the list"},
		{"two handlers", []middleware.Layer{middleware.Open(), handler, middleware.Handler("h", whoami)}, "layer message: a handler ends the list"},
		{"a layer that sets a callback", []middleware.Layer{middleware.Open(), {Name: "own", Server: func(srv *ssh.Server) error {
			srv.ServerConfigCallback = func(ssh.Context) *gossh.ServerConfig { return nil }
			return nil
		}}, handler}, "layer own: it sets a callback of the server"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := wish.NewServer(withKey(t), middleware.NewStack(tt.layers...).Install)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

// An option after the stack that adds a handler authenticates nobody.
func TestStackFailsClosed(t *testing.T) {
	for name, option := range map[string]ssh.Option{
		"a password handler": wish.WithPasswordAuth(func(ssh.Context, string) bool { return true }),
		"a key handler":      wish.WithPublicKeyAuth(func(ssh.Context, ssh.PublicKey) bool { return true }),
		"an interactive handler": wish.WithKeyboardInteractiveAuth(
			func(ssh.Context, gossh.KeyboardInteractiveChallenge) bool { return true }),
	} {
		t.Run(name, func(t *testing.T) {
			never := passwordLayer(func(string, string) bool { return false })
			srv := sshtest.Start(t, middleware.NewStack(never, middleware.Handler("test", whoami)).Install, option)
			if client, err := srv.Dial("guest", "any"); err == nil {
				_ = client.Close()
				t.Error("authenticated")
			}
		})
	}
}

// A callback for a method that the layer does not declare authenticates nobody, and the log reports it.
func TestStackIgnoresUndeclaredMethods(t *testing.T) {
	granted := func() (*gossh.Permissions, error) { return &gossh.Permissions{}, nil }
	for method, set := range map[string]func(*gossh.ServerConfig){
		"none": func(cfg *gossh.ServerConfig) { cfg.NoClientAuth = true },
		"publickey": func(cfg *gossh.ServerConfig) {
			cfg.PublicKeyCallback = func(gossh.ConnMetadata, gossh.PublicKey) (*gossh.Permissions, error) { return granted() }
		},
		"keyboard-interactive": func(cfg *gossh.ServerConfig) {
			cfg.KeyboardInteractiveCallback = func(gossh.ConnMetadata, gossh.KeyboardInteractiveChallenge) (*gossh.Permissions, error) {
				return granted()
			}
		},
	} {
		t.Run(method, func(t *testing.T) {
			l := sshtest.NewLog()
			never := passwordLayer(func(string, string) bool { return false })
			srv := sshtest.Serve(t, middleware.Logging(l.Events()), configures(set), never, middleware.Handler("test", whoami))
			key := sshtest.HostKey(t)
			client, err := gossh.Dial("tcp", srv.Address, &gossh.ClientConfig{
				User: "guest", HostKeyCallback: gossh.InsecureIgnoreHostKey(),
				Auth: []gossh.AuthMethod{gossh.PublicKeys(key), gossh.KeyboardInteractive(
					func(string, string, []string, []bool) ([]string, error) { return nil, nil })},
			})
			if err == nil {
				_ = client.Close()
				t.Error("authenticated")
			}
			l.Line(t, "level=error", "authentication method ignored", "method="+method)
		})
	}
}

// A command that is too long is answered in words and logged. No handler sees its beginning.
func TestStackAnswersLongCommands(t *testing.T) {
	l := sshtest.NewLog()
	srv := sshtest.Serve(t, middleware.Logging(l.Events()), middleware.Open(), middleware.Handler("test", func(sess ssh.Session) {
		t.Errorf("the handler got %.20q", sess.RawCommand()+sess.Subsystem())
	}))
	for _, v := range []sshtest.Visit{{Command: strings.Repeat("x", 100<<10)}, {Subsystem: strings.Repeat("x", 100)}} {
		expect(t, srv.Visit(t, v), sshtest.Result{Stderr: "You are logged in, but the command is too long for this server.\n", Status: 1})
	}
	l.Line(t, "session closed", "request=exec", "command=xxx", "exit=1")
	l.Line(t, "session closed", "request=subsystem", "command=xxx", "exit=1")
}

// The server's own handler of a subsystem runs inside the layers, which log it and recover its panics.
func TestStackServesSubsystemsInside(t *testing.T) {
	l := sshtest.NewLog()
	srv := sshtest.Start(t,
		wish.WithSubsystem("sftp", func(sess ssh.Session) { _, _ = io.WriteString(sess, "sftp") }),
		wish.WithSubsystem("broken", func(ssh.Session) { panic("boom") }),
		middleware.NewStack(middleware.Recover(), middleware.Logging(l.Events()), middleware.Open(), writeAround("a"), middleware.Message(middleware.Fixed("h"))).Install)
	if got := srv.Visit(t, sshtest.Visit{Subsystem: "sftp"}); got.Stdout != "a(sftp)" || got.Status != 0 {
		t.Errorf("sftp: %+v", got)
	}
	l.Line(t, "session closed", "request=subsystem", "command=sftp", "exit=0")
	if got := srv.Visit(t, sshtest.Visit{Subsystem: "broken"}); got.Status != 1 || !strings.Contains(got.Stderr, "something broke") {
		t.Errorf("broken: %+v", got)
	}
	if got := srv.Visit(t, sshtest.Visit{Subsystem: "other"}); got.Status != 1 || !strings.Contains(got.Stderr, "runs no commands") {
		t.Errorf("a subsystem without a handler: %+v", got)
	}
	srv = sshtest.Start(t, wish.WithSubsystem("default", func(sess ssh.Session) { _, _ = io.WriteString(sess, "default") }),
		middleware.NewStack(middleware.Open(), middleware.Message(middleware.Fixed("h"))).Install)
	if got := srv.Visit(t, sshtest.Visit{Subsystem: "other"}); got.Stdout != "default" {
		t.Errorf("with a default handler: %+v", got)
	}
	if got := srv.Visit(t, sshtest.Visit{}); got.Stdout != "h" {
		t.Errorf("a shell: %+v", got)
	}
}

// A stack does not serve handlers that other packages add to the library's globals.
func TestStackIgnoresGlobals(t *testing.T) {
	ssh.DefaultRequestHandlers["backdoor"] = nil
	ssh.DefaultSubsystemHandlers["backdoor"] = func(sess ssh.Session) { _, _ = io.WriteString(sess, "open") }
	t.Cleanup(func() {
		delete(ssh.DefaultRequestHandlers, "backdoor")
		delete(ssh.DefaultSubsystemHandlers, "backdoor")
	})
	srv := sshtest.Serve(t, middleware.Open(), middleware.Message(middleware.Fixed("closed")))
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
	layer := func(name string) middleware.Layer {
		return middleware.Layer{Session: func(next ssh.Handler) ssh.Handler {
			return func(sess ssh.Session) { fmt.Print(name, "("); next(sess); fmt.Print(")") }
		}}
	}
	handler := middleware.Handler("handler", func(ssh.Session) { fmt.Print("handler") })
	srv := &ssh.Server{}
	_ = middleware.NewStack(middleware.Open(), layer("a"), layer("b"), handler).Install(srv)
	srv.Handler(shellSession{})
	// Output: a(b(handler))
}

// shellSession is a session that asks for a shell, without a connection.
type shellSession struct{ ssh.Session }

func (shellSession) Context() ssh.Context                    { return &fakeContext{} }
func (shellSession) Subsystem() string                       { return "" }
func (shellSession) RawCommand() string                      { return "" }
func (shellSession) Pty() (ssh.Pty, <-chan ssh.Window, bool) { return ssh.Pty{}, nil, false }
