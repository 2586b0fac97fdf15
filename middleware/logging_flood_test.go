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

// flooded is a server whose log lets one line a second through, on a clock that stands still until it is set forward.
type flooded struct {
	*sshtest.Server
	t        *testing.T
	log      *sshtest.Log
	counts   *counters.Counters
	passed   atomic.Int64 // on the clock
	received atomic.Int64 // bytes that are sent to the server, and the headers that cannot be avoided
	closed   chan struct{}
	client   *gossh.Client // of those who are authenticated
	raw      *sshtest.Raw  // of those who are not
	units    int
}

func flood(t *testing.T) *flooded {
	t.Helper()
	f := &flooded{t: t, log: sshtest.NewLog(), closed: make(chan struct{}, 1)}
	logger := eventlog.NewLogger(f.log, "json", slog.LevelInfo)
	f.counts = counters.New(counters.Config{Logger: logger})
	lines := eventlog.New(eventlog.Config{
		Logger: logger, Rate: 1, Counters: f.counts, Now: func() time.Time { return time.Unix(0, f.passed.Load()) },
	})
	listens := middleware.Layer{Connect: func(*middleware.Conn) (middleware.Moments, error) {
		// What a client has to send at least: what the server reads, and three segments for a connection, to open it, to
		// acknowledge that and to end it, each with a header of IPv4 and one of TCP without options. The headers of segments
		// with data, acknowledgements and what Ethernet adds are left out, to the log's disadvantage.
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
	right := checks(func(_, password string) bool { return password == "right" })
	f.Server = sshtest.Serve(t, listens, middleware.Logging(lines), right, middleware.Message(""))
	return f
}

// hold asserts that n units of a flood, of which so many a second come to a log with the default rate, are logged in
// fewer bytes than they have.
func (f *flooded) hold(unit func(*flooded), n, second int) {
	f.t.Helper()
	log, received := len(f.log.String()), f.received.Load()
	for range n {
		unit(f)
		f.units++
		f.passed.Add(int64(eventlog.DefaultRate * time.Second / time.Duration(second)))
	}
	f.counts.Flush()
	written, sent := int64(len(f.log.String())-log), f.received.Load()-received
	f.t.Logf("%4d a second: %3d bytes logged and %3d received of each", second, written/int64(n), sent/int64(n))
	if written >= sent {
		f.t.Errorf("the flood cost %d bytes of the log, and %d of its sender", written, sent)
	}
}

// longest is what takes the most of a log for the least that has to be sent: the cleaner takes a quote for one byte,
// and JSON writes two.
func longest(shown int) string { return strings.Repeat(`"`, shown) }

// A flood costs the log less than who sends it: one of 1,000 a second once it has gone on for two minutes, the burst
// and what is told of it included, and one of 250 a second from when the burst is over. One line a second for a
// hundredth of a flood is what 100 are for all of it.
func TestLoggingCostsLessThanAFlood(t *testing.T) {
	for name, unit := range map[string]func(*flooded){
		"connections":      func(f *flooded) { f.knock("") },
		"versions":         func(f *flooded) { f.knock("SSH-2.0-" + longest(56) + "\r\n") },
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

// knock says words and hangs up.
func (f *flooded) knock(words string) {
	f.t.Helper()
	conn := f.DialTCP(f.t)
	_, _ = io.WriteString(conn, words)
	sshtest.HalfClose(conn)
	_ = conn.Close()
	sshtest.Receive(f.t, f.closed)
}

// guess tries a password, five on a connection, with what it shows of itself in the log as long as may be.
func (f *flooded) guess() {
	f.t.Helper()
	if f.units%5 == 0 {
		f.raw = sshtest.NewRaw(f.DialTCP(f.t))
		if err := f.raw.Handshake("SSH-2.0-"+longest(56), sshtest.Curve25519); err != nil {
			f.t.Fatal(err)
		}
	}
	if in, err := f.raw.Password(longest(64), "wrong"); in || err != nil {
		f.t.Fatalf("let in %t, error %v", in, err)
	}
	if f.units%5 == 4 {
		_ = f.raw.Conn.Close()
		sshtest.Receive(f.t, f.closed)
	}
}

// come makes a connection that somebody is authenticated on, for as many units as fit into its lines.
func (f *flooded) come() {
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
	f.come()
	sshtest.Run(f.t, f.client, sshtest.Visit{Command: longest(256)})
}

func (f *flooded) request() {
	f.t.Helper()
	f.come()
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
	f.come()
	if _, _, err := f.client.SendRequest("keepalive@openssh.com", true, nil); err != nil {
		f.t.Fatal(err)
	}
}

// A flood of strangers leaves out neither who gets in meanwhile nor what they do.
func TestLoggingTellsVisitorsInAFlood(t *testing.T) {
	f := flood(t)
	for range 130 {
		f.knock("")
	}
	before := len(f.log.String())
	if f.knock(""); len(f.log.String()) != before {
		t.Fatalf("there is room for strangers yet:\n%s", f.log.String()[before:])
	}
	expect(t, f.Visit(t, sshtest.Visit{Password: "right"}), sshtest.Result{})
	sshtest.Receive(t, f.closed)
	var told []string
	for line := range strings.Lines(f.log.String()[before:]) {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		told = append(told, strings.TrimSuffix(fmt.Sprint(e["msg"], " ", e["omitted"]), " <nil>"))
	}
	want := []string{"authentication succeeded", "session opened", "session closed", "connection closed 1"}
	if !slices.Equal(told, want) {
		t.Errorf("the log has %q, want %q", told, want)
	}
}

// A connection has at most 100 lines: how it began, 48 sessions as a whole, for a 49th there is no room, and how it ended.
func TestLoggingBoundsAConnection(t *testing.T) {
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
