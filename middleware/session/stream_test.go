package session_test

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"charm.land/ssh"

	"foyer/middleware/eventlog/counters"
	"foyer/middleware/session"
	"foyer/middleware/sshtest"
)

// most is all but one byte of what is written at once.
var most = strings.Repeat("x", 32<<10-1)

var lineEnds = []struct {
	name     string
	writes   []string
	terminal string // what a raw terminal gets
}{
	{"LF", []string{"a\nb\n"}, "a\r\nb\r\n"},
	{"LF alone", []string{"\n"}, "\r\n"},
	{"CR LF", []string{"a\r\nb\r\n"}, "a\r\nb\r\n"},
	{"CR LF in two writes", []string{"a\r", "\nb"}, "a\r\nb"},
	{"CR LF in two writes with nothing between", []string{"a\r", "", "\nb"}, "a\r\nb"},
	{"CR, then more", []string{"\r", "a", "\n"}, "\ra\r\n"},
	{"LF twice", []string{"\n", "\n"}, "\r\n\r\n"},
	{"CR CR LF", []string{"\r", "\r\n"}, "\r\r\n"},
	{"LF CR", []string{"\n\r", "\n\r"}, "\r\n\r\n\r"},
	{"CR at the end of a chunk", []string{most + "\r\n"}, most + "\r\n"},
	{"LF at the start of a chunk", []string{most + "x\n"}, most + "x\r\n"},
	{"none", []string{"progress \r", "100 %"}, "progress \r100 %"},
	{"nothing", []string{""}, ""},
	{"many", []string{strings.Repeat("\n", 70<<10)}, strings.Repeat("\r\n", 70<<10)},
	{"binary", []string{"\x00\xff\n"}, "\x00\xff\r\n"},
}

func TestLineEnds(t *testing.T) {
	for _, tt := range lineEnds {
		t.Run(tt.name, func(t *testing.T) {
			srv := serve(t, nil, func(sess ssh.Session) {
				for _, w := range []io.Writer{sess.Stderr(), sess} {
					for _, text := range tt.writes {
						if n, err := io.WriteString(w, text); n != len(text) || err != nil {
							t.Errorf("wrote %d of %d bytes: %v", n, len(text), err)
						}
					}
				}
			})
			srv.PtyCallback = func(_ ssh.Context, pty ssh.Pty) bool { return pty.Term != "dumb" }
			client := srv.dial(t)
			for term, want := range map[string]string{
				"xterm": tt.terminal, "dumb": strings.Join(tt.writes, ""), "": strings.Join(tt.writes, ""),
			} {
				got := sshtest.Run(t, client, sshtest.Visit{Term: term})
				if got.Stdout != want || got.Stderr != want {
					t.Errorf("TERM=%q: got %.40q and %.40q, want %.40q", term, got.Stdout, got.Stderr, want)
				}
			}
		})
	}
}

// A carriage return on one stream does not stand before a line feed on the other.
func TestLineEndsOfTwoStreams(t *testing.T) {
	srv := serve(t, nil, func(sess ssh.Session) {
		_, _ = io.WriteString(sess, "\r")
		_, _ = io.WriteString(sess.Stderr(), "\n")
		_, _ = io.WriteString(sess, "\n")
	})
	got := sshtest.Run(t, srv.dial(t), sshtest.Visit{Term: "xterm"})
	if got.Stdout != "\r\n" || got.Stderr != "\r\n" {
		t.Errorf("got %q and %q", got.Stdout, got.Stderr)
	}
}

// pour writes without end, and says with what error it ended.
func pour(w io.Writer) error {
	for {
		if _, err := w.Write(make([]byte, 100<<10)); err != nil {
			return err
		}
	}
}

// unread is what becomes of a session whose client leaves its output unread.
const unread = "the client does not read its output"

// A client that leaves its window closed loses the channel, and its other sessions live on.
func TestClosedWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan session.Info, 1)
		w := newWire(t, handler(func(sess ssh.Session) {
			var to io.Writer = sess
			if sess.RawCommand() == "stderr" {
				to = sess.Stderr()
			}
			if err := pour(to); err == nil || err.Error() != unread {
				t.Errorf("the write ended with %v", err)
			}
			ended <- session.InfoOf(sess)
		}), nil)
		other := open(t, w.client)
		for _, stream := range []string{"stdout", "stderr"} {
			channel, requests, err := w.client.OpenChannel("session", nil)
			if err != nil {
				t.Fatal(err)
			}
			sshtest.Request(t, channel, "exec", str(stream))
			if info := <-ended; info.Err == nil || info.Err.Error() != unread || info.Bytes < 1<<20 {
				t.Errorf("%s: the handler was told %+v", stream, info)
			}
			for range requests { // until the channel is closed
			}
		}
		if !other.ask(t, "env", env("A", "b")) {
			t.Error("another session of the connection did not survive")
		}
	})
}

