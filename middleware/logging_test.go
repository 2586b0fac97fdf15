package middleware_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
	"foyer/middleware/eventlog"
	"foyer/middleware/sshtest"
)

// event is a line of a log in JSON.
type event map[string]any

// inFormat returns a log in this format from level debug on.
func inFormat(l *sshtest.Log, format string) *eventlog.Log {
	return eventlog.New(eventlog.Config{Logger: eventlog.NewLogger(l, format, slog.LevelDebug)})
}

func events(t *testing.T, l *sshtest.Log) []event {
	t.Helper()
	var all []event
	for line := range strings.Lines(l.String()) {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		all = append(all, e)
	}
	return all
}

// take removes the fields that differ each time, after it has checked them: the time, conn, addr, and the duration of what
// has ended. It returns conn.
func (e event) take(t *testing.T, addr string) (conn string) {
	t.Helper()
	conn, _ = e["conn"].(string)
	if !regexp.MustCompile(`^[a-z2-7]{10}$`).MatchString(conn) || e["addr"] != addr {
		t.Errorf("conn %q, addr %q in %v", conn, e["addr"], e)
	}
	if _, err := time.Parse("2006-01-02T15:04:05.000Z07:00", fmt.Sprint(e["time"])); err != nil {
		t.Error(err)
	}
	delete(e, "time")
	_, timed := e["duration_ms"]
	if ended := strings.HasSuffix(e["msg"].(string), " closed"); timed != ended {
		t.Errorf("duration: %t in %v", timed, e)
	}
	if timed {
		if ms, ok := e["duration_ms"].(float64); !ok || ms < 0 || ms > float64(sshtest.Patience.Milliseconds()) {
			t.Errorf("duration %v in %v", e["duration_ms"], e)
		}
	}
	for _, key := range []string{"conn", "addr", "duration_ms"} {
		delete(e, key)
	}
	return conn
}

func TestLoggingEvents(t *testing.T) {
	for _, tt := range []struct {
		name   string
		visit  sshtest.Visit
		known  event // of the session, beside user and client
		status float64
		bytes  float64
	}{
		{"shell", sshtest.Visit{}, event{"request": "shell", "pty": "none"}, 0, 4},
		{"shell at a terminal", sshtest.Visit{Term: "xterm"}, event{"request": "shell", "pty": "refused"}, 0, 4},
		{"exec", sshtest.Visit{Command: "rsync --server"}, event{"request": "exec", "command": "rsync --server", "pty": "none"}, 1, 59},
		{"subsystem", sshtest.Visit{Subsystem: "netconf"}, event{"request": "subsystem", "command": "netconf", "pty": "none"}, 1, 80},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := sshtest.NewLog()
			right := func(user, password string) bool { return user == "guest" && password == "s3cret" }
			srv := sshtest.Serve(t, middleware.Recover(), middleware.Logging(inFormat(l, "json")), passwordLayer(right), refusePTY(), middleware.Message(middleware.Fixed("bye\n")))
			client, err := srv.Dial("guest", "s3cret")
			if err != nil {
				t.Fatal(err)
			}
			addr := client.LocalAddr().String()
			sshtest.Run(t, client, tt.visit)
			l.Line(t, "session closed")
			_ = client.Close()
			l.Line(t, "connection closed")

			who := event{"user": "guest", "client": "SSH-2.0-Go"}
			sess := with(with(who, tt.known), event{"level": "info"})
			want := []event{
				{"level": "info", "msg": "connection accepted"},
				with(who, event{"level": "debug", "msg": "authentication failed", "method": "none", "err": "ssh: no auth passed yet"}),
				with(who, event{"level": "info", "msg": "authentication succeeded", "method": "password"}),
				with(sess, event{"msg": "session opened"}),
				with(sess, event{"msg": "session closed", "exit": tt.status, "bytes": tt.bytes}),
				{"level": "info", "msg": "connection closed"},
			}
			got := events(t, l)
			if len(got) != len(want) {
				t.Fatalf("the log has %d lines, want %d:\n%s", len(got), len(want), l)
			}
			conn := got[0]["conn"]
			for i := range got {
				if c := got[i].take(t, addr); c != conn {
					t.Errorf("line %d is of conn %v, the first of %v", i, c, conn)
				}
				if !maps.Equal(got[i], want[i]) {
					t.Errorf("line %d is\n%v, want\n%v", i, got[i], want[i])
				}
			}
			if strings.Contains(l.String(), "s3cret") {
				t.Errorf("the log has the password:\n%s", l)
			}
		})
	}
}

