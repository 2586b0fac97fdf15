package sshtest

import (
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"
)

// maxWait is how long a [Terminal] waits for output.
const maxWait = 10 * time.Second

// Terminal is a session at a terminal, for the test of an interactive program: it can type, resize and wait for output.
type Terminal struct {
	t       testing.TB
	channel gossh.Channel
	status  chan int
	over    chan struct{} // closed when there is no more output

	mu     sync.Mutex
	output strings.Builder
	read   int           // how much of it Expect has found
	grown  chan struct{} // closed and replaced when there is more output, or no more
	ended  bool
}

// Terminal opens a session with the terminal of v, which the server must grant, over a connection of its own. Both are
// closed when the test ends.
func (s *Server) Terminal(t testing.TB, v Visit) *Terminal {
	t.Helper()
	client, err := s.Dial(v.User, v.Password)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	channel, requests, err := client.OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	term := &Terminal{t: t, channel: channel, status: make(chan int, 1), over: make(chan struct{}), grown: make(chan struct{})}
	go func() { term.status <- exitStatus(requests) }()
	if !Request(t, channel, "pty-req", v.pty()) || !v.begin(t, channel) {
		t.Fatalf("the server refused a terminal, or the request of %+v", v)
	}
	go term.collect()
	return term
}

// collect reads the output to its end.
func (term *Terminal) collect() {
	defer close(term.over)
	var both sync.WaitGroup
	both.Go(func() { _, _ = io.Copy(term, term.channel) })
	both.Go(func() { _, _ = io.Copy(term, term.channel.Stderr()) })
	both.Wait()
	term.mu.Lock()
	defer term.mu.Unlock()
	term.ended = true
	close(term.grown)
}

// Write implements [io.Writer] for the output of the session.
func (term *Terminal) Write(p []byte) (int, error) {
	term.mu.Lock()
	defer term.mu.Unlock()
	if !term.ended {
		close(term.grown)
		term.grown = make(chan struct{})
	}
	return term.output.Write(p)
}

// Type sends what a person types.
func (term *Terminal) Type(text string) {
	term.t.Helper()
	if _, err := io.WriteString(term.channel, text); err != nil {
		term.t.Fatalf("type %q: %v", text, err)
	}
}

// Resize changes the size of the terminal, in characters.
func (term *Terminal) Resize(width, height uint32) {
	term.t.Helper()
	size := gossh.Marshal(struct{ Columns, Rows, Width, Height uint32 }{width, height, 0, 0})
	if _, err := term.channel.SendRequest("window-change", false, size); err != nil {
		term.t.Fatalf("resize: %v", err)
	}
}

// Expect waits for text in the output after what an earlier Expect has found. The test fails if it does not come within
// ten seconds, or the session ends without it.
func (term *Terminal) Expect(text string) {
	term.t.Helper()
	timeout := time.After(maxWait)
	for {
		grown, ended, found := term.find(text)
		switch {
		case found:
			return
		case ended:
			term.t.Fatalf("the session ended without %q:\n%q", text, term.Output())
		}
		select {
		case <-grown:
		case <-timeout:
			term.t.Fatalf("no %q within %s:\n%q", text, maxWait, term.Output())
		}
	}
}

func (term *Terminal) find(text string) (grown <-chan struct{}, ended, found bool) {
	term.mu.Lock()
	defer term.mu.Unlock()
	output := term.output.String()
	at := strings.Index(output[term.read:], text)
	if at >= 0 {
		term.read += at + len(text)
	}
	return term.grown, term.ended, at >= 0
}

// Output returns all output so far, stdout and stderr as they came.
func (term *Terminal) Output() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.output.String()
}

// Wait waits for the end of the session and of its output, and returns its exit status, or -1 if none was sent.
func (term *Terminal) Wait() int {
	term.t.Helper()
	select {
	case <-term.over:
		return <-term.status
	case <-time.After(maxSession):
		term.t.Fatalf("the session did not end within %s:\n%q", maxSession, term.Output())
		return -1
	}
}
