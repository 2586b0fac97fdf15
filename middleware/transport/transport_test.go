package transport_test

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"foyer/middleware/transport"
)

// TestMain fails if any test of the package has left a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The server's version line is sent once: by Greet, and not again when the library writes it.
func TestGreet(t *testing.T) {
	p := &peer{from: strings.NewReader("SSH-2.0-client\r\n")}
	c, o := wrap(p)
	c.Greet()
	if got := p.text(); got != line {
		t.Errorf("the client is sent %q", got)
	}
	for _, text := range []string{line, packet, line} {
		if n, err := io.WriteString(c, text); n != len(text) || err != nil {
			t.Errorf("%q: wrote %d bytes, error %v", text, n, err)
		}
	}
	if got, want := p.text(), line+packet+line; got != want {
		t.Errorf("the client is sent %q, want %q", got, want)
	}
	if want := []string{"spoke", "keys exchanged"}; !slices.Equal(o.events, want) {
		t.Errorf("the observer is told %q, want %q", o.events, want)
	}
}

// A library that writes something else than the version line first is not kept from it.
func TestGreetWithAnotherVersion(t *testing.T) {
	p := &peer{from: strings.NewReader("SSH-2.0-client\r\n")}
	c, _ := wrap(p)
	c.Greet()
	for _, text := range []string{"SSH-2.0-other\r\n", line} {
		_, _ = io.WriteString(c, text)
	}
	if got, want := p.text(), line+"SSH-2.0-other\r\n"+line; got != want {
		t.Errorf("the client is sent %q, want %q", got, want)
	}
}

// What comes with a version line costs two reads, and no byte of it is lost. Each byte is received once.
func TestGreetReadsAhead(t *testing.T) {
	text := "SSH-2.0-client\r\n" + strings.Repeat("x", 2000)
	p := &peer{from: strings.NewReader(text)}
	c, o := wrap(p)
	c.Greet()
	got := make([]byte, len("SSH-2.0-client\r\n"))
	for i := range got { // as x/crypto does (ssh/transport.go, readVersion)
		if _, err := io.ReadFull(c, got[i:i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if p.reads != 2 {
		t.Errorf("the line took %d reads, want 2", p.reads)
	}
	rest, err := io.ReadAll(c)
	if err != nil || string(got)+string(rest) != text {
		t.Errorf("read %q and %d bytes, error %v", got, len(rest), err)
	}
	if o.received != len(text) || !slices.Equal(o.events, []string{"spoke"}) {
		t.Errorf("the observer is told of %d of %d bytes, and %q", o.received, len(text), o.events)
	}
}

// A client whose line comes byte by byte loses none either.
func TestGreetByteByByte(t *testing.T) {
	const text = "SSH-2.0-client\r\nmore"
	c, o := wrap(&peer{from: bytewise{strings.NewReader(text)}})
	c.Greet()
	if got, err := io.ReadAll(c); err != nil || string(got) != text || o.received != len(text) {
		t.Errorf("read %q, %d bytes of it observed, error %v", got, o.received, err)
	}
}

// The error of a client that goes without a version line, or with half of one, comes from the library's reads, behind what
// the client has sent.
func TestGreetOfAClientThatGoes(t *testing.T) {
	for _, sent := range []string{"", "S", "SSH-2"} {
		c, o := wrap(&peer{from: io.MultiReader(strings.NewReader(sent), broken{})})
		c.Greet()
		got, err := io.ReadAll(c)
		if string(got) != sent || !errors.Is(err, errBroken) || o.received != len(sent) {
			t.Errorf("%q: read %q, %d bytes of it observed, error %v", sent, got, o.received, err)
		}
		if spoke := len(o.events) > 0; spoke != (sent != "") {
			t.Errorf("%q: the client spoke: %t", sent, spoke)
		}
	}
}

var errBroken = errors.New("connection broken")

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errBroken }

// If the version line cannot be sent, the library's first read says so, and the client is not waited for.
func TestGreetThatCannotBeSent(t *testing.T) {
	p := &peer{most: 9, from: strings.NewReader("SSH-2.0-client\r\n")}
	c, o := wrap(p)
	c.Greet()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.ErrShortWrite) || p.reads != 0 || len(o.events) > 0 {
		t.Errorf("error %v, %d reads, and %q", err, p.reads, o.events)
	}
}

// The deadline of the handshake counts for a client that is silent, and its error reaches the library.
func TestGreetUntilTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, client) }()
		c := transport.New(server, version, &observed{})
		c.LimitDeadline(time.Now().Add(20 * time.Second))
		begun := time.Now()
		c.Greet()
		if took := time.Since(begun); took != 20*time.Second {
			t.Errorf("the client was waited for for %s", took)
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the read ended with %v", err)
		}
		_ = c.Close()
	})
}

