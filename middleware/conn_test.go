package middleware_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
	"foyer/middleware/sshtest"
)

// diary is what layers tell of their moments, in order.
type diary struct {
	mu      sync.Mutex
	entries []string
	closed  chan struct{} // one for each Closed
}

func newDiary() *diary { return &diary{closed: make(chan struct{}, 1000)} }

func (d *diary) write(entry string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries = append(d.entries, entry)
}

// read returns what was written since it was last read, once layers have heard of an end closed times.
func (d *diary) read(t *testing.T, closed int) string {
	t.Helper()
	for range closed {
		sshtest.Receive(t, d.closed)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	text := strings.Join(d.entries, ", ")
	d.entries = nil
	return text
}

// layer returns a layer that writes down all its moments. Its Connect returns what connect does, if that is not nil.
func (d *diary) layer(name string, connect func() error) middleware.Layer {
	note := func(entry string) { d.write(name + " " + entry) }
	return middleware.Layer{
		Name:   name,
		Server: func(*ssh.Server) error { note("server"); return nil },
		Connect: func(*middleware.Conn) (middleware.Moments, error) {
			note("connect")
			if connect != nil {
				if err := connect(); err != nil {
					return middleware.Moments{}, err
				}
			}
			return middleware.Moments{
				Configure: func(*gossh.ServerConfig) { note("configure") },
				Stage:     func(stage middleware.Stage) { note(fmt.Sprint("stage ", int(stage))) },
				Attempt:   func(a middleware.Attempt) { note("attempt " + a.Method) },
				Terminal:  func(ssh.Pty) bool { note("terminal"); return true },
				Open: func(c gossh.NewChannel, sessions int) error {
					note(fmt.Sprint("open ", c.ChannelType(), " ", sessions))
					return nil
				},
				Left: func(kind string) { note("left " + kind) },
				Work: func(kind middleware.Work, n int) error {
					if kind == middleware.KeyExchange || kind == middleware.GlobalRequest {
						note(fmt.Sprint("work ", int(kind), " ", n))
					}
					return nil
				},
				Closed: func(err error) {
					entry := "closed"
					if err != nil {
						entry += ": " + err.Error()
					}
					note(entry)
					d.closed <- struct{}{}
				},
			}, nil
		},
		Session: func(next ssh.Handler) ssh.Handler {
			return func(sess ssh.Session) { note("session"); next(sess) }
		},
	}
}

// The list's order holds for every moment, and only the end is told in reverse.
func TestOrderOfMoments(t *testing.T) {
	d := newDiary()
	srv := sshtest.Serve(t, d.layer("a", nil), middleware.Open(), d.layer("b", nil), d.layer("c", nil), middleware.Handler("test", whoami))
	client := enter(t, srv, "")
	if _, _, err := client.SendRequest("x", true, nil); err != nil {
		t.Fatal(err)
	}
	sshtest.Run(t, client, sshtest.Visit{Term: "xterm"})
	_ = client.Close()
	var want []string
	for _, moment := range []string{
		"server", "connect", "stage 1", "configure", "work 2 1", "stage 2", "stage 3", "attempt none", "work 3 1", "open session 1",
		"terminal", "session", "left session",
	} {
		for _, name := range []string{"a", "b", "c"} {
			want = append(want, name+" "+moment)
		}
	}
	want = append(want, "c closed", "b closed", "a closed")
	if got := d.read(t, 3); got != strings.Join(want, ", ") {
		t.Errorf("the layers tell\n%s, want\n%s", got, strings.Join(want, ", "))
	}
}

// However a connection ends, the layers that let it in hear of it, once, and no others do.
func TestClosed(t *testing.T) {
	refuse := func() error { return errors.New("no") }
	fail := func() error { panic("boom") }
	configure := configures(func(*gossh.ServerConfig) { panic("boom") })
	deaf := middleware.Layer{Connect: func(*middleware.Conn) (middleware.Moments, error) {
		return middleware.Moments{Closed: func(error) { panic("boom") }}, nil
	}}
	const hungUp = "hung up before the handshake was over"
	for _, tt := range []struct {
		name  string
		inner func(*diary) middleware.Layer
		knock string // what the client sends
		want  string
	}{
		{"refused", func(d *diary) middleware.Layer { return d.layer("c", refuse) }, "",
			"a connect, b connect, c connect, b closed: " + hungUp + ", a closed: " + hungUp},
		{"a panic in Connect", func(d *diary) middleware.Layer { return d.layer("c", fail) }, "",
			"a connect, b connect, c connect, b closed: " + hungUp + ", a closed: " + hungUp},
		{"a panic in Configure", func(*diary) middleware.Layer { return configure }, "xx",
			"a connect, b connect, a stage 1, b stage 1, a configure, b configure, b closed: " + hungUp + ", a closed: " + hungUp},
		{"a panic in Closed", func(*diary) middleware.Layer { return deaf }, strings.Repeat("x", 300),
			"a connect, b connect, a stage 1, b stage 1, a configure, b configure, " +
				"b closed: ssh: overflow reading version string, a closed: ssh: overflow reading version string"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			captureLibraryLog(t)
			d := newDiary()
			srv := sshtest.Serve(t, d.layer("a", nil), middleware.Open(), d.layer("b", nil), tt.inner(d), middleware.Handler("test", whoami))
			d.read(t, 0)
			for range 2 { // the server lives on
				conn := srv.DialTCP(t)
				_, _ = io.WriteString(conn, tt.knock)
				_, _ = io.Copy(io.Discard, conn) // until it hangs up
				if got := d.read(t, 2); got != tt.want {
					t.Errorf("the layers tell\n%s, want\n%s", got, tt.want)
				}
			}
			if len(d.closed) > 0 {
				t.Error("a layer heard of the end twice")
			}
		})
	}
}

