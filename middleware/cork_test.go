package middleware_test

import (
	"io"
	"net"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
	"foyer/middleware/sshtest"
)

// writes are what a server writes to a connection, by their lengths.
type writes struct {
	mu      sync.Mutex
	lengths []int
}

func (w *writes) layer() middleware.Layer {
	return middleware.Layer{Server: middleware.Hooks{Accept: func(_ ssh.Context, conn net.Conn) net.Conn {
		return &noted{conn, w}
	}}.Add}
}

// rest returns what was written since it was last asked for, once all is written that will be.
func (w *writes) rest() []int {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	lengths := w.lengths
	w.lengths = nil
	return lengths
}

type noted struct {
	net.Conn
	to *writes
}

func (n *noted) Write(p []byte) (int, error) {
	n.to.mu.Lock()
	n.to.lengths = append(n.to.lengths, len(p))
	n.to.mu.Unlock()
	return n.Conn.Write(p)
}

// corked is a door behind which packets wait for one another, or do not.
func corked(t *testing.T, handler ssh.Handler, cork bool) (*wire, *writes) {
	to := &writes{}
	layers := []middleware.Layer{to.layer(), middleware.Cork(), middleware.Open()}
	if !cork {
		layers = slices.Delete(layers, 1, 2)
	}
	return newWire(t, door(t, handler, layers...)), to
}

func sum(lengths []int) (total int) {
	for _, n := range lengths {
		total += n
	}
	return total
}

// What ends a key exchange is one write, and so is a session, with not a byte more or less.
func TestCork(t *testing.T) {
	for name, extensions := range map[string]bool{"with SSH_MSG_EXT_INFO": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			visit := func(t *testing.T, cork bool) (greeting, session []int) {
				synctest.Test(t, func(t *testing.T) {
					w, to := corked(t, whoami, cork)
					if extensions {
						client := w.client(t)
						greeting = to.rest()
						began := time.Now()
						expect(t, sshtest.Run(t, client, sshtest.Visit{}), sshtest.Result{Stdout: "guest"})
						if took := time.Since(began); took > 0 {
							t.Errorf("a session waits for %s", took)
						}
					} else {
						c := w.enter(t)
						greeting = to.rest()
						if refused := openSession(t, c, 0); refused != "" {
							t.Fatal(refused)
						}
						mustWrite(t, c, request(0, "shell"))
						if _, err := c.Await(sshtest.MsgChannelClose); err != nil {
							t.Fatal(err)
						}
					}
					session = to.rest()
				})
				return greeting, session
			}
			loose, looseSession := visit(t, false)
			tight, tightSession := visit(t, true)
			fewer := 1
			if extensions {
				fewer = 2
			}
			if len(tight) != len(loose)-fewer || sum(tight) != sum(loose) {
				t.Errorf("a login writes %v, and without waiting %v", tight, loose)
			}
			// After the confirmation of its channel there are the reply, for who wants one, the name, the status, EOF and close.
			if len(looseSession) < 5 || len(tightSession) != 2 || tightSession[0] != looseSession[0] ||
				sum(tightSession) != sum(looseSession) {
				t.Errorf("a session writes %v, and without waiting %v", tightSession, looseSession)
			}
		})
	}
}

// A session that has lasted ends in one write too.
func TestCorkEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, to := corked(t, func(ssh.Session) { time.Sleep(time.Minute) }, true)
		client := w.client(t)
		to.rest()
		sshtest.Run(t, client, sshtest.Visit{})
		if got := to.rest(); len(got) != 3 {
			t.Errorf("%v is written: not a confirmation, a reply and an end", got)
		}
	})
}

