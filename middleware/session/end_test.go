package session_test

import (
	"io"
	"log/slog"
	"maps"
	"net"
	"os/exec"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/eventlog/counters"
	"foyer/middleware/session"
)

// newCounters returns counters whose log nobody reads.
func newCounters() *counters.Counters {
	return counters.New(counters.Config{Logger: slog.New(slog.DiscardHandler)})
}

// wantCounts fails the test where other limits than these have bitten, or one more than once.
func wantCounts(t *testing.T, counts *counters.Counters, reasons ...counters.Reason) {
	t.Helper()
	want := map[counters.Reason]uint64{}
	for _, reason := range reasons {
		want[reason] = 1
	}
	got := counts.Counts()
	maps.DeleteFunc(got, func(_ counters.Reason, n uint64) bool { return n == 0 })
	if !maps.Equal(got, want) {
		t.Errorf("counted %v, want %v", got, want)
	}
}

// steps lets all through that is under way to the client, packet by packet, and returns what it has seen since.
func (w *wire) steps(v *visitor) []string {
	before := len(v.events())
	for w.ToClient.Step() {
	}
	return v.events()[before:]
}

// What [session.Info] and writes tell of a session that the server has ended.
const (
	timeIsOver = "session exceeded its lifetime"
	isClosing  = "the server is closing"
)

const lasted = "This session has lasted 10 minutes, which is the limit."

// A session ends in words when its time is over, whatever its handler does. What the handler writes until it returns comes
// before the words.
func TestLifetime(t *testing.T) {
	for _, tt := range []struct {
		name, term string
		lifetime   time.Duration
		stderr     string
	}{
		{"a program", "", 0, lasted + "\n"},
		{"a terminal", "xterm", 0, lasted + "\r\n"},
		{"a terminal that was refused", "dumb", 0, lasted + "\r\n"},
		{"a minute", "", time.Minute, "This session has lasted 1 minute, which is the limit.\n"},
		{"seconds", "", 95 * time.Second, "This session has lasted 95 seconds, which is the limit.\n"},
		{"less", "", 300 * time.Millisecond, "This session has lasted 1 second, which is the limit.\n"},
		{"a bit more", "", 1300 * time.Millisecond, "This session has lasted 1 second, which is the limit.\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ended := make(chan session.Info, 1)
				srv := handler(func(sess ssh.Session) {
					<-sess.Context().Done()
					if _, err := io.WriteString(sess, "more"); err != nil {
						t.Errorf("a write after the context has ended: %v", err)
					}
					if sess.Exit(0) == nil {
						t.Error("the session has exited twice")
					}
					if err := sess.Close(); err != nil {
						t.Errorf("close: %v", err)
					}
					ended <- session.InfoOf(sess)
				})
				srv.PtyCallback = func(_ ssh.Context, pty ssh.Pty) bool { return pty.Term != "dumb" }
				counts := newCounters()
				w := newWire(t, srv, &session.Channels{Lifetime: tt.lifetime, Counters: counts})
				v := open(t, w.client)
				if tt.term != "" {
					v.ask(t, "pty-req", pty(tt.term, 80, 24, ""))
				}
				v.ask(t, "shell", nil)
				w.ToClient.Hold(true)
				lifetime := max(tt.lifetime, 0)
				if lifetime == 0 {
					lifetime = 10 * time.Minute
				}
				time.Sleep(lifetime - time.Nanosecond)
				if got := w.steps(v); len(got) > 0 {
					t.Errorf("before its time was over the client saw %q", got)
				}
				time.Sleep(time.Nanosecond)
				want := []string{"stdout more", "stderr " + tt.stderr, "exit-status 1", "EOF", "close"}
				if got := w.steps(v); !slices.Equal(got, want) {
					t.Errorf("the client saw %q, want %q", got, want)
				}
				info := <-ended
				if info.Err == nil || info.Err.Error() != timeIsOver || !info.Exited || info.Status != 1 {
					t.Errorf("the handler was told %+v", info)
				}
				wantCounts(t, counts, counters.SessionTime)
			})
		})
	}
}

