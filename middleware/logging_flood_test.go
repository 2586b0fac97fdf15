package middleware_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
	"foyer/middleware/eventlog"
	"foyer/middleware/eventlog/counters"
	"foyer/middleware/sshtest"
)

// flooded is a server whose log writes at most one line a second, on a clock that only the test advances.
type flooded struct {
	*sshtest.Server
	t        *testing.T
	log      *sshtest.Log
	counts   *counters.Counters
	now      atomic.Int64 // of the clock
	received atomic.Int64 // bytes that the clients have sent, with the headers that are necessary
	closed   chan struct{}
	client   *gossh.Client // is authenticated
	raw      *sshtest.Raw  // is not authenticated
	units    int
}

func flood(t *testing.T) *flooded {
	t.Helper()
	f := &flooded{t: t, log: sshtest.NewLog(), closed: make(chan struct{}, 1)}
	logger := eventlog.NewLogger(f.log, "json", slog.LevelInfo)
	f.counts = counters.New(counters.Config{Logger: logger})
	lines := eventlog.New(eventlog.Config{
		Logger: logger, Rate: 1, Counters: f.counts, Now: func() time.Time { return time.Unix(0, f.now.Load()) },
	})
	count := middleware.Layer{Connect: func(*middleware.Conn) (middleware.Moments, error) {
		// The least that a client sends: what the server reads, and three segments to open, acknowledge and end the
		// connection, each with an IPv4 header and a TCP header without options. Headers of segments with data,
		// acknowledgements and Ethernet's bytes are not counted, so the real cost to the client is higher.
		f.received.Add(3 * (20 + 20))
		return middleware.Moments{
			Work: func(kind middleware.Work, n int) error {
				if kind == middleware.BytesReceived {
					f.received.Add(int64(n))
				}
				return nil
			},
			Closed: func(error) { f.closed <- struct{}{} },
		}, nil
	}}
	right := passwordLayer(func(_, password string) bool { return password == "right" })
	f.Server = sshtest.Serve(t, count, middleware.Logging(lines), right, middleware.Message(middleware.Fixed("")))
	return f
}

// hold checks that the log of n units of a flood has fewer bytes than the clients have sent, where so many units arrive
// each second at a log with the default rate.
func (f *flooded) hold(unit func(*flooded), n, second int) {
	f.t.Helper()
	log, received := len(f.log.String()), f.received.Load()
	for range n {
		unit(f)
		f.units++
		f.now.Add(int64(eventlog.DefaultRate * time.Second / time.Duration(second)))
	}
	f.counts.Flush()
	written, sent := int64(len(f.log.String())-log), f.received.Load()-received
	f.t.Logf("%4d a second: %3d bytes logged and %3d received for each unit", second, written/int64(n), sent/int64(n))
	if written >= sent {
		f.t.Errorf("the log has %d bytes, and the clients have sent %d", written, sent)
	}
}

// longest returns the text that takes the most space in a log for the bytes that a client sends: the cleaner counts a quote
// as one byte, and JSON writes two.
func longest(shown int) string { return strings.Repeat(`"`, shown) }

// A flood adds fewer bytes to the log than its clients send: 1,000 units a second after two minutes, with the burst and its
// summary, and 250 a second after the burst. The test has a hundredth of the flood and of the rate.
func TestLoggingCostsLessThanAFlood(t *testing.T) {
	for name, unit := range map[string]func(*flooded){
		"connections":      func(f *flooded) { f.connect("SSH-2.0-x\r\n") },
		"versions":         func(f *flooded) { f.connect("SSH-2.0-" + longest(56) + "\r\n") },
		"failed passwords": (*flooded).guess,
		"sessions":         (*flooded).session,
		"channel requests": (*flooded).request,
		"global requests":  (*flooded).keepalive,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := flood(t)
			f.hold(unit, 1200, 1000)
			f.hold(unit, 300, 250)
		})
	}
}

// connect connects, sends text, and disconnects.
func (f *flooded) connect(text string) {
	f.t.Helper()
	conn := f.DialTCP(f.t)
	_, _ = io.WriteString(conn, text)
	sshtest.HalfClose(conn)
	_ = conn.Close()
	sshtest.Receive(f.t, f.closed)
}

