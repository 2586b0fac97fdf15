package session_test

import (
	"context"
	"errors"
	"io"
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

// silent is a log that nobody reads.
type silent struct{}

func (silent) Warn(any, ...any) {}

func newTally() *counters.Counters { return counters.New(counters.Config{Logger: silent{}}) }

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
	for w.toClient.step() {
	}
	return v.events()[before:]
}

const lasted = "This session has lasted 10 minutes, which is as long as one may here."

// A session ends when its time is over, in words, whatever its handler makes of that.
func TestLifetime(t *testing.T) {
	for _, tt := range []struct {
		name, term string
		lifetime   time.Duration
		stderr     string
	}{
		{"a program", "", 0, lasted + "\n"},
		{"a terminal", "xterm", 0, lasted + "\r\n"},
		{"a terminal that was refused", "dumb", 0, lasted + "\r\n"},
		{"a minute", "", time.Minute, "This session has lasted 1 minute, which is as long as one may here.\n"},
		{"seconds", "", 95 * time.Second, "This session has lasted 95 seconds, which is as long as one may here.\n"},
		{"less", "", 300 * time.Millisecond, "This session has lasted 1 second, which is as long as one may here.\n"},
		{"a bit more", "", 1300 * time.Millisecond, "This session has lasted 1 second, which is as long as one may here.\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ended := make(chan session.Facts, 1)
				srv := handler(func(sess ssh.Session) {
					<-sess.Context().Done()
					if _, err := io.WriteString(sess, "more"); err == nil || err.Error() != "the session's time is over" {
						t.Errorf("a write ended with %v", err)
					}
					if sess.Exit(0) == nil {
						t.Error("the session has exited twice")
					}
					ended <- session.Of(sess)
				})
				srv.PtyCallback = func(_ ssh.Context, pty ssh.Pty) bool { return pty.Term != "dumb" }
				counts := newTally()
				w := newWire(t, srv, &session.Channels{Lifetime: tt.lifetime, Counters: counts})
				v := open(t, w.client)
				if tt.term != "" {
					v.ask(t, "pty-req", pty(tt.term, 80, 24, ""))
				}
				v.ask(t, "shell", nil)
				w.toClient.hold(true)
				lifetime := max(tt.lifetime, 0)
				if lifetime == 0 {
					lifetime = 10 * time.Minute
				}
				time.Sleep(lifetime - time.Nanosecond)
				if got := w.steps(v); len(got) > 0 {
					t.Errorf("before its time was over the client saw %q", got)
				}
				time.Sleep(time.Nanosecond)
				want := []string{"stderr " + tt.stderr, "exit-status 1", "EOF", "close"}
				if got := w.steps(v); !slices.Equal(got, want) {
					t.Errorf("the client saw %q, want %q", got, want)
				}
				facts := <-ended
				if facts.Err == nil || facts.Err.Error() != "the session's time is over" || !facts.Exited || facts.Status != 1 {
					t.Errorf("the facts are %+v", facts)
				}
				wantCounts(t, counts, counters.SessionTime)
			})
		})
	}
}

// Who has not asked for anything is not told anything either.
func TestLifetimeWithoutARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counts := newTally()
		w := newWire(t, handler(untilGone), &session.Channels{Counters: counts})
		v := open(t, w.client)
		v.ask(t, "env", env("A", "b"))
		w.toClient.hold(true)
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
				counts := newTally()
				w := newWire(t, handler(h), &session.Channels{Lifetime: lifetime, Counters: counts})
				begun := time.Now()
				v := open(t, w.client)
				w.toClient.hold(true)
				if h != nil {
					_, _ = v.SendRequest("shell", false, nil)
				}
				<-w.hungUp
				if took, want := time.Since(begun), lifetime+2*session.DefaultWriteTimeout; took != want {
					t.Errorf("it took %v, want %v", took, want)
				}
				wantCounts(t, counts, counters.SessionTime)
			})
		})
	}
}

