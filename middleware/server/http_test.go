package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"charm.land/ssh"

	"foyer/middleware"
	"foyer/middleware/server"
	"foyer/middleware/sshtest"
)

// get returns the status and the body of an answer.
func get(t *testing.T, address, path string) string {
	t.Helper()
	answer, err := http.Get("http://" + address + path)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(answer.StatusCode, " ", strings.TrimSpace(string(body)))
}

func openHTTP(t *testing.T, cfg server.HTTP, log *sshtest.Log) *server.Server {
	t.Helper()
	s, err := server.New(server.Config{Listen: []string{"127.0.0.1:0"}, HostKeys: t.TempDir(), HTTP: cfg, Log: server.Log{Writer: log}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// The server is alive from the start, and ready while it serves: neither before nor while it drains.
func TestHealth(t *testing.T) {
	s := openHTTP(t, server.HTTP{Address: "127.0.0.1:0"}, sshtest.NewLog())
	address := s.HTTPAddr().String()
	check := func(path, want string) {
		t.Helper()
		if got := get(t, address, path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	check("/readyz", "503 failed")
	check("/readyz?verbose", "503 not ready: the server is starting")
	check("/livez?verbose", "200 alive")

	running, finish := make(chan bool), make(chan bool)
	handler := func(ssh.Session) { running <- true; <-finish }
	if err := errors.Join(s.LoadHostKeys(), s.Build(middleware.Metrics(s.Metrics), middleware.Open(), middleware.Handler("test", handler))); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	sshtest.Eventually(t, "the server is not ready", func() bool { return get(t, address, "/readyz") == "200 ok" })
	d := &drained{address: s.Addrs()[0].String()}
	client, err := d.dial()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	go func() { sshtest.Run(t, client, sshtest.Visit{}) }()
	<-running
	stop()
	sshtest.Eventually(t, "the server is still ready", func() bool { return get(t, address, "/readyz") == "503 failed" })
	check("/readyz?verbose", "503 not ready: the server is closing")
	check("/livez", "200 ok")
	close(finish)
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// The HTTP listener is closed with the server.
func TestHTTPClose(t *testing.T) {
	s := openHTTP(t, server.HTTP{Address: "127.0.0.1:0"}, sshtest.NewLog())
	_ = s.Close()
	if got := get(t, s.HTTPAddr().String(), "/livez"); !strings.Contains(got, "refused") {
		t.Errorf("after the end: %s", got)
	}
}

func TestHTTPPaths(t *testing.T) {
	plain := openHTTP(t, server.HTTP{Address: "127.0.0.1:0"}, sshtest.NewLog()).HTTPAddr().String()
	profiled := openHTTP(t, server.HTTP{Address: "127.0.0.1:0", Pprof: true}, sshtest.NewLog()).HTTPAddr().String()
	for path, want := range map[string]string{"/": "404", "/debug/pprof/": "404", "/metrics": "200 # HELP"} {
		if got := get(t, plain, path); !strings.HasPrefix(got, want) {
			t.Errorf("%s is %.40q, want %q", path, got, want)
		}
	}
	if got := get(t, profiled, "/debug/pprof/goroutine?debug=1"); !strings.HasPrefix(got, "200 goroutine profile:") {
		t.Errorf("a profile is %.40q", got)
	}
	if answer, err := http.Post("http://"+plain+"/livez", "text/plain", nil); err != nil || answer.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %v, error %v", answer, err)
	}
}

// Requests are bounded: in their headers, in the time that they take, and in how many connections there are.
func TestHTTPIsBounded(t *testing.T) {
	address := openHTTP(t, server.HTTP{Address: "127.0.0.1:0"}, sshtest.NewLog()).HTTPAddr().String()
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(sshtest.Patience))
		return conn
	}
	large := dial()
	_, _ = fmt.Fprintf(large, "GET /livez HTTP/1.1\r\nHost: x\r\nX: %s\r\n\r\n", strings.Repeat("x", 20<<10))
	if got, _ := io.ReadAll(large); !strings.Contains(string(got), "431 Request Header Fields Too Large") {
		t.Errorf("a large header is answered with %q", got)
	}
	for range 32 {
		dial()
	}
	waits := time.Now() // until the server gives the silent ones up
	if got := get(t, address, "/livez"); got != "200 ok" || time.Since(waits) < time.Second {
		t.Errorf("after %s: %q", time.Since(waits), got)
	}
}

// A listener that other hosts reach is warned of, and one that cannot be opened says what to do.
func TestHTTPAddress(t *testing.T) {
	log := sshtest.NewLog()
	s := openHTTP(t, server.HTTP{Address: ":0"}, log)
	log.Line(t, `level=warn msg="metrics can be read from other hosts"`)
	quiet := sshtest.NewLog()
	openHTTP(t, server.HTTP{Address: "127.0.0.1:0"}, quiet)
	if quiet.Line(t, `msg="http listening" addr=127.0.0.1:`); strings.Contains(quiet.String(), "level=warn") {
		t.Errorf("loopback is warned of: %s", quiet)
	}
	other, err := server.New(server.Config{Listen: []string{"127.0.0.1:0"}, HTTP: server.HTTP{Address: s.HTTPAddr().String()}})
	if err != nil {
		t.Fatal(err)
	}
	failed, ok := errors.AsType[*server.ListenError](other.Open(t.Context()))
	if !ok || !strings.Contains(failed.Hint(), "--http") {
		t.Errorf("error %v", failed)
	}
}