// What a handler says arrives at once where it waits for the client then, and a moment later where it does something else.
func TestCorkKeepsNobodyWaiting(t *testing.T) {
	const long = time.Minute
	for name, test := range map[string]struct {
		then func(sess ssh.Session)
		most time.Duration
	}{
		"it waits for input": {func(sess ssh.Session) { _, _ = sess.Read(make([]byte, 1)) }, 0},
		"it waits for a reply": {func(sess ssh.Session) {
			_, _ = sess.SendRequest("are you there", true, nil)
			time.Sleep(long)
		}, 0},
		"it takes its time": {func(ssh.Session) { time.Sleep(long) }, time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, _ := corked(t, func(sess ssh.Session) {
					_, _ = io.WriteString(sess, "well?")
					test.then(sess)
				}, true)
				sess, err := w.client(t).NewSession()
				if err != nil {
					t.Fatal(err)
				}
				stdin, err := sess.StdinPipe()
				if err != nil {
					t.Fatal(err)
				}
				stdout, err := sess.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				if err := sess.Shell(); err != nil {
					t.Fatal(err)
				}
				said := make([]byte, len("well?"))
				if _, err := io.ReadFull(stdout, said); err != nil || string(said) != "well?" {
					t.Fatalf("%q, %v", said, err)
				}
				if took := time.Since(began); took > test.most {
					t.Errorf("it arrives %s after it was asked for", took)
				}
				if _, err := stdin.Write([]byte("!")); err != nil {
					t.Fatal(err)
				}
				if err := sess.Wait(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// What is refused is so at once.
func TestCorkRefusedRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refuses := middleware.Layer{Server: func(srv *ssh.Server) error {
			srv.SessionRequestCallback = func(ssh.Session, string) bool { return false }
			return nil
		}}
		w := newWire(t, door(t, whoami, refuses, middleware.Cork(), middleware.Open()))
		sess, err := w.client(t).NewSession()
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := sess.Shell(); err == nil {
			t.Error("it is not refused")
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("it takes %s", took)
		}
	})
}

// A handler that says something and hangs up is heard.
func TestCorkHangUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := corked(t, func(sess ssh.Session) {
			_, _ = io.WriteString(sess, "go away")
			_ = sess.Context().Value(ssh.ContextKeyConn).(*gossh.ServerConn).Close()
		}, true)
		if got := sshtest.Run(t, w.client(t), sshtest.Visit{}); got.Stdout != "go away" {
			t.Errorf("it is heard as %+v", got)
		}
	})
}

// New keys are exchanged, and sessions end, as often as the client likes.
func TestCorkAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := corked(t, whoami, true)
		c := w.enter(t)
		for id := range uint32(5) {
			if err := c.Keys(sshtest.Curve25519); err != nil {
				t.Fatal(err)
			}
			if refused := openSession(t, c, id); refused != "" {
				t.Fatal(refused)
			}
			mustWrite(t, c, request(id, "shell"))
			if _, err := c.Await(sshtest.MsgChannelClose); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A client that says all it has to say before it listens is heard out, whatever the server has to say meanwhile: who
// reads does not wait for who writes. (Not in a bubble: who waits for a mutex keeps its time from passing.)
func TestCorkReads(t *testing.T) {
	const much = 1 << 20 // more than is ever underway
	talks := func(sess ssh.Session) { _, _ = sess.Write(make([]byte, much)) }
	w := newWire(t, door(t, talks, middleware.Cork(), middleware.Open()))
	c := w.enter(t)
	if refused := openSession(t, c, 0); refused != "" {
		t.Fatal(refused)
	}
	mustWrite(t, c, request(0, "shell"))
	said := make(chan struct{})
	go func() {
		defer close(said)
		for range much / (1 << 15) {
			_ = c.Write(gossh.Marshal(struct {
				Channel uint32 `sshtype:"94"`
				Data    []byte
			}{0, make([]byte, 1<<15)}))
		}
	}()
	receive(t, said)
	if _, err := c.Await(sshtest.MsgChannelClose); err != nil {
		t.Error(err)
	}
}

// Whoever reads while a write is stuck, and packets wait behind it, leaves no goroutine behind each time.
func TestCorkReadsWhileStuck(t *testing.T) {
	const reads = 1000
	heard := make(chan struct{})
	w := newWire(t, door(t, func(sess ssh.Session) {
		if sess.RawCommand() != "" {
			<-sess.Context().Done()
			return
		}
		go func() {
			for {
				if _, err := sess.Write(make([]byte, 1<<15)); err != nil {
					return
				}
			}
		}()
		for range reads {
			_, _ = sess.Read(make([]byte, 1))
		}
		close(heard)
		<-sess.Context().Done()
	}, middleware.Cork(), middleware.Open()))
	c := w.enter(t)
	for id := range uint32(2) {
		if refused := openSession(t, c, id); refused != "" {
			t.Fatal(refused)
		}
	}
	moment := func() { time.Sleep(50 * time.Millisecond) }
	mustWrite(t, c, request(0, "shell"))
	moment() // until it is stuck
	mustWrite(t, c, gossh.Marshal(struct {
		Channel   uint32 `sshtype:"98"`
		Type      string
		WantReply bool
		Command   string
	}{1, "exec", false, "wait"}))
	moment()
	for range 4 { // whereupon the second session corks, and the first is stuck again
		if _, err := c.Read(); err != nil {
			t.Fatal(err)
		}
	}
	moment()
	before := runtime.NumGoroutine()
	mustWrite(t, c, gossh.Marshal(struct {
		Channel uint32 `sshtype:"94"`
		Data    []byte
	}{0, make([]byte, reads)}))
	receive(t, heard)
	if more := runtime.NumGoroutine() - before; more > 10 {
		t.Errorf("%d goroutines more after %d reads", more, reads)
	}
	_ = w.Close()
}

// Where half of what was held got through, nothing follows it.
func TestCorkBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &writes{}
		broken := middleware.Layer{Server: middleware.Hooks{Accept: func(_ ssh.Context, conn net.Conn) net.Conn {
			return &breaks{Conn: conn, at: 100} // the end of a session, which is longer than its beginning
		}}.Add}
		w := newWire(t, door(t, func(ssh.Session) {}, to.layer(), broken, middleware.Cork(), middleware.Open()))
		c := w.enter(t)
		if refused := openSession(t, c, 0); refused != "" {
			t.Fatal(refused)
		}
		to.rest()
		mustWrite(t, c, request(0, "shell"))
		synctest.Wait()
		mustWrite(t, c, opening("session", 1)) // which would be answered
		if got := to.rest(); len(got) != 1 {
			t.Errorf("%v is written, of which the first is half of a packet", got)
		}
	})
}