// With a negative lifetime a session may last for ever.
func TestNoLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counts := newCounters()
		w := newWire(t, handler(untilGone), &session.Channels{Lifetime: -1, Counters: counts})
		v := open(t, w.client)
		v.ask(t, "shell", nil)
		time.Sleep(100 * session.DefaultLifetime)
		if got, want := v.events(), []string{"shell yes"}; !slices.Equal(got, want) {
			t.Errorf("the client saw %q, want %q", got, want)
		}
		if !v.ask(t, "signal", str("INT")) {
			t.Error("the session has ended")
		}
		wantCounts(t, counts)
	})
}

// grace is how long a handler may go on writing once its context has ended.
const grace = 250 * time.Millisecond

// A handler that goes on after its context has ended delays the words by the grace and no more. What it writes within
// that time is heard before the words; later writes fail.
func TestHandlerGrace(t *testing.T) {
	words := []string{"stderr closing\n", "exit-status 1", "EOF", "close"}
	for _, tt := range []struct {
		name  string
		takes time.Duration // that the handler goes on
		heard []string      // until the grace is over
		after []string      // then
		err   string        // of the handler's last write
	}{
		{"returns at once", 0, slices.Concat([]string{"stdout bye", "stdout bye"}, words), nil, ""},
		{"takes less", grace - time.Millisecond, slices.Concat([]string{"stdout bye", "stdout bye"}, words), nil, ""},
		{"takes longer", time.Hour, []string{"stdout bye"}, words, isClosing},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				channels, written := &session.Channels{}, make(chan error, 2)
				w := newWire(t, handler(func(sess ssh.Session) {
					<-sess.Context().Done()
					for _, wait := range []time.Duration{0, tt.takes} {
						time.Sleep(wait)
						_, err := io.WriteString(sess, "bye")
						written <- err
					}
				}), channels)
				v := open(t, w.client)
				v.ask(t, "shell", nil)
				w.ToClient.Hold(true)
				if n := channels.End("closing"); n != 1 {
					t.Errorf("%d sessions were ended, want 1", n)
				}
				time.Sleep(grace - time.Nanosecond)
				if got := w.steps(v); !slices.Equal(got, tt.heard) {
					t.Errorf("within the grace the client saw %q, want %q", got, tt.heard)
				}
				time.Sleep(time.Nanosecond)
				if got := w.steps(v); !slices.Equal(got, tt.after) {
					t.Errorf("after the grace the client saw %q, want %q", got, tt.after)
				}
				if err := <-written; err != nil {
					t.Errorf("the first write ended with %v", err)
				}
				if err := <-written; err == nil && tt.err != "" || err != nil && err.Error() != tt.err {
					t.Errorf("the last write ended with %v, want %q", err, tt.err)
				}
			})
		})
	}
}

// A session in which nothing was asked for ends without words and without an exit status.
func TestLifetimeWithoutARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counts := newCounters()
		w := newWire(t, handler(untilGone), &session.Channels{Counters: counts})
		v := open(t, w.client)
		v.ask(t, "env", env("A", "b"))
		w.ToClient.Hold(true)
		time.Sleep(session.DefaultLifetime)
		if got, want := w.steps(v), []string{"EOF", "close"}; !slices.Equal(got, want) {
			t.Errorf("the client saw %q, want %q", got, want)
		}
		wantCounts(t, counts, counters.SessionTime)
	})
}

// A client that does not confirm the close loses the connection, for whatever reason there was a close to confirm.
func TestLifetimeThatNobodyConfirms(t *testing.T) {
	const lifetime = 603 * time.Second
	untilItsTimeIsOver := func(sess ssh.Session) {
		begun := time.Now()
		<-sess.Context().Done()
		if took := time.Since(begun); took != lifetime {
			t.Errorf("its context ended after %v, want %v", took, lifetime)
		}
	}
	for name, h := range map[string]ssh.Handler{
		"a session that goes on":     untilItsTimeIsOver,
		"a session that has ended":   func(ssh.Session) {},
		"a session that never began": nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				counts := newCounters()
				w := newWire(t, handler(h), &session.Channels{Lifetime: lifetime, Counters: counts})
				begun := time.Now()
				v := open(t, w.client)
				w.ToClient.Hold(true)
				if h != nil {
					_, _ = v.SendRequest("shell", false, nil)
				}
				<-w.Done
				if took, want := time.Since(begun), lifetime+2*session.DefaultWriteTimeout; took != want {
					t.Errorf("it took %v, want %v", took, want)
				}
				wantCounts(t, counts, counters.SessionTime)
			})
		})
	}
}

