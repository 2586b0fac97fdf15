package session_test

import (
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/session"
	"foyer/middleware/sshtest"
)

// wire is x/crypto's client of a server, and the connection in memory between them.
type wire struct {
	*sshtest.MemoryConn
	client *gossh.Client
}

// newWire serves one connection with channels, or with the default ones. A server that has a session channel keeps it.
func newWire(t testing.TB, srv *ssh.Server, channels *session.Channels) *wire {
	t.Helper()
	if channels == nil {
		channels = &session.Channels{}
	}
	if srv.ChannelHandlers["session"] == nil {
		_ = handleSessions(channels)(srv)
	}
	srv.AddHostKey(sshtest.HostKey(t))
	w := &wire{MemoryConn: sshtest.Connect(t, srv)}
	w.client = w.Login(t, gossh.Config{})
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
	w.ToClient.Hold(false)
	_ = w.client.Close()
	<-w.Done
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