// A silent client costs next to nothing: memory for what it sends is allocated when it begins to.
func TestSilentClientAllocatesLittle(t *testing.T) {
	const clients, most = 1000, 128 // bytes each: the version line, twice, and the first byte
	var client silent
	p := &peer{from: &client}
	conns := make([]*transport.Conn, clients)
	for i := range conns {
		conns[i], _ = wrap(p)
	}
	p.sent.Grow(clients * len(line))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, c := range conns {
		c.Greet()
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / clients; each > most {
		t.Errorf("a silent client takes %d bytes, want %d at most", each, most)
	}
	if client.longest != 1 {
		t.Errorf("it is waited for with a buffer of %d bytes, want 1", client.longest)
	}
}

// silent is a client that sends nothing and goes. It notes the longest buffer that it could have filled.
type silent struct{ longest int }

func (s *silent) Read(p []byte) (int, error) {
	s.longest = max(s.longest, len(p))
	return 0, io.EOF
}

// An observer's error ends the connection: it is what the library reads, and nothing of what was too much.
func TestReceivedTooMuch(t *testing.T) {
	t.Run("while greeting", func(t *testing.T) {
		o := &observed{most: 10}
		c := transport.New(&peer{from: strings.NewReader("SSH-2.0-client\r\n")}, version, o)
		c.Greet()
		if n, err := c.Read(make([]byte, 100)); n != 0 || !errors.Is(err, errTooMuch) {
			t.Errorf("read %d bytes, error %v", n, err)
		}
	})
	t.Run("later", func(t *testing.T) {
		o := &observed{most: 150}
		c := transport.New(&peer{from: endless{}}, version, o)
		if n, err := c.Read(make([]byte, 100)); n != 100 || err != nil {
			t.Errorf("read %d bytes, error %v", n, err)
		}
		if n, err := c.Read(make([]byte, 100)); n != 0 || !errors.Is(err, errTooMuch) {
			t.Errorf("then read %d bytes, error %v", n, err)
		}
	})
}

// The observer is told of each part of the first key exchange that the library computes: from the read of what it needs to
// the next read, write or close. Afterwards it is told of none.
func TestComputing(t *testing.T) {
	c, o := wrap(&peer{from: bytewise{strings.NewReader("abcdef")}})
	read := func() { _, _ = c.Read(make([]byte, 1)) }
	write := func(text string) func() { return func() { _, _ = io.WriteString(c, text) } }
	for i, step := range []struct {
		do              func()
		computing, over int // in all
	}{
		{read, 1, 0}, {read, 2, 1}, {write(line), 2, 2}, {write(packet), 2, 2},
		{read, 3, 2}, {write(newKeys), 3, 3}, {read, 3, 3},
	} {
		if step.do(); o.computing != step.computing || o.over != step.over {
			t.Errorf("step %d: told %d times that it computes, %d times that this is over, want %d and %d", i, o.computing, o.over, step.computing, step.over)
		}
	}
	c, o = wrap(&peer{from: strings.NewReader("a")})
	read()
	if _ = c.Close(); o.computing != 1 || o.over != 1 {
		t.Errorf("told %d times that it computes, %d times that this is over before a close", o.computing, o.over)
	}
}

// A part that the observer refuses is not computed, and never over.
func TestComputingRefused(t *testing.T) {
	c, o := wrap(&peer{from: strings.NewReader("abc")})
	o.refuse = true
	n, err := c.Read(make([]byte, 3))
	_ = c.Close()
	if n != 0 || !errors.Is(err, errTooMuch) || o.over != 0 {
		t.Errorf("read %d bytes, error %v, over %d times", n, err, o.over)
	}
}

// The observer is told once that keys are exchanged, before the NEWKEYS is sent.
func TestKeysExchanged(t *testing.T) {
	p := &peer{}
	told := &ordered{peer: p}
	c := transport.New(p, version, told)
	for _, text := range []string{line, packet, newKeys, packet, newKeys} {
		_, _ = io.WriteString(c, text)
	}
	if want := []string{line + packet}; !slices.Equal(told.sent, want) {
		t.Errorf("told after %q was sent, want %q", told.sent, want)
	}
}

// ordered notes what was sent to the client when it is told that keys are exchanged.
type ordered struct {
	observed
	peer *peer
	sent []string
}

func (o *ordered) KeysExchanged() { o.sent = append(o.sent, o.peer.text()) }

// No deadline is later than the limit, whatever the library sets, until there is none.
func TestLimitDeadline(t *testing.T) {
	limit := time.Now().Add(time.Minute)
	earlier, later := limit.Add(-time.Second), limit.Add(time.Second)
	p := &peer{}
	c, _ := wrap(p)
	_ = c.SetDeadline(later)
	c.LimitDeadline(limit)
	for _, deadline := range []time.Time{earlier, limit, later, {}} {
		_ = c.SetDeadline(deadline)
	}
	c.LimitDeadline(time.Time{})
	for _, deadline := range []time.Time{later, {}} {
		_ = c.SetDeadline(deadline)
	}
	if want := []time.Time{later, limit, earlier, limit, limit, limit, later, {}}; !slices.Equal(p.deadlines, want) {
		t.Errorf("the deadlines are %v, want %v", p.deadlines, want)
	}
}

// maxBeforeAuth is how many bytes are read from a client between its first key exchange and its authentication, and
// maxAuthWait how long it then waits.
const (
	maxBeforeAuth = 448
	maxAuthWait   = time.Second
)

// A client that sends its first attempt to authenticate before authentication starts is not disconnected: the attempt
// waits, a second at most. Then the connection ends.
func TestQuickClient(t *testing.T) {
	for name, starts := range map[string]bool{"authentication starts": true, "it does not start": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &peer{from: endless{}}
				c, o := wrap(p, line, packet)
				buffer := make([]byte, 4096)
				for range 3 {
					if n, err := c.Read(buffer); n != len(buffer) || err != nil {
						t.Fatalf("read %d bytes before the key exchange is over, error %v", n, err)
					}
				}
				_, _ = io.WriteString(c, newKeys)
				if n, err := c.Read(buffer[:100]); n != 100 || err != nil {
					t.Fatalf("read %d bytes before authentication, error %v", n, err)
				}
				if n, err := c.Read(buffer); n != maxBeforeAuth-100 || err != nil {
					t.Fatalf("read %d bytes more before authentication, error %v", n, err)
				}
				before := o.received
				type result struct {
					n   int
					err error
				}
				read := make(chan result, 1)
				go func() { n, err := c.Read(buffer); read <- result{n, err} }()
				time.Sleep(maxAuthWait - time.Nanosecond)
				synctest.Wait()
				if len(read) > 0 {
					t.Fatalf("read %+v before authentication", <-read)
				}
				if starts {
					c.AuthStarted(nil)
				}
				got := <-read
				if starts != (got.n == len(buffer) && got.err == nil) || !starts && (got.n != 0 || got.err == nil) {
					t.Errorf("then read %d bytes, error %v", got.n, got.err)
				}
				if received := o.received - before; received != got.n {
					t.Errorf("%d bytes were received, want %d", received, got.n)
				}
				if starts {
					if n, err := c.Read(buffer); n != len(buffer) || err != nil {
						t.Errorf("later read %d bytes, error %v", n, err)
					}
				}
			})
		})
	}
}