// A session that is over does not use up the time of the next one.
func TestLifetimeOfOtherSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counts := newCounters()
		w := newWire(t, handler(func(ssh.Session) {}), &session.Channels{Counters: counts})
		for range 3 {
			v := open(t, w.client)
			v.ask(t, "shell", nil)
			<-v.done
			time.Sleep(session.DefaultLifetime)
		}
		wantCounts(t, counts)
	})
}

// A handler that writes and writes does not keep the last words from a client that reads. This takes real time, if
// little, since they wait for a lock.
func TestEndAmongWrites(t *testing.T) {
	channels, ended := &session.Channels{}, make(chan error, 1)
	w := newWire(t, handler(func(sess ssh.Session) {
		for {
			if n, err := sess.Stderr().Write(make([]byte, 64<<20)); n < 64<<20 || err != nil {
				ended <- err
				return
			}
		}
	}), channels)
	channel, requests, err := w.client.OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	go gossh.DiscardRequests(requests)
	_, _ = channel.SendRequest("shell", true, nil)
	_, _ = io.CopyN(io.Discard, channel.Stderr(), 128<<10) // the rest is more than the window
	if n := channels.End("This server is closing."); n != 1 {
		t.Errorf("%d sessions were ended, want 1", n)
	}
	var last tail
	_, _ = io.Copy(&last, channel.Stderr())
	if !strings.HasSuffix(string(last), "\x00This server is closing.\n") {
		t.Errorf("what the client got ends in %q", last)
	}
	if err := <-ended; err == nil || err.Error() != isClosing {
		t.Errorf("the write ended with %v", err)
	}
}

// tail keeps the last hundred bytes that are written to it.
type tail []byte

func (t *tail) Write(p []byte) (int, error) {
	*t = append(*t, p...)
	*t = slices.Clone((*t)[max(0, len(*t)-100):])
	return len(p), nil
}

// The first reason to end a session is the one that is reported and counted.
func TestLifetimeOfASessionThatNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended, counts := make(chan error, 1), newCounters()
		w := newWire(t, handler(func(sess ssh.Session) {
			_ = pour(sess)
			ended <- session.InfoOf(sess).Err
		}), &session.Channels{Lifetime: 5 * time.Second, Counters: counts})
		channel, requests, err := w.client.OpenChannel("session", nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = channel.SendRequest("shell", true, nil)
		gossh.DiscardRequests(requests) // until the channel is closed
		if err := <-ended; err == nil || err.Error() != timeIsOver {
			t.Errorf("the session was given up with %v", err)
		}
		wantCounts(t, counts, counters.SessionTime)
	})
}

// A channel that takes longer to open than its session may last is closed when it is there.
func TestLifetimeBeforeTheChannelIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		channels, opening := &session.Channels{Lifetime: time.Second}, make(chan struct{})
		w := newWire(t, slowToOpen(channels, opening), nil)
		time.AfterFunc(2*time.Second, func() { close(opening) })
		_, requests, err := w.client.OpenChannel("session", nil)
		if err != nil {
			t.Fatal(err)
		}
		gossh.DiscardRequests(requests) // until the channel is closed
	})
}

// ours counts the goroutines that are in this package's code, or were started by it.
func ours(t *testing.T) (n int) {
	t.Helper()
	var stacks strings.Builder
	if err := pprof.Lookup("goroutine").WriteTo(&stacks, 1); err != nil {
		t.Fatal(err)
	}
	_, all, _ := strings.Cut(stacks.String(), "\n") // their number
	for stack := range strings.SplitSeq(all, "\n\n") {
		count, _, _ := strings.Cut(stack, " @")
		if many, err := strconv.Atoi(count); err == nil && strings.Contains(stack, "foyer/middleware/session.(") {
			n += many
		}
	}
	return n
}