// A client that has its requests answered, and reads the answers, has read no output by that.
func TestClosedWindowOfABusyClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counts := newCounters()
		stuck := make(chan error, 1)
		w := newWire(t, handler(func(sess ssh.Session) { stuck <- pour(sess) }), &session.Channels{Counters: counts})
		channel, requests, err := w.client.OpenChannel("session", nil)
		if err != nil {
			t.Fatal(err)
		}
		sshtest.Request(t, channel, "shell", nil)
		begun := time.Now()
		for err == nil {
			time.Sleep(time.Second)
			_, err = channel.SendRequest("window-change", true, nil)
		}
		for range requests { // until the channel is closed
		}
		if took := time.Since(begun); took > session.DefaultWriteTimeout+time.Second {
			t.Errorf("the channel was closed after %v, want %v", took, session.DefaultWriteTimeout)
		}
		if err := <-stuck; err == nil || err.Error() != unread {
			t.Errorf("the write ended with %v", err)
		}
		wantCounts(t, counts, counters.Unread)
	})
}

// A client that does not confirm the close either loses the connection, which takes the writers with it. It has the
// same time whenever it stops to read, and the first of those who wait for it counts.
func TestClosedWindowAndNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		w := newWire(t, handler(func(sess ssh.Session) {
			time.Sleep(3 * time.Second)
			go func() {
				time.Sleep(4 * time.Second)
				if _, err := io.WriteString(sess.Stderr(), "more"); err == nil || err.Error() != unread {
					t.Errorf("the second write ended with %v", err)
				}
			}()
			_ = pour(sess)
			if took := time.Since(begun); took != 23*time.Second {
				t.Errorf("the first write took until %v", took)
			}
		}), nil)
		v := open(t, w.client)
		v.ask(t, "shell", nil)
		w.ToClient.Hold(true)
		<-w.Done
		if took, want := time.Since(begun), 3*time.Second+2*session.DefaultWriteTimeout; took != want {
			t.Errorf("it took %v, want %v", took, want)
		}
	})
}

// Exit and CloseWrite end beside a writer that is stuck. This takes real time, if little, since they wait for a lock.
func TestEndBesideAStuckWriter(t *testing.T) {
	for name, end := range map[string]func(ssh.Session){
		"Exit":       func(sess ssh.Session) { _ = sess.Exit(4) },
		"CloseWrite": func(sess ssh.Session) { _ = sess.CloseWrite() },
		"nothing":    func(ssh.Session) {},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWire(t, handler(func(sess ssh.Session) {
				stuck := make(chan error)
				go func() { stuck <- pour(sess) }()
				for session.InfoOf(sess).Bytes < 1<<20 && sess.Context().Err() == nil {
					runtime.Gosched()
				}
				end(sess)
				<-stuck
			}), &session.Channels{WriteTimeout: 5 * time.Millisecond})
			channel, requests, err := w.client.OpenChannel("session", nil)
			if err != nil {
				t.Fatal(err)
			}
			sshtest.Request(t, channel, "shell", nil)
			for range requests { // until the channel is closed
			}
		})
	}
}

// A client that does not read from its socket at all is not waited for, whatever is to be told to it. This takes
// real time, if little: x/crypto holds locks over such a write.
func TestSocketThatNobodyReads(t *testing.T) {
	for _, tt := range []struct {
		name string
		h    ssh.Handler
		act  func(w *wire, v *visitor)
	}{
		{"output", func(sess ssh.Session) { _ = pour(sess) }, begin},
		{"output on stderr", func(sess ssh.Session) { _ = pour(sess.Stderr()) }, begin},
		{"exit status", func(sess ssh.Session) { _ = sess.Exit(1) }, begin},
		{"end of output", func(sess ssh.Session) { _ = sess.CloseWrite() }, begin},
		{"close", func(sess ssh.Session) { _ = sess.Close() }, begin},
		{"reply", untilGone, func(w *wire, v *visitor) {
			w.ToClient.Fill()
			_, _ = v.SendRequest("env", true, env("A", "b"))
		}},
		{"new channel", untilGone, func(w *wire, _ *visitor) {
			w.ToClient.Fill()
			_, _, _ = w.client.OpenChannel("session", nil)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			full := make(chan struct{})
			h := func(sess ssh.Session) { <-full; tt.h(sess) }
			w := newWire(t, handler(h), &session.Channels{WriteTimeout: 5 * time.Millisecond})
			v := open(t, w.client)
			if sent, err := v.SendRequest("pty-req", true, pty("xterm", 80, 24, "")); !sent || err != nil {
				t.Fatal(sent, err)
			}
			go func() {
				defer close(full)
				tt.act(w, v)
			}()
			<-w.Done
			<-full
		})
	}
}