// guess attempts a wrong password, five on each connection, with the longest names in the log.
func (f *flooded) guess() {
	f.t.Helper()
	if f.units%5 == 0 {
		f.raw = sshtest.NewRaw(f.DialTCP(f.t))
		if err := f.raw.Handshake("SSH-2.0-"+longest(56), sshtest.Curve25519); err != nil {
			f.t.Fatal(err)
		}
	}
	if in, err := f.raw.Password(longest(64), "wrong"); in || err != nil {
		f.t.Fatalf("authenticated: %t, error: %v", in, err)
	}
	if f.units%5 == 4 {
		_ = f.raw.Conn.Close()
		sshtest.Receive(f.t, f.closed)
	}
}

// login opens an authenticated connection for as many units as its log lines allow.
func (f *flooded) login() {
	f.t.Helper()
	if f.units%45 != 0 {
		return
	}
	if f.client != nil {
		_ = f.client.Close()
		sshtest.Receive(f.t, f.closed)
	}
	var err error
	f.client, err = gossh.Dial("tcp", f.Address, &gossh.ClientConfig{
		User: longest(64), Auth: []gossh.AuthMethod{gossh.Password("right")}, ClientVersion: "SSH-2.0-" + longest(56),
		HostKeyCallback: gossh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *flooded) session() {
	f.t.Helper()
	f.login()
	sshtest.Run(f.t, f.client, sshtest.Visit{Command: longest(256)})
}

func (f *flooded) request() {
	f.t.Helper()
	f.login()
	channel, requests, err := f.client.OpenChannel("session", nil)
	if err != nil {
		f.t.Fatal(err)
	}
	go gossh.DiscardRequests(requests)
	_, err = channel.SendRequest("window-change", true, make([]byte, 16))
	if err != nil {
		f.t.Fatal(err)
	}
	_ = channel.Close()
}

func (f *flooded) keepalive() {
	f.t.Helper()
	f.login()
	if _, _, err := f.client.SendRequest("keepalive@openssh.com", true, nil); err != nil {
		f.t.Fatal(err)
	}
}

// A flood of unauthenticated clients does not suppress the lines of clients that are authenticated.
func TestLoggingVisitorsDuringAFlood(t *testing.T) {
	f := flood(t)
	for range 130 {
		f.connect("SSH-2.0-x\r\n")
	}
	before := len(f.log.String())
	if f.connect("SSH-2.0-x\r\n"); len(f.log.String()) != before {
		t.Fatalf("the log still has lines of unauthenticated clients:\n%s", f.log.String()[before:])
	}
	expect(t, f.Visit(t, sshtest.Visit{Password: "right"}), sshtest.Result{})
	sshtest.Receive(t, f.closed)
	var logged []string
	for line := range strings.Lines(f.log.String()[before:]) {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		logged = append(logged, strings.TrimSuffix(fmt.Sprint(e["msg"], " ", e["omitted"]), " <nil>"))
	}
	want := []string{"authentication succeeded", "session opened", "session closed", "connection closed 1"}
	if !slices.Equal(logged, want) {
		t.Errorf("the log has %q, want %q", logged, want)
	}
}

// A connection has at most 100 lines: its beginning, 48 complete sessions, the limit, and its end.
func TestLoggingLinesPerConnection(t *testing.T) {
	f := flood(t)
	client, err := f.Dial("guest", "right")
	if err != nil {
		t.Fatal(err)
	}
	for range 60 {
		sshtest.Run(t, client, sshtest.Visit{})
	}
	_ = client.Close()
	f.log.Line(t, "connection closed", `"omitted":24`)
	for msg, want := range map[string]int{"session opened": 48, "session closed": 48, "limit reached": 1, "": 99 + 1} {
		if got := strings.Count(f.log.String(), `"msg":"`+msg); got != want {
			t.Errorf("%d lines of %q, want %d", got, msg, want)
		}
	}
	if got := f.counts.Counts(); !maps.Equal(got, map[counters.Reason]uint64{counters.LogLines: 24}) {
		t.Errorf("counted %v", got)
	}
}