// Two thousand sessions whose client confirms no close hold one goroutine each, and all are gone when their time is.
func TestUnconfirmedSessions(t *testing.T) {
	const sessions = 2000
	synctest.Test(t, func(t *testing.T) {
		exit := make(chan struct{})
		w := newWire(t, handler(func(ssh.Session) { <-exit }), nil)
		for range sessions {
			channel, _, err := w.client.OpenChannel("session", nil)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = channel.Write(make([]byte, 100))
			_, _ = channel.SendRequest("shell", true, nil)
		}
		synctest.Wait()
		if n := ours(t); n != 2*sessions {
			t.Errorf("%d sessions and their handlers take %d goroutines", sessions, n)
		}
		w.ToClient.Hold(true)
		close(exit)
		synctest.Wait()
		if n := ours(t); n != sessions {
			t.Errorf("%d sessions hold %d goroutines", sessions, n)
		}
		<-w.Done
		synctest.Wait()
		if n := ours(t); n != 0 {
			t.Errorf("%d goroutines are left", n)
		}
	})
}

// End ends all sessions at once, with words if something was asked for. Sessions that are accepted later are ended too.
func TestEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		channels, errs := &session.Channels{}, make(chan error, 3)
		w := newWire(t, handler(func(sess ssh.Session) {
			<-sess.Context().Done()
			errs <- session.InfoOf(sess).Err
		}), channels)
		var visitors []*visitor
		for _, term := range []string{"", "xterm", "none"} {
			v := open(t, w.client)
			if term == "xterm" {
				v.ask(t, "pty-req", terminal)
			}
			if term != "none" {
				v.ask(t, "exec", str("ls"))
			}
			visitors = append(visitors, v)
		}
		if n := channels.End("This server is closing."); n != 3 {
			t.Errorf("%d sessions were ended, want 3", n)
		}
		for i, want := range []string{"This server is closing.\n", "This server is closing.\r\n", ""} {
			<-visitors[i].done
			got, failed := visitors[i].read("stderr"), slices.Contains(visitors[i].events(), "exit-status 1")
			if got != want || failed != (want != "") {
				t.Errorf("the client saw %q, want %q", visitors[i].events(), want)
			}
		}
		for range 2 {
			if err := <-errs; err == nil || err.Error() != isClosing {
				t.Errorf("a session was given up with %v", err)
			}
		}
		late := open(t, w.client)
		<-late.done
		if got, want := late.events(), []string{"EOF", "close"}; !slices.Equal(got, want) {
			t.Errorf("a client that came after End saw %q, want %q", got, want)
		}
	})
}

// A session that is being opened while others end is not forgotten.
func TestEndWhileASessionOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		channels, opening := &session.Channels{}, make(chan struct{})
		w := newWire(t, slowToOpen(channels, opening), nil)
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			_, requests, err := w.client.OpenChannel("session", nil)
			if err != nil {
				t.Error(err)
			}
			gossh.DiscardRequests(requests) // until the channel is closed
		}()
		synctest.Wait()
		if n := channels.End("This server is closing."); n != 0 {
			t.Errorf("%d sessions were ended, want 0", n)
		}
		close(opening)
		<-closed
	})
}

// slowToOpen is a server whose channels take until opened is closed.
func slowToOpen(channels *session.Channels, opened <-chan struct{}) *ssh.Server {
	srv := handler(untilGone)
	srv.ChannelHandlers = map[string]ssh.ChannelHandler{
		"session": func(srv *ssh.Server, conn *gossh.ServerConn, channel gossh.NewChannel, ctx ssh.Context) {
			channels.Handle(srv, conn, slowChannel{channel, opened}, ctx)
		},
	}
	return srv
}

// slowChannel takes until opened is closed to accept.
type slowChannel struct {
	gossh.NewChannel
	opened <-chan struct{}
}

func (c slowChannel) Accept() (gossh.Channel, <-chan *gossh.Request, error) {
	<-c.opened
	return c.NewChannel.Accept()
}

// End does nothing to a session that has exited by itself.
func TestEndOfASessionThatHasExited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		channels, exit, exited, finish := &session.Channels{}, make(chan struct{}), make(chan struct{}), make(chan struct{})
		w := newWire(t, handler(func(sess ssh.Session) {
			<-exit
			_ = sess.Exit(0)
			close(exited)
			<-finish
			if info := session.InfoOf(sess); info.Err != nil || info.Status != 0 {
				t.Errorf("the handler was told %+v", info)
			}
		}), channels)
		v := open(t, w.client)
		v.ask(t, "shell", nil)
		w.ToClient.Hold(true) // one packet at a time: the order is exact
		close(exit)
		<-exited
		channels.End("This server is closing.")
		synctest.Wait()
		close(finish)
		if got, want := w.steps(v), []string{"exit-status 0", "EOF", "close"}; !slices.Equal(got, want) {
			t.Errorf("the client saw %q, want %q", got, want)
		}
	})
}