// The time of a session that is over is nobody's.
func TestLifetimeOfOtherSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counts := newTally()
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
	channels := &session.Channels{}
	w := newWire(t, handler(func(sess ssh.Session) {
		n, err := sess.Stderr().Write(make([]byte, 64<<20))
		if n == 64<<20 || err == nil || err.Error() != "the server is closing" {
			t.Errorf("wrote %d bytes, and %v", n, err)
		}
	}), channels)
	channel, requests, err := w.client.OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	go gossh.DiscardRequests(requests)
	_, _ = channel.SendRequest("shell", true, nil)
	var all strings.Builder
	_, _ = io.CopyN(&all, channel.Stderr(), 128<<10) // the rest is more than the window
	ended := make(chan error)
	go func() { ended <- channels.End(t.Context(), "This server is closing.") }()
	_, _ = io.Copy(&all, channel.Stderr())
	if !strings.HasSuffix(all.String(), "\x00This server is closing.\n") {
		t.Errorf("the client got %d bytes that end in %q", all.Len(), all.String()[max(0, all.Len()-100):])
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// What a session was ended for first is what it was ended for, whatever comes on top of it.
func TestLifetimeOfASessionThatNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended, counts := make(chan error, 1), newTally()
		w := newWire(t, handler(func(sess ssh.Session) {
			_ = pour(sess)
			ended <- session.Of(sess).Err
		}), &session.Channels{Lifetime: 5 * time.Second, Counters: counts})
		channel, requests, err := w.client.OpenChannel("session", nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = channel.SendRequest("shell", true, nil)
		gossh.DiscardRequests(requests) // until the channel is closed
		if err := <-ended; err == nil || err.Error() != "the session's time is over" {
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
		w.toClient.hold(true)
		close(exit)
		synctest.Wait()
		if n := ours(t); n != sessions {
			t.Errorf("%d sessions hold %d goroutines", sessions, n)
		}
		<-w.hungUp
		synctest.Wait()
		if n := ours(t); n != 0 {
			t.Errorf("%d goroutines are left", n)
		}
	})
}

// End tells everybody who has asked for something, at once, and nobody is let in any more.
func TestEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		channels, errs := &session.Channels{}, make(chan error, 3)
		w := newWire(t, handler(func(sess ssh.Session) {
			<-sess.Context().Done()
			errs <- session.Of(sess).Err
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
		if err := channels.End(t.Context(), "This server is closing."); err != nil {
			t.Error(err)
		}
		for i, want := range []string{"This server is closing.\n", "This server is closing.\r\n", ""} {
			<-visitors[i].done
			got, failed := visitors[i].read("stderr"), slices.Contains(visitors[i].events(), "exit-status 1")
			if got != want || failed != (want != "") {
				t.Errorf("the client saw %q, want %q", visitors[i].events(), want)
			}
		}
		for range 2 {
			if err := <-errs; err == nil || err.Error() != "the server is closing" {
				t.Errorf("a session was given up with %v", err)
			}
		}
		if !refused(t, w.client) {
			t.Error("a session was taken after End")
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
		limit, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		ended := make(chan error)
		go func() { ended <- channels.End(limit, "This server is closing.") }()
		synctest.Wait()
		close(opening)
		if err := <-ended; err != nil {
			t.Error(err)
		}
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

// A session that has exited by itself has not been ended by anybody else.
func TestEndOfASessionThatHasExited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		channels, exited, finish := &session.Channels{}, make(chan struct{}), make(chan struct{})
		w := newWire(t, handler(func(sess ssh.Session) {
			_ = sess.Exit(0)
			close(exited)
			<-finish
			if facts := session.Of(sess); facts.Err != nil || facts.Status != 0 {
				t.Errorf("the facts are %+v", facts)
			}
		}), channels)
		v := open(t, w.client)
		v.ask(t, "shell", nil)
		<-exited
		ended := make(chan error)
		go func() { ended <- channels.End(t.Context(), "This server is closing.") }()
		synctest.Wait()
		close(finish)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// A client that reads nothing, of its window or of TCP, neither keeps the last words from others nor End from ending.
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

	limit, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- channels.End(limit, "This server is closing.") }()
	<-v.done
	if got := v.read("stderr"); got != "This server is closing.\n" {
		t.Errorf("the client saw %q", got)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	for _, w := range []*wire{deaf, shut} {
		w.toServer.close(false) // as the server does when it has drained
		w.toClient.close(false)
		<-w.hungUp
	}
}

// Handle has a caller that counts sessions: it returns as soon as the channel is closed on both sides and nobody works
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
		w.toClient.hold(true)
		finish <- struct{}{}
		early("the client has not confirmed the close")
		w.toClient.hold(false)
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
			if err := channels.End(t.Context(), "This server is closing."); err != nil {
				t.Error(err)
			}
			_ = cmd.Wait()
			if cmd.ProcessState.ExitCode() != 1 || stdout.String() != "out" || stderr.String() != want {
				t.Errorf("exit status %d, %q, and %q", cmd.ProcessState.ExitCode(), stdout.String(), stderr.String())
			}
		})
	}
}
