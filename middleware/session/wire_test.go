package session_test

import (
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/session"
	"foyer/middleware/sshtest"
)

// wire is a client and a server with a connection in memory between them. In a bubble of testing/synctest time is
// then the test's own, and a goroutine that somebody leaves behind fails the test.
type wire struct {
	client   *gossh.Client
	toClient *half
	toServer *half
	hungUp   chan struct{} // closed when the server has nothing more to do with the connection
}

// newWire serves one connection with channels, or with the default ones, and hangs up when the test ends. A server that
// has a session channel keeps it.
func newWire(t testing.TB, srv *ssh.Server, channels *session.Channels) *wire {
	t.Helper()
	if channels == nil {
		channels = &session.Channels{}
	}
	if srv.ChannelHandlers["session"] == nil {
		_ = handleSessions(channels)(srv)
	}
	srv.AddHostKey(sshtest.HostKey(t))
	w := &wire{toClient: newHalf(), toServer: newHalf(), hungUp: make(chan struct{})}
	go func() {
		defer close(w.hungUp)
		srv.HandleConn(&end{in: w.toServer, out: w.toClient})
	}()
	conn, chans, requests, err := gossh.NewClientConn(&end{in: w.toClient, out: w.toServer}, "", &gossh.ClientConfig{
		User:            "guest",
		HostKeyCallback: gossh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.client = gossh.NewClient(conn, chans, requests)
	t.Cleanup(w.hangUp)
	return w
}

// handleSessions returns the option that makes channels the session channel of a server.
func handleSessions(channels *session.Channels) ssh.Option {
	return func(srv *ssh.Server) error {
		srv.ChannelHandlers = map[string]ssh.ChannelHandler{"session": channels.Handle}
		return nil
	}
}

// handler returns a server that serves h and grants every PTY.
func handler(h ssh.Handler) *ssh.Server { return &ssh.Server{Handler: h} }

// hangUp closes the connection and waits until the server is done with it.
func (w *wire) hangUp() {
	w.toClient.hold(false)
	_ = w.client.Close()
	<-w.hungUp
}

// end is one end of the wire.
type end struct{ in, out *half }

func (e *end) Read(p []byte) (int, error)  { return e.in.read(p) }
func (e *end) Write(p []byte) (int, error) { return e.out.write(p) }
func (e *end) LocalAddr() net.Addr         { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 22} }
func (e *end) RemoteAddr() net.Addr        { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 50000} }

func (e *end) SetDeadline(time.Time) error      { return nil }
func (e *end) SetReadDeadline(time.Time) error  { return nil }
func (e *end) SetWriteDeadline(time.Time) error { return nil }

func (e *end) Close() error {
	e.in.close(true)
	e.out.close(false)
	return nil
}

// half is one direction of the wire. Each write is a packet, since x/crypto flushes after each.
type half struct {
	changed   *sync.Cond
	packets   [][]byte
	closed    bool // by the writer: what is underway still arrives
	abandoned bool // by the reader
	held      bool // nothing is let through but
	credits   int  // so many packets
	full      bool // writes block, as on a TCP connection whose peer does not read
}

func newHalf() *half { return &half{changed: sync.NewCond(&sync.Mutex{})} }

// update changes h under its lock and wakes who waits for that.
func (h *half) update(f func()) {
	h.changed.L.Lock()
	defer h.changed.L.Unlock()
	f()
	h.changed.Broadcast()
}

func (h *half) hold(on bool) { h.update(func() { h.held = on }) }
func (h *half) fill(on bool) { h.update(func() { h.full = on }) }

func (h *half) close(byReader bool) {
	h.update(func() { h.closed = true; h.abandoned = h.abandoned || byReader })
}

func (h *half) write(p []byte) (int, error) {
	h.changed.L.Lock()
	defer h.changed.L.Unlock()
	for h.full && !h.closed {
		h.changed.Wait()
	}
	if h.closed {
		return 0, net.ErrClosed
	}
	h.packets = append(h.packets, slices.Clone(p))
	h.changed.Broadcast()
	return len(p), nil
}

func (h *half) read(p []byte) (int, error) {
	h.changed.L.Lock()
	defer h.changed.L.Unlock()
	for {
		switch {
		case h.abandoned:
			return 0, net.ErrClosed
		case len(h.packets) > 0 && (!h.held || h.credits > 0):
			n := copy(p, h.packets[0])
			if h.packets[0] = h.packets[0][n:]; len(h.packets[0]) == 0 {
				h.packets = h.packets[1:]
				h.credits = max(h.credits-1, 0)
			}
			return n, nil
		case h.closed && len(h.packets) == 0:
			return 0, io.EOF
		}
		h.changed.Wait()
	}
}

// step lets one packet through, waits until all that follows from it has happened, and reports whether there was one.
func (h *half) step() (more bool) {
	synctest.Wait()
	h.update(func() {
		if more = len(h.packets) > 0; more {
			h.credits++
		}
	})
	synctest.Wait()
	return more
}

// visitor is one session as a client sees it.
type visitor struct {
	gossh.Channel
	done chan struct{} // closed when the channel is

	mu   sync.Mutex
	seen []string
	mute bool // requests of the server are not answered
}

// open opens a session channel. Everything the client then sees is noted in the order of its arrival: exact on a
// wire that is held, where one packet arrives at a time.
func open(t testing.TB, client *gossh.Client) *visitor {
	t.Helper()
	channel, requests, err := client.OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	v := &visitor{Channel: channel, done: make(chan struct{})}
	var reading sync.WaitGroup
	reading.Go(func() { v.readAll("stdout ", channel); v.note("EOF") })
	reading.Go(func() { v.readAll("stderr ", channel.Stderr()) })
	go func() {
		defer close(v.done)
		for req := range requests {
			note := req.Type
			if req.Type == "exit-status" {
				note += " " + string('0'+rune(req.Payload[3]))
			}
			v.note(note)
			if !v.mute {
				_ = req.Reply(false, nil)
			}
		}
		reading.Wait()
		v.note("close")
	}()
	return v
}

func (v *visitor) note(event string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.seen = append(v.seen, event)
}

// events returns what was seen so far.
func (v *visitor) events() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.seen)
}

// read returns all that came on a stream so far.
func (v *visitor) read(stream string) string {
	var all strings.Builder
	for _, event := range v.events() {
		if text, ok := strings.CutPrefix(event, stream+" "); ok {
			all.WriteString(text)
		}
	}
	return all.String()
}

func (v *visitor) readAll(name string, r io.Reader) {
	buf := make([]byte, 1<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			v.note(name + string(buf[:n]))
		}
		if err != nil {
			return
		}
	}
}

// ask sends a request that wants a reply, and notes and returns the answer.
func (v *visitor) ask(t testing.TB, request string, payload []byte) bool {
	t.Helper()
	ok := sshtest.Request(t, v, request, payload)
	if ok {
		v.note(request + " yes")
	} else {
		v.note(request + " no")
	}
	return ok
}

// Payloads of RFC 4254 section 6.

func str(s string) []byte { return gossh.Marshal(struct{ S string }{s}) }

func env(name, value string) []byte {
	return gossh.Marshal(struct{ Name, Value string }{name, value})
}

func size(columns, rows, width, height uint32) []byte {
	return gossh.Marshal(struct{ Columns, Rows, Width, Height uint32 }{columns, rows, width, height})
}

func pty(term string, columns, rows uint32, modes string) []byte {
	return gossh.Marshal(struct {
		Term                         string
		Columns, Rows, Width, Height uint32
		Modes                        string
	}{term, columns, rows, 0, 0, modes})
}