func with(e, more event) event {
	e = maps.Clone(e)
	maps.Copy(e, more)
	return e
}

func TestLoggingSessionEnd(t *testing.T) {
	flood := func(sess ssh.Session) { _, _ = io.Copy(sess, zeros{}) }
	for _, tt := range []struct {
		name    string
		handler ssh.Handler
		layers  []middleware.Layer // outside Logging
		want    []string
	}{
		{"an exit status", func(sess ssh.Session) { _ = sess.Exit(7) }, nil, []string{"exit=7"}},
		{"a return", func(ssh.Session) {}, nil, []string{"exit=0", "bytes=0"}},
		{"a return after an exit status", func(sess ssh.Session) { _ = sess.Exit(3); _ = sess.Exit(0) }, nil, []string{"exit=3"}},
		{"a panic", func(ssh.Session) { panic("boom") }, []middleware.Layer{middleware.Recover()}, []string{"exit=1"}},
		{"a client that does not read", flood, nil, []string{`err="the client does not read its output"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			captureLibraryLog(t)
			l := sshtest.NewLog()
			layers := append(tt.layers, middleware.Logging(l.Events()), middleware.Open())
			stack := middleware.NewStack(append(layers, middleware.Handler("test", tt.handler))...)
			stack.Sessions.WriteTimeout = 50 * time.Millisecond
			srv := sshtest.Start(t, stack.Install)
			channel, requests, err := dial(t, srv, "").OpenChannel("session", nil)
			if err != nil {
				t.Fatal(err)
			}
			go gossh.DiscardRequests(requests)
			sshtest.Request(t, channel, "shell", nil)
			l.Line(t, append(tt.want, "session closed")...)
		})
	}
}

func TestLoggingFailedAttempts(t *testing.T) {
	l := sshtest.NewLog()
	srv := sshtest.Serve(t, middleware.Logging(inFormat(l, "json")), passwordLayer(func(_, password string) bool { return password == "right" }), middleware.Handler("test", whoami))
	client := srv.DialRaw(t)
	addr := client.Conn.LocalAddr().String()
	for _, attempt := range []func() (bool, error){
		func() (bool, error) { return client.Attempt("root", "ssh-connection", "none", nil) },
		func() (bool, error) { return client.Password("root", "hunter2") },
		func() (bool, error) { return client.PublicKey("admin", sshtest.HostKey(t)) },
		func() (bool, error) { return client.Attempt("admin", "ssh-connection", "hostbased", nil) },
	} {
		if in, err := attempt(); in || err != nil {
			t.Fatalf("authenticated: %t, error: %v", in, err)
		}
	}
	_ = client.Conn.Close()
	l.Line(t, "connection closed")

	failed := event{"level": "warn", "msg": "authentication failed", "client": "SSH-2.0-raw"}
	want := []event{
		{"level": "info", "msg": "connection accepted"},
		with(failed, event{"level": "debug", "user": "root", "method": "none", "err": "ssh: no auth passed yet"}),
		with(failed, event{"user": "root", "method": "password", "err": "wrong password"}),
		with(failed, event{"user": "admin", "method": "publickey", "err": "ssh: publickey auth not configured"}),
		with(failed, event{"user": "admin", "method": "hostbased", "err": `ssh: unknown method "hostbased"`}),
		{"level": "info", "msg": "connection closed", "err": "left without authentication"},
	}
	got := events(t, l)
	for _, e := range got {
		e.take(t, addr)
	}
	if !slices.EqualFunc(got, want, maps.Equal[event, event]) {
		t.Errorf("the log has\n%v, want\n%v", got, want)
	}
	if strings.Contains(l.String(), "hunter2") {
		t.Errorf("the log has a password:\n%s", l)
	}
}

// Method "none" is logged as a failure only where a layer checks it. Another layer's AuthLogCallback is called too.
func TestLoggingMethodNone(t *testing.T) {
	l, attempts := sshtest.NewLog(), make(chan string, 10)
	other := configures(func(cfg *gossh.ServerConfig) {
		cfg.AuthLogCallback = func(_ gossh.ConnMetadata, method string, _ error) { attempts <- method }
	})
	odd := configures(func(cfg *gossh.ServerConfig) {
		cfg.NoClientAuth = true
		cfg.NoClientAuthCallback = func(gossh.ConnMetadata) (*gossh.Permissions, error) { return nil, errors.New("not today") }
		cfg.PasswordCallback = func(gossh.ConnMetadata, []byte) (*gossh.Permissions, error) { return nil, gossh.ErrNoAuth }
	}, "none", "password")
	srv := sshtest.Serve(t, other, middleware.Logging(l.Events()), odd, middleware.Handler("test", whoami))
	client := srv.DialRaw(t)
	_, _ = client.Attempt("guest", "ssh-connection", "none", nil)
	_, _ = client.Password("guest", "right")
	l.Line(t, "level=warn", "authentication failed", "method=none", `err="not today"`)
	l.Line(t, "level=warn", "authentication failed", "method=password")
	if first, second := sshtest.Receive(t, attempts), sshtest.Receive(t, attempts); first != "none" || second != "password" {
		t.Errorf("the other layer's callback received %s and %s", first, second)
	}
}

// A client cannot choose the logged reason by a method that is named like an error of the library.
func TestLoggingMethodNamedLikeAnError(t *testing.T) {
	for _, method := range []string{"too many authentication failures", "x]: too many authentication attempts"} {
		l := sshtest.NewLog()
		srv := sshtest.Serve(t, middleware.Logging(l.Events()), passwordLayer(func(_, _ string) bool { return false }), middleware.Handler("test", whoami))
		c := srv.DialRaw(t)
		if in, err := c.Attempt("guest", "ssh-connection", method, nil); in || err != nil {
			t.Fatalf("authenticated: %t, error: %v", in, err)
		}
		sshtest.HalfClose(c.Conn)
		l.Line(t, "connection closed", `err="left without authentication"`)
	}
}

// A layer may authenticate without permissions.
func TestLoggingWithoutPermissions(t *testing.T) {
	l := sshtest.NewLog()
	nilPermissions := configures(func(cfg *gossh.ServerConfig) {
		cfg.PasswordCallback = func(gossh.ConnMetadata, []byte) (*gossh.Permissions, error) { return nil, nil }
	}, "password")
	srv := sshtest.Serve(t, middleware.Logging(l.Events()), nilPermissions, middleware.Handler("test", whoami))
	expect(t, srv.Visit(t, sshtest.Visit{Password: "any"}), sshtest.Result{Stdout: "guest"})
	l.Line(t, "session closed", "exit=0")
}

func TestLoggingFailedHandshakes(t *testing.T) {
	for _, tt := range []struct {
		name    string
		connect func(t *testing.T, srv *sshtest.Server)
		err     string
	}{
		{"another protocol", func(t *testing.T, srv *sshtest.Server) {
			conn := srv.DialTCP(t)
			_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n"+strings.Repeat("x", 300))
			_, _ = io.Copy(io.Discard, conn) // until the server disconnects
		}, "not SSH: it looks like HTTP"},
		{"a version and nothing else", func(t *testing.T, srv *sshtest.Server) {
			conn := srv.DialTCP(t)
			_, _ = io.WriteString(conn, "SSH-2.0-scanner\r\n")
			sshtest.HalfClose(conn)
		}, "EOF"},
		{"no common algorithm", func(t *testing.T, srv *sshtest.Server) {
			if err := sshtest.NewRaw(srv.DialTCP(t)).Handshake("SSH-2.0-old", "diffie-hellman-group1-sha1"); err == nil {
				t.Error("the keys were exchanged")
			}
		}, `no common algorithm for key exchange: the client offers ["diffie-hellman-group1-sha1"]`},
		{"a packet that is too long", func(t *testing.T, srv *sshtest.Server) {
			conn := srv.DialTCP(t)
			_, _ = io.WriteString(conn, "SSH-2.0-scanner\r\n\xff\xff\xff\xff\xff\xff\xff\xff")
			_, _ = io.Copy(io.Discard, conn)
		}, "ssh: invalid packet length"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := sshtest.NewLog()
			srv := sshtest.Serve(t, middleware.Logging(inFormat(l, "json")), middleware.Open(), middleware.Handler("test", whoami))
			tt.connect(t, srv)
			l.Line(t, "connection closed")
			got := events(t, l)
			first, last := got[0], got[len(got)-1]
			lines := 2
			if strings.HasPrefix(tt.err, "not SSH") { // it is never accepted
				lines = 1
			}
			if len(got) != lines || first["conn"] != last["conn"] || last["level"] != "info" ||
				!strings.Contains(fmt.Sprint(last["err"]), tt.err) {
				t.Errorf("no %q at the end of the log:\n%s", tt.err, l)
			}
		})
	}
}

func TestLoggingConcurrentSessions(t *testing.T) {
	const sessions = 10
	l := sshtest.NewLog()
	srv := sshtest.Serve(t, middleware.Logging(inFormat(l, "json")), middleware.Open(), barrier(t, 2*sessions), middleware.Message(middleware.Fixed("bye\n")))
	clients := []*gossh.Client{dial(t, srv, "user-0"), dial(t, srv, "user-1")}
	concurrently(2*sessions, func(i int) {
		sshtest.Run(t, clients[i%2], sshtest.Visit{Command: fmt.Sprintf("command-%d", i)})
		l.Line(t, "session closed", fmt.Sprintf(`"command-%d"`, i))
	})
	conns := map[string]string{}    // by user
	logged := map[string][]string{} // by command
	for _, e := range events(t, l) {
		command, ok := e["command"].(string)
		if !ok {
			continue
		}
		conns[e["user"].(string)] += e["conn"].(string) + " "
		logged[command] = append(logged[command], fmt.Sprint(e["user"], " ", e["msg"]))
	}
	for i := range 2 * sessions {
		want := []string{fmt.Sprintf("user-%d session opened", i%2), fmt.Sprintf("user-%d session closed", i%2)}
		if got := logged[fmt.Sprintf("command-%d", i)]; !slices.Equal(got, want) {
			t.Errorf("session %d: %q, want %q", i, got, want)
		}
	}
	for user, all := range conns {
		if first, _, _ := strings.Cut(all, " "); all != strings.Repeat(first+" ", 2*sessions) {
			t.Errorf("the lines of %s have several values of conn: %s", user, all)
		}
	}
	if conns["user-0"] == conns["user-1"] {
		t.Errorf("two connections have the same conn: %v", conns)
	}
}

// hostile is text for every field that a peer chooses: a forged line, forged fields, escape sequences of 7 and 8 bits,
// bidirectional marks, invalid UTF-8, quotes, and a trailing backslash.
const hostile = "x\x1b[2J\u009b2J\x00\x7f\u202e\u2028\xff\xfe\r\nINFO forged user=admin exit=0\t\",\"user\":\"admin\" user=\"admin\\"

// With hostile text in every field the log has the same lines and keys as with plain text.
func TestLoggingIsNotForged(t *testing.T) {
	for _, format := range eventlog.Formats {
		t.Run(format, func(t *testing.T) {
			plain := keysOf(logOf(t, format, "plain"), format)
			got := logOf(t, format, hostile)
			if !slices.Equal(keysOf(got, format), plain) {
				t.Errorf("the log is\n%s, want lines with the keys\n%s", got, strings.Join(plain, "\n"))
			}
			for line := range strings.Lines(got) {
				if len(line) > 2<<10 {
					t.Errorf("a line of %d bytes: %.100q…", len(line), line)
				}
				for _, r := range strings.TrimSuffix(line, "\n") {
					if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
						t.Errorf("%U in %q", r, line)
					}
				}
			}
		})
	}
}

// No line is longer than the 2,000 bytes that Logging documents, of which 100 are for a longer time and address.
func TestLoggingLineLength(t *testing.T) {
	for _, format := range eventlog.Formats {
		for _, worst := range []string{`"`, `\`, "\xff"} {
			for line := range strings.Lines(logOf(t, format, strings.Repeat(worst, 240))) {
				if len(line) > 2000-100 {
					t.Errorf("%s: %d bytes: %.100q…", format, len(line), line)
				}
			}
		}
	}
}

// logOf puts text into every field that a peer chooses, and returns the log.
func logOf(t *testing.T, format string, text string) string {
	l, closed := sshtest.NewLog(), make(chan struct{}, 10)
	outermost := notifyClosed(closed)
	verify := func(user, password string) bool { return password == "right" }
	srv := sshtest.Serve(t, outermost, middleware.Recover(), middleware.Logging(inFormat(l, format)), passwordLayer(verify), middleware.Message(middleware.Fixed("")))
	long := text + strings.Repeat("A\n", 2<<10)

	sessions := func(t *testing.T) {
		client, err := srv.Dial(text, "right")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = client.Close() }()
		sshtest.Run(t, client, sshtest.Visit{Command: long, Term: text, Env: []string{text + "=" + text}})
		l.Line(t, "session closed", "exec")
		sshtest.Run(t, client, sshtest.Visit{Subsystem: text[:min(len(text), 60)]})
		l.Line(t, "session closed", "subsystem")
	}
	version := func(t *testing.T) {
		client := sshtest.NewRaw(srv.DialTCP(t))
		defer func() { _ = client.Conn.Close() }()
		version := "SSH-2.0-" + strings.NewReplacer("\n", "", "\r", "\x1b").Replace(text)
		if err := client.Handshake(version, sshtest.Curve25519); err != nil {
			t.Fatal(err)
		}
		if in, err := client.Password(text, "right"); err != nil || !in {
			t.Fatalf("authenticated: %t, error: %v", in, err)
		}
		if err := client.Shell(); err != nil {
			t.Fatal(err)
		}
		l.Line(t, "session closed", "shell")
	}
	attempts := func(t *testing.T) {
		client := srv.DialRaw(t)
		defer func() { _ = client.Conn.Close() }()
		_, _ = client.Attempt(text, "ssh-connection", long, nil)
		_, _ = client.Password(long, "wrong")
		_, _ = client.Attempt(text, long, "password", nil) // an unknown service ends the connection
	}
	disconnect := func(t *testing.T) {
		client := srv.DialRaw(t)
		mustWrite(t, client, sshtest.Message(sshtest.MsgDisconnect, uint32(11), long, ""))
		_, _ = client.Read()
	}
	algorithms := func(t *testing.T) { _ = sshtest.NewRaw(srv.DialTCP(t)).Handshake("SSH-2.0-raw", text) }
	for _, connect := range []func(*testing.T){sessions, version, attempts, disconnect, algorithms} {
		connect(t)
		sshtest.Receive(t, closed)
	}
	return l.String()
}