// A client that reads nothing, of its window or of TCP, neither keeps the last words from others nor End from returning.
// This takes real time, if little: x/crypto holds locks over a write that is stuck.
func TestEndBesideThoseWhoReadNothing(t *testing.T) {
	channels := &session.Channels{WriteTimeout: 5 * time.Minute}
	talking := make(chan struct{}, 2)
	talk := func(sess ssh.Session) { talking <- struct{}{}; _ = pour(sess.Stderr()) }
	deaf := newWire(t, handler(talk), channels)
	shut := newWire(t, handler(talk), channels)
	well := newWire(t, handler(untilGone), channels)
	channel, _, err := deaf.client.OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = channel.SendRequest("shell", true, nil) // and nobody reads
	begin(shut, open(t, shut.client))
	<-talking
	<-talking
	v := open(t, well.client)
	v.ask(t, "shell", nil)

	if n := channels.End("This server is closing."); n != 3 {
		t.Errorf("%d sessions were ended, want 3", n)
	}
	<-v.done
	if got := v.read("stderr"); got != "This server is closing.\n" {
		t.Errorf("the client saw %q", got)
	}
	for _, w := range []*wire{deaf, shut} {
		w.ToServer.CloseWrite() // as the server does when it has drained
		w.ToClient.CloseWrite()
		<-w.Done
	}
}

// The caller of Handle counts sessions. Handle returns as soon as the channel is closed on both sides and nobody works
// on it any more, and not before.
func TestHandleReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		channels, returned, finish := &session.Channels{}, make(chan struct{}, 1), make(chan struct{})
		srv := handler(func(ssh.Session) { <-finish })
		srv.ChannelHandlers = map[string]ssh.ChannelHandler{
			"session": func(srv *ssh.Server, conn *gossh.ServerConn, opened gossh.NewChannel, ctx ssh.Context) {
				channels.Handle(srv, conn, opened, ctx)
				returned <- struct{}{}
			},
		}
		w := newWire(t, srv, nil)
		early := func(when string) {
			t.Helper()
			if synctest.Wait(); len(returned) > 0 {
				t.Fatalf("%s: it has returned", when)
			}
		}
		v := open(t, w.client)
		early("the channel is open")
		v.ask(t, "shell", nil)
		w.ToClient.Hold(true)
		finish <- struct{}{}
		early("the client has not confirmed the close")
		w.ToClient.Hold(false)
		<-returned

		v = open(t, w.client)
		v.ask(t, "shell", nil)
		_ = v.Close()
		early("the handler goes on")
		finish <- struct{}{}
		<-returned
	})
}

// The real ssh shows the last words, at a terminal and without one.
func TestEndOfSSH(t *testing.T) {
	bin, err := exec.LookPath("ssh")
	if err != nil {
		t.Skip("ssh is not installed")
	}
	for option, want := range map[string]string{"-T": "This server is closing.\n", "-tt": "This server is closing.\r\n"} {
		t.Run(option, func(t *testing.T) {
			channels, begun := &session.Channels{}, make(chan struct{})
			srv := serve(t, channels, func(sess ssh.Session) {
				_, _ = io.WriteString(sess, "out")
				close(begun)
				<-sess.Context().Done()
			})
			host, port, err := net.SplitHostPort(srv.Address)
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), bin, "-F", "none", "-q", option, "-o", "BatchMode=yes",
				"-o", "IdentityAgent=none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
				"-p", port, "guest@"+host)
			var stdout, stderr strings.Builder
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			cmd.WaitDelay = time.Second
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			<-begun
			channels.End("This server is closing.")
			_ = cmd.Wait()
			if cmd.ProcessState.ExitCode() != 1 || stdout.String() != "out" || stderr.String() != want {
				t.Errorf("exit status %d, %q, and %q", cmd.ProcessState.ExitCode(), stdout.String(), stderr.String())
			}
		})
	}
}
