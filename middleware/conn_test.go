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

// recorder records the moments of layers, in order.
type recorder struct {
	mu      sync.Mutex
	entries []string
	closed  chan struct{} // one for each Closed
}

func newRecorder() *recorder { return &recorder{closed: make(chan struct{}, 1000)} }

func (d *recorder) write(entry string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries = append(d.entries, entry)
}

func (d *recorder) has(entry string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Contains(d.entries, entry)
}

// read returns what was recorded since the last call, once Closed was called so many times.
func (d *recorder) read(t *testing.T, closed int) string {
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

// layer returns a layer that records all its moments. Its Connect returns the error of connect, if that is not nil.
func (d *recorder) layer(name string, connect func() error) middleware.Layer {
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
				Configure:   func(*gossh.ServerConfig) { note("configure") },
				Stage:       func(stage middleware.Stage) { note(fmt.Sprint("stage ", int(stage))) },
				Attempt:     func(a middleware.Attempt) { note("attempt " + a.Method) },
				Established: func(gossh.Conn) { note("established") },
				Terminal:    func(ssh.Pty) bool { note("terminal"); return true },
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

// The order of the list holds for every moment. Only Closed runs in reverse.
func TestOrderOfMoments(t *testing.T) {
	d := newRecorder()
	srv := sshtest.Serve(t, d.layer("a", nil), middleware.Open(), d.layer("b", nil), d.layer("c", nil), middleware.Handler("test", whoami))
	client := dial(t, srv, "")
	if _, _, err := client.SendRequest("x", true, nil); err != nil {
		t.Fatal(err)
	}
	sshtest.Run(t, client, sshtest.Visit{Term: "xterm"})
	sshtest.Eventually(t, "the session does not end", func() bool { return d.has("c left session") })
	_ = client.Close()
	var want []string
	for _, moment := range []string{
		"server", "connect", "stage 1", "configure", "work 2 1", "stage 2", "stage 3", "attempt none", "established", "work 3 1", "open session 1",
		"terminal", "session", "left session",
	} {
		for _, name := range []string{"a", "b", "c"} {
			want = append(want, name+" "+moment)
		}
	}
	want = append(want, "c closed", "b closed", "a closed")
	if got := d.read(t, 3); got != strings.Join(want, ", ") {
		t.Errorf("the layers report\n%s, want\n%s", got, strings.Join(want, ", "))
	}
}

// However a connection ends, Closed is called once for each layer that has accepted it, and for no other.
func TestClosed(t *testing.T) {
	refuse := func() error { return errors.New("no") }
	fail := func() error { panic("boom") }
	configure := configures(func(*gossh.ServerConfig) { panic("boom") })
	panics := middleware.Layer{Connect: func(*middleware.Conn) (middleware.Moments, error) {
		return middleware.Moments{Closed: func(error) { panic("boom") }}, nil
	}}
	const disconnected = "closed before the handshake was over"
	for _, tt := range []struct {
		name  string
		inner func(*recorder) middleware.Layer
		sent  string // by the client
		want  string
	}{
		{"refused", func(d *recorder) middleware.Layer { return d.layer("c", refuse) }, "",
			"a connect, b connect, c connect, b closed: " + disconnected + ", a closed: " + disconnected},
		{"a panic in Connect", func(d *recorder) middleware.Layer { return d.layer("c", fail) }, "",
			"a connect, b connect, c connect, b closed: " + disconnected + ", a closed: " + disconnected},
		{"a panic in Configure", func(*recorder) middleware.Layer { return configure }, "SSH-2.0-x\r\n",
			"a connect, b connect, a stage 1, b stage 1, a configure, b configure, b closed: " + disconnected + ", a closed: " + disconnected},
		{"a panic in Closed", func(*recorder) middleware.Layer { return panics }, strings.Repeat("x", 300),
			"a connect, b connect, a stage 1, b stage 1, b closed: not SSH, a closed: not SSH"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			captureLibraryLog(t)
			d := newRecorder()
			srv := sshtest.Serve(t, d.layer("a", nil), middleware.Open(), d.layer("b", nil), tt.inner(d), middleware.Handler("test", whoami))
			d.read(t, 0)
			for range 2 { // the server goes on
				conn := srv.DialTCP(t)
				_, _ = io.WriteString(conn, tt.sent)
				_, _ = io.Copy(io.Discard, conn) // until the server disconnects
				if got := d.read(t, 2); got != tt.want {
					t.Errorf("the layers report\n%s, want\n%s", got, tt.want)
				}
			}
			if len(d.closed) > 0 {
				t.Error("Closed was called twice")
			}
		})
	}
}

// Closed belongs to the connection that Connect received, whatever happens on others.
func TestClosedUnderLoad(t *testing.T) {
	const clients = 100
	type end struct {
		addr string
		err  error
	}
	ends := make(chan end, 2*clients)
	noted := middleware.Layer{Connect: func(c *middleware.Conn) (middleware.Moments, error) {
		return middleware.Moments{Closed: func(err error) { ends <- end{c.RemoteAddr().String(), err} }}, nil
	}}
	srv := sshtest.Serve(t, noted, passwordLayer(func(_, password string) bool { return password == "right" }), middleware.Handler("test", whoami))

	var mu sync.Mutex
	want := map[string]string{} // errors by address
	concurrently(clients, func(i int) {
		addr, err := connectAs(t, srv, i)
		mu.Lock()
		defer mu.Unlock()
		want[addr] = err
	})
	for range clients {
		e := sshtest.Receive(t, ends)
		got := ""
		if e.err != nil {
			got = e.err.Error()
		}
		suffix, known := want[e.addr]
		delete(want, e.addr) // each ends once
		if !known || (suffix == "") != (got == "") || !strings.Contains(got, suffix) {
			t.Errorf("%s ended with %q, want %q", e.addr, got, suffix)
		}
	}
	if len(ends) > 0 {
		t.Errorf("Closed was called %d times too often", len(ends))
	}
}

// connectAs connects in one of several ways. It returns the client's address, and the error that Closed has to receive.
func connectAs(t *testing.T, srv *sshtest.Server, i int) (addr, err string) {
	switch i % 4 {
	case 0:
		client := srv.DialRaw(t)
		defer func() { _ = client.Conn.Close() }()
		if in, err := client.Password("guest", "right"); !in {
			t.Errorf("not authenticated: %v", err)
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
		return conn.LocalAddr().String(), "not SSH"
	default:
		conn := srv.DialTCP(t)
		sshtest.HalfClose(conn)
		return conn.LocalAddr().String(), "the client has sent nothing"
	}
}

// The stack calls the callbacks that the server has already: before its own, and at the end after them.
func TestStackKeepsCallbacks(t *testing.T) {
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
	if err := middleware.NewStack(middleware.Open(), layer, middleware.Message(middleware.Fixed(""))).Install(srv); err != nil {
		t.Fatal(err)
	}
	srv.HandleConn(newSpeaking())
	want := []string{"conn", "Connect", "config", "Configure 3", "failed", "Closed", "close"}
	if !slices.Equal(calls, want) {
		t.Errorf("called %q, want %q", calls, want)
	}
}

// speaking is a connection that sends nothing but a version line.
type speaking struct {
	silentConn
	line io.Reader
}

func newSpeaking() speaking {
	return speaking{silentConn{from: &net.TCPAddr{}}, strings.NewReader("SSH-2.0-x\r\n")}
}

func (s speaking) Read(p []byte) (int, error) { return s.line.Read(p) }

// Each connection has a new configuration, and a layer sees what the layers before it have set.
func TestConfigureEachConnection(t *testing.T) {
	configs := make(chan *gossh.ServerConfig, 2)
	set := configures(func(cfg *gossh.ServerConfig) { cfg.MaxAuthTries = 17 })
	check := configures(func(cfg *gossh.ServerConfig) {
		if cfg.MaxAuthTries != 17 {
			t.Errorf("MaxAuthTries is %d, want 17", cfg.MaxAuthTries)
		}
		configs <- cfg
	})
	srv := sshtest.Serve(t, middleware.Open(), set, check, middleware.Handler("test", whoami))
	for range 2 {
		dial(t, srv, "")
	}
	if first, second := sshtest.Receive(t, configs), sshtest.Receive(t, configs); first == second {
		t.Error("two connections share a configuration")
	}
}

// A silent client receives the server's version line, and its handshake is configured only when it answers. Then it is
// authenticated, however its line arrives.
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
					t.Error("the handshake of a silent client was configured")
				}
				line, err := bufio.NewReaderSize(w, 16).ReadString('\n') // too small for more than the line
				if line != "SSH-2.0-foyer\r\n" || err != nil {
					t.Fatalf("the version line is %q, error %v", line, err)
				}
				greet(w, "SSH-2.0-slow\r\n")
				// Both version lines are exchanged already, so x/crypto's client must neither send nor await one.
				client := &versionsExchanged{MemoryConn: w, sent: "SSH-2.0-slow\r\n", received: strings.NewReader(line)}
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

// versionsExchanged is a connection on which the version lines have been sent and received already.
type versionsExchanged struct {
	*sshtest.MemoryConn
	sent     string
	received io.Reader
}

func (s *versionsExchanged) Write(p []byte) (int, error) {
	if s.sent != "" && string(p) == s.sent {
		s.sent = ""
		return len(p), nil
	}
	return s.MemoryConn.Write(p)
}

func (s *versionsExchanged) Read(p []byte) (int, error) {
	if n, _ := s.received.Read(p); n > 0 {
		return n, nil
	}
	return s.MemoryConn.Read(p)
}

// A client that disconnects within its version line ends with EOF, and one that disconnects without a byte with an error of
// its own.
func TestIncompleteVersionLine(t *testing.T) {
	for sent, want := range map[string]string{"": "the client has sent nothing", "S": "EOF", "SSH-2": "EOF", "SSH-2.0-x": "EOF"} {
		t.Run(sent, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newRecorder()
				srv := newServer(t, d.layer("a", nil), middleware.Open(), middleware.Handler("test", whoami))
				w := sshtest.Connect(t, srv)
				_, _ = io.WriteString(w, sent)
				synctest.Wait()
				_ = w.Close()
				<-w.Done
				if got := d.read(t, 1); !strings.HasSuffix(got, "a closed: "+want) {
					t.Errorf("the layer reports %s", got)
				}
			})
		})
	}
}

// The server's handshake timeout ends a silent connection, also without the Deadlines layer.
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
			t.Error("disconnected too early")
		}
		time.Sleep(time.Nanosecond)
		if !w.Closed() || !errors.Is(end, os.ErrDeadlineExceeded) {
			t.Errorf("disconnected: %t, error: %v", w.Closed(), end)
		}
	})
}