var (
	escaped  = regexp.MustCompile(`\\.`)
	quoted   = regexp.MustCompile(`"[^"]*"`)
	keys     = regexp.MustCompile(`^[A-Z]{4} |[a-z]+=`)
	jsonKeys = regexp.MustCompile(`"[a-z]+":`)
)

// keysOf returns the keys of each line. The lines are sorted, since two events may come in either order.
func keysOf(text string, format string) []string {
	var all []string
	for line := range strings.Lines(text) {
		line = escaped.ReplaceAllString(line, "")
		found := jsonKeys.FindAllString(line, -1)
		if format != "json" {
			found = keys.FindAllString(quoted.ReplaceAllString(line, ""), -1)
		}
		all = append(all, strings.Join(found, " "))
	}
	return slices.Sorted(slices.Values(all))
}

func TestLogger(t *testing.T) {
	isDefault := func(l *slog.Logger) bool { return l == slog.Default() }
	if !isDefault(middleware.ConnOf(context.Background()).Logger()) {
		t.Error("the logger of a context without a connection is not the default one")
	}
	same := make(chan bool, 1)
	srv := sshtest.Serve(t, middleware.Open(), middleware.Handler("test", func(sess ssh.Session) {
		same <- isDefault(middleware.ConnOf(sess.Context()).Logger())
	}))
	srv.Visit(t, sshtest.Visit{})
	if !sshtest.Receive(t, same) {
		t.Error("the logger of a session without a Logging layer is not the default one")
	}
	l := sshtest.NewLog()
	srv = sshtest.Serve(t, middleware.Logging(l.Events()), middleware.Open(), middleware.Handler("test", func(sess ssh.Session) {
		middleware.ConnOf(sess.Context()).Logger().Warn("custom", "key", "value")
	}))
	srv.Visit(t, sshtest.Visit{})
	l.Line(t, "level=warn", "msg=custom", "conn=", "addr=127.0.0.1:", "key=value")
}