// begin asks for a shell, and then no more is read.
func begin(w *wire, v *visitor) {
	_, _ = v.SendRequest("shell", true, nil)
	w.ToClient.Fill()
}

func TestSlowReader(t *testing.T) {
	text := bytes.Repeat([]byte("0123456789abcdef"), 8<<20/16)
	synctest.Test(t, func(t *testing.T) {
		w := newWire(t, handler(func(sess ssh.Session) {
			if n, err := sess.Write(text); n != len(text) || err != nil {
				t.Errorf("wrote %d of %d bytes: %v", n, len(text), err)
			}
		}), nil)
		channel, requests, err := w.client.OpenChannel("session", nil)
		if err != nil {
			t.Fatal(err)
		}
		sshtest.Request(t, channel, "shell", nil)
		var got bytes.Buffer
		for err == nil {
			time.Sleep(session.DefaultWriteTimeout * 9 / 10) // in the bubble's time
			_, err = io.CopyN(&got, channel, 128<<10)
		}
		for range requests { // until the channel is closed
		}
		if !bytes.Equal(got.Bytes(), text) {
			t.Errorf("the client got %d of %d bytes", got.Len(), len(text))
		}
	})
}

func TestWriteToAClosedChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire(t, handler(func(sess ssh.Session) {
			switch sess.RawCommand() {
			case "exit":
				_ = sess.Exit(0)
			case "end":
				_ = sess.CloseWrite()
			default:
				<-sess.Context().Done() // the client closes the channel
			}
			for _, w := range []io.Writer{sess, sess.Stderr()} {
				if n, err := io.WriteString(w, "more"); n != 0 || err == nil {
					t.Errorf("%q: wrote %d bytes, and no error", sess.RawCommand(), n)
				}
			}
		}), nil)
		for _, command := range []string{"exit", "end", "hang up"} {
			v := open(t, w.client)
			v.ask(t, "exec", str(command))
			if command == "hang up" {
				_ = v.Close()
			}
			<-v.done
		}
	})
}

// A person sees what is written to stderr before what follows on stdout.
func TestSettle(t *testing.T) {
	talk := func(sess ssh.Session) {
		for i := range 3 {
			_, _ = fmt.Fprintf(sess.Stderr(), "err%d ", i)
			_, _ = fmt.Fprintf(sess, "out%d ", i)
			_, _ = io.WriteString(sess, "more ")
		}
	}
	for _, tt := range []struct {
		name   string
		term   string
		mute   bool
		asked  int
		refuse bool
	}{
		{name: "a program", asked: 0},
		{name: "a person", term: "xterm", asked: 3},
		{name: "a person whose PTY was refused", term: "xterm", refuse: true, asked: 3},
		{name: "a client that does not answer", term: "xterm", mute: true, asked: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := handler(talk)
				srv.PtyCallback = func(ssh.Context, ssh.Pty) bool { return !tt.refuse }
				w := newWire(t, srv, nil)
				v := open(t, w.client)
				v.mute = tt.mute
				if tt.term != "" {
					v.ask(t, "pty-req", pty(tt.term, 80, 24, ""))
				}
				v.ask(t, "shell", nil)
				<-v.done
				asked := strings.Count(strings.Join(v.events(), "\n"), "keepalive@openssh.com")
				if asked != tt.asked {
					t.Errorf("the client was asked %d times, want %d", asked, tt.asked)
				}
				stdout, stderr := v.read("stdout"), v.read("stderr")
				if stdout != "out0 more out1 more out2 more " || stderr != "err0 err1 err2 " {
					t.Errorf("the client got %q and %q", stdout, stderr)
				}
			})
		})
	}
}

// A client that never answers and never reads on has its session ended all the same.
func TestSettleAndHangUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire(t, handler(func(sess ssh.Session) {
			_, _ = io.WriteString(sess.Stderr(), "err")
			_, _ = io.WriteString(sess, "out")
		}), nil)
		v := open(t, w.client)
		v.ask(t, "pty-req", pty("xterm", 80, 24, ""))
		w.ToClient.Hold(true)
		_, _ = v.SendRequest("shell", false, nil)
		synctest.Wait()
		if got := v.events(); slices.Contains(got, "stdout out") {
			t.Errorf("the client saw %q", got)
		}
		w.hangUp()
	})
}