// Closed is told of the connection that Connect was given, whatever happens on others.
func TestClosedUnderLoad(t *testing.T) {
	const visitors = 100
	type end struct {
		addr string
		err  error
	}
	ends := make(chan end, 2*visitors)
	noted := middleware.Layer{Connect: func(c *middleware.Conn) (middleware.Moments, error) {
		return middleware.Moments{Closed: func(err error) { ends <- end{c.RemoteAddr().String(), err} }}, nil
	}}
	srv := sshtest.Serve(t, noted, checks(func(_, password string) bool { return password == "right" }), middleware.Handler("test", whoami))

	var mu sync.Mutex
	want := map[string]string{} // errors by address
	atOnce(visitors, func(i int) {
		addr, err := knock(t, srv, i)
		mu.Lock()
		defer mu.Unlock()
		want[addr] = err
	})
	for range visitors {
		e := sshtest.Receive(t, ends)
		got := ""
		if e.err != nil {
			got = e.err.Error()
		}
		suffix, known := want[e.addr]
		delete(want, e.addr) // it ends once
		if !known || (suffix == "") != (got == "") || !strings.Contains(got, suffix) {
			t.Errorf("%s ended with %q, want %q", e.addr, got, suffix)
		}
	}
	if len(ends) > 0 {
		t.Errorf("%d ends too many", len(ends))
	}
}

// knock comes to a door in one of several ways, and returns from where and what the server must make of it.
func knock(t *testing.T, srv *sshtest.Server, i int) (addr, err string) {
	switch i % 4 {
	case 0:
		client := srv.DialRaw(t)
		defer func() { _ = client.Conn.Close() }()
		if in, err := client.Password("guest", "right"); !in {
			t.Errorf("not let in: %v", err)
		}
		return client.Conn.LocalAddr().String(), ""
	case 1:
		client := srv.DialRaw(t)
		defer func() { _ = client.Conn.Close() }()
		_, _ = client.Password("guest", "wrong")
		return client.Conn.LocalAddr().String(), "wrong password"
	case 2:
		conn := srv.DialTCP(t)
		_, _ = io.WriteString(conn, strings.Repeat("x", 300))
		_, _ = io.Copy(io.Discard, conn)
		return conn.LocalAddr().String(), "overflow reading version string"
	default:
		conn := srv.DialTCP(t)
		sshtest.HalfClose(conn)
		return conn.LocalAddr().String(), "EOF"
	}
}

// Beside what the server has already, the stack calls it first, and last at the end.
func TestStackBesideOthers(t *testing.T) {
	var mu sync.Mutex
	var calls []string
	note := func(call string) {
		mu.Lock()
		defer mu.Unlock()
		calls = append(calls, call)
	}
	srv := &ssh.Server{
		ConnCallback:             func(_ ssh.Context, conn net.Conn) net.Conn { note("conn"); return conn },
		ConnectionFailedCallback: func(net.Conn, error) { note("failed") },
		ConnectionCloseCallback:  func(net.Conn) { note("close") },
		ServerConfigCallback: func(ssh.Context) *gossh.ServerConfig {
			note("config")
			return &gossh.ServerConfig{MaxAuthTries: 3}
		},
	}
	srv.AddHostKey(sshtest.HostKey(t))
	layer := middleware.Layer{Connect: func(*middleware.Conn) (middleware.Moments, error) {
		note("Connect")
		return middleware.Moments{
			Configure: func(cfg *gossh.ServerConfig) { note(fmt.Sprint("Configure ", cfg.MaxAuthTries)) },
			Closed:    func(error) { note("Closed") },
		}, nil
	}}
	if err := middleware.NewStack(middleware.Open(), layer, middleware.Message("")).Install(srv); err != nil {
		t.Fatal(err)
	}
	srv.HandleConn(silentConn{from: &net.TCPAddr{}})
	want := []string{"conn", "Connect", "config", "Configure 3", "failed", "Closed", "close"}
	if !slices.Equal(calls, want) {
		t.Errorf("called %q, want %q", calls, want)
	}
}