// breaks is a connection on which one write fails half-way: the first, once somebody is in, of more than so many bytes.
type breaks struct {
	net.Conn
	at     int
	writes int
}

func (b *breaks) Write(p []byte) (int, error) {
	if b.writes++; b.writes > 4 && len(p) > b.at {
		n, _ := b.Conn.Write(p[:b.at])
		b.at = 1 << 30
		return n, io.ErrShortWrite
	}
	return b.Conn.Write(p)
}

// A session that does not close its channel once it has sent its status, or that has none, keeps nothing back.
func TestCorkLetsGo(t *testing.T) {
	status := func(channel gossh.Channel) { _, _ = channel.SendRequest("exit-status", false, []byte{0, 0, 0, 3}) }
	for name, end := range map[string]func(channel gossh.Channel, heard <-chan struct{}){
		"a status and no close": func(channel gossh.Channel, heard <-chan struct{}) {
			status(channel)
			<-heard
			_ = channel.Close()
		},
		"much after the status": func(channel gossh.Channel, _ <-chan struct{}) {
			status(channel)
			_, _ = channel.Write(make([]byte, 1<<20))
			_ = channel.Close()
		},
		"a close and no status": func(channel gossh.Channel, _ <-chan struct{}) {
			_, _ = channel.Write([]byte("bye"))
			_ = channel.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				heard := make(chan struct{})
				mine := middleware.Layer{Server: func(srv *ssh.Server) error {
					srv.ChannelHandlers["session"] = func(_ *ssh.Server, _ *gossh.ServerConn, opened gossh.NewChannel, _ ssh.Context) {
						if channel, _, err := opened.Accept(); err == nil {
							end(channel, heard)
						}
					}
					return nil
				}}
				to := &writes{}
				w := newWire(t, door(t, whoami, mine, to.layer(), middleware.Cork(), middleware.Open()))
				began := time.Now()
				channel, requests, err := w.client(t).OpenChannel("session", nil)
				if err != nil {
					t.Fatal(err)
				}
				go func() { _, _ = io.Copy(io.Discard, channel) }()
				for range requests {
					close(heard)
				}
				if took := time.Since(began); took > time.Millisecond {
					t.Errorf("it took %s", took)
				}
				if most := slices.Max(to.rest()); most > 36_000 { // a packet and a bit
					t.Errorf("%d bytes have waited", most)
				}
			})
		})
	}
}
