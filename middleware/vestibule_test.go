package middleware_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
	"foyer/middleware/sshtest"
)

// arrivals notes when a server begins to make something for a connection, and how it ends.
type arrivals struct {
	connections int
	err         error
}

func (a *arrivals) layer() middleware.Layer {
	return middleware.Layer{Name: "arrivals", Server: middleware.Hooks{
		Accept: func(_ ssh.Context, conn net.Conn) net.Conn { a.connections++; return conn },
		Closed: func(_ ssh.Context, err error) { a.err = err },
	}.Add}
}

// A silent client has the server's version line, and nothing is made for it until it answers. Then it gets in, however its
// line comes.
func TestVestibule(t *testing.T) {
	for name, greet := range map[string]func(w *wire, line string){
		"at once": func(w *wire, line string) { _, _ = io.WriteString(w, line) },
		"byte by byte": func(w *wire, line string) {
			for _, c := range line {
				_, _ = io.WriteString(w, string(c))
				time.Sleep(time.Second)
			}
		},
		"one byte first": func(w *wire, line string) {
			_, _ = io.WriteString(w, line[:1])
			time.Sleep(time.Second)
			_, _ = io.WriteString(w, line[1:])
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var behind arrivals
				w := newWire(t, door(t, whoami, middleware.Vestibule(), behind.layer(), middleware.Open()))
				time.Sleep(time.Hour)
				synctest.Wait()
				if behind.connections != 0 {
					t.Error("a silent client is behind the vestibule")
				}
				line, err := bufio.NewReaderSize(w, 16).ReadString('\n') // too small for more than the line
				if line != "SSH-2.0-foyer\r\n" || err != nil {
					t.Fatalf("greeted with %q, %v", line, err)
				}
				greet(w, "SSH-2.0-slow\r\n")
				// What x/crypto's client says of itself has gone already, and the server's line comes no second time.
				client := &spoken{wire: w, said: "SSH-2.0-slow\r\n", heard: strings.NewReader(line)}
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
				if text, err := sess.Output("x"); err != nil || len(text) == 0 || behind.connections != 1 {
					t.Errorf("%q, %v; %d connections behind", text, err, behind.connections)
				}
			})
		})
	}
}

// spoken is a wire on which the client has said something already, and heard something.
type spoken struct {
	*wire
	said  string
	heard io.Reader
}

func (s *spoken) Write(p []byte) (int, error) {
	if s.said != "" && string(p) == s.said {
		s.said = ""
		return len(p), nil
	}
	return s.wire.Write(p)
}

func (s *spoken) Read(p []byte) (int, error) {
	if n, _ := s.heard.Read(p); n > 0 {
		return n, nil
	}
	return s.wire.Read(p)
}

// What comes with a version line costs two reads, and no byte of it is lost.
func TestVestibuleReadsAhead(t *testing.T) {
	var behind net.Conn
	keep := middleware.Hooks{Accept: func(_ ssh.Context, conn net.Conn) net.Conn { behind = conn; return nil }}
	srv := door(t, whoami, middleware.Vestibule(), middleware.Layer{Name: "keep", Server: keep.Add}, middleware.Open())
	text := "SSH-2.0-client\r\n" + strings.Repeat("x", 2000)
	counted := &counted{end: &end{out: newHalf(), peer: &net.TCPAddr{}}, from: strings.NewReader(text)}
	srv.HandleConn(counted)
	got := make([]byte, len("SSH-2.0-client\r\n"))
	for i := range got { // as x/crypto does (ssh/transport.go, readVersion)
		if _, err := io.ReadFull(behind, got[i:i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if counted.reads != 2 {
		t.Errorf("the line took %d reads", counted.reads)
	}
	rest, err := io.ReadAll(behind)
	if err != nil || string(got)+string(rest) != text {
		t.Errorf("read %q and %d bytes, %v", got, len(rest), err)
	}
}

// counted is a connection that counts how often it is read.
type counted struct {
	*end
	from  io.Reader
	reads int
}

func (c *counted) Read(p []byte) (int, error) { c.reads++; return c.from.Read(p) }
func (*counted) Close() error                 { return nil }

// Whoever goes without a version line, or with half of one, is told of as where there is no vestibule.
func TestVestibuleLeft(t *testing.T) {
	for name, said := range map[string]string{"silent": "", "a byte": "S", "half a line": "SSH-2"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var with, without arrivals
				for a, layers := range map[*arrivals][]middleware.Layer{
					&with:    {with.layer(), middleware.Vestibule(), middleware.Open()},
					&without: {without.layer(), middleware.Open()},
				} {
					w := newWire(t, door(t, whoami, layers...))
					_, _ = io.WriteString(w, said)
					synctest.Wait()
					_ = w.Close()
					<-w.hungUp
					if a.err == nil {
						t.Error("nothing was told")
					}
				}
				if with.err.Error() != without.err.Error() {
					t.Errorf("told %q, and %q without a vestibule", with.err, without.err)
				}
			})
		})
	}
}

// The server's handshake timeout counts for who is silent, without the deadlines layer too.
func TestVestibuleTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a arrivals
		srv := door(t, whoami, a.layer(), middleware.Vestibule(), middleware.Open())
		srv.HandshakeTimeout = 20 * time.Second
		w := newWire(t, srv)
		time.Sleep(20*time.Second - time.Nanosecond)
		if w.over() {
			t.Error("hung up on too early")
		}
		time.Sleep(time.Nanosecond)
		if !w.over() || !errors.Is(a.err, os.ErrDeadlineExceeded) {
			t.Errorf("over: %t, error %v", w.over(), a.err)
		}
	})
}

func TestVestibuleNeedsAVersion(t *testing.T) {
	srv := &ssh.Server{}
	srv.AddHostKey(sshtest.HostKey(t))
	err := middleware.Stack(whoami, middleware.Vestibule(), middleware.Open())(srv)
	if err == nil || err.Error() != "layer vestibule: the server has no version to greet with" {
		t.Error(err)
	}
}