// The configuration of each connection is made anew, and layers see what those before them have set.
func TestConfigureEachConnection(t *testing.T) {
	configs := make(chan *gossh.ServerConfig, 2)
	set := configures(func(cfg *gossh.ServerConfig) { cfg.MaxAuthTries = 17 })
	see := configures(func(cfg *gossh.ServerConfig) {
		if cfg.MaxAuthTries != 17 {
			t.Errorf("the tries are %d", cfg.MaxAuthTries)
		}
		configs <- cfg
	})
	srv := sshtest.Serve(t, middleware.Open(), set, see, middleware.Handler("test", whoami))
	for range 2 {
		enter(t, srv, "")
	}
	if first, second := sshtest.Receive(t, configs), sshtest.Receive(t, configs); first == second {
		t.Error("two connections share a configuration")
	}
}

// A silent client has the server's version line, and nothing is configured for it until it answers. Then it gets in, however
// its line comes.
func TestSilentClient(t *testing.T) {
	for name, greet := range map[string]func(w *sshtest.MemoryConn, line string){
		"at once": func(w *sshtest.MemoryConn, line string) { _, _ = io.WriteString(w, line) },
		"byte by byte": func(w *sshtest.MemoryConn, line string) {
			for _, c := range line {
				_, _ = io.WriteString(w, string(c))
				time.Sleep(time.Second)
			}
		},
		"one byte first": func(w *sshtest.MemoryConn, line string) {
			_, _ = io.WriteString(w, line[:1])
			time.Sleep(time.Second)
			_, _ = io.WriteString(w, line[1:])
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var configured atomic.Int64
				counted := configures(func(*gossh.ServerConfig) { configured.Add(1) })
				w := sshtest.Connect(t, newServer(t, counted, middleware.Open(), middleware.Handler("test", whoami)))
				time.Sleep(time.Hour)
				synctest.Wait()
				if configured.Load() != 0 {
					t.Error("the handshake of a silent client is configured")
				}
				line, err := bufio.NewReaderSize(w, 16).ReadString('\n') // too small for more than the line
				if line != "SSH-2.0-foyer\r\n" || err != nil {
					t.Fatalf("greeted with %q, %v", line, err)
				}
				greet(w, "SSH-2.0-slow\r\n")
				// What x/crypto's client says of itself has gone already, and the server's line comes no second time.
				client := &spoken{MemoryConn: w, said: "SSH-2.0-slow\r\n", heard: strings.NewReader(line)}
				conn, channels, requests, err := gossh.NewClientConn(client, "", &gossh.ClientConfig{
					User: "guest", ClientVersion: "SSH-2.0-slow", HostKeyCallback: gossh.InsecureIgnoreHostKey(),
				})
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = conn.Close() }()
				sess, err := gossh.NewClient(conn, channels, requests).NewSession()
				if err != nil {
					t.Fatal(err)
				}
				if text, err := sess.Output("x"); err != nil || len(text) == 0 || configured.Load() != 1 {
					t.Errorf("%q, %v; configured %d times", text, err, configured.Load())
				}
			})
		})
	}
}

// spoken is a wire on which the client has said something already, and heard something.
type spoken struct {
	*sshtest.MemoryConn
	said  string
	heard io.Reader
}

func (s *spoken) Write(p []byte) (int, error) {
	if s.said != "" && string(p) == s.said {
		s.said = ""
		return len(p), nil
	}
	return s.MemoryConn.Write(p)
}

func (s *spoken) Read(p []byte) (int, error) {
	if n, _ := s.heard.Read(p); n > 0 {
		return n, nil
	}
	return s.MemoryConn.Read(p)
}

// A client that leaves without a version line, or with half of one, ends with EOF.
func TestHalfAVersionLine(t *testing.T) {
	for name, said := range map[string]string{"silent": "", "a byte": "S", "half a line": "SSH-2"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDiary()
				srv := newServer(t, d.layer("a", nil), middleware.Open(), middleware.Handler("test", whoami))
				w := sshtest.Connect(t, srv)
				_, _ = io.WriteString(w, said)
				synctest.Wait()
				_ = w.Close()
				<-w.Done
				if got := d.read(t, 1); !strings.HasSuffix(got, "a closed: EOF") {
					t.Errorf("the layer tells %s", got)
				}
			})
		})
	}
}

// The server's handshake timeout counts for a silent client, without the deadlines layer too.
func TestHandshakeTimeoutOfTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var end error
		noted := middleware.Layer{Connect: func(*middleware.Conn) (middleware.Moments, error) {
			return middleware.Moments{Closed: func(err error) { end = err }}, nil
		}}
		srv := newServer(t, noted, middleware.Open(), middleware.Handler("test", whoami))
		srv.HandshakeTimeout = 20 * time.Second
		w := sshtest.Connect(t, srv)
		time.Sleep(20*time.Second - time.Nanosecond)
		if w.Closed() {
			t.Error("hung up on too early")
		}
		time.Sleep(time.Nanosecond)
		if !w.Closed() || !errors.Is(end, os.ErrDeadlineExceeded) {
			t.Errorf("over: %t, error %v", w.Closed(), end)
		}
	})
}
