package limits_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"foyer/middleware/limits"
	"foyer/middleware/sshtest"
)

// guest is a connection in memory that takes all that is said to it, and says what its client has to say.
type guest struct {
	net.Conn
	mu   sync.Mutex
	said bytes.Buffer // to the client
	half bool         // closed, that is, for what is said to the client
}

func (g *guest) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.said.Write(p)
}

func (g *guest) CloseWrite() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.half = true
	return nil
}

// farewell takes leave of a guest beside the test. The client's end is returned, and a channel that is closed with
// the connection.
func farewell(say func(net.Conn, string)) (g *guest, client net.Conn, done chan struct{}) {
	client, server := net.Pipe()
	g, done = &guest{Conn: server}, make(chan struct{})
	go func() {
		defer close(done)
		say(g, "foyer")
	}()
	return g, client, done
}

func isClosed(done chan struct{}) bool {
	synctest.Wait()
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// A client is told why, in the server's name, or in the library's where it has none, by a message that x/crypto reads.
func TestFarewellWords(t *testing.T) {
	for name, tt := range map[string]struct {
		version string
		say     func(*limits.Farewells) func(net.Conn, string)
		want    string
	}{
		"busy": {"foyer", func(f *limits.Farewells) func(net.Conn, string) { return f.Busy },
			"disconnected: too many visitors at the moment, please try again in a minute (12)"},
		"closing": {"", func(f *limits.Farewells) func(net.Conn, string) { return f.Closing },
			"disconnected: this server is closing, please come back later (7)"},
	} {
		t.Run(name, func(t *testing.T) {
			g := &guest{Conn: silence{}}
			tt.say(limits.NewFarewells(0))(g, tt.version)
			line, packet, _ := strings.Cut(g.said.String(), "\r\n")
			if want := "SSH-2.0-" + map[string]string{"foyer": "foyer", "": "Go"}[tt.version]; line != want {
				t.Errorf("the version line is %q, want %q", line, want)
			}
			c := sshtest.NewRaw(reads{strings.NewReader(packet)})
			if _, err := c.Await(sshtest.MsgKexInit); err == nil || err.Error() != tt.want {
				t.Errorf("the client hears %v, want %s", err, tt.want)
			}
			if _, err := c.Await(sshtest.MsgKexInit); err != io.EOF {
				t.Errorf("then it hears %v", err)
			}
		})
	}
}

// silence is a connection on which nothing comes.
type silence struct{ net.Conn }

func (silence) Read([]byte) (int, error)    { return 0, io.EOF }
func (silence) RemoteAddr() net.Addr        { return nil }
func (silence) SetDeadline(time.Time) error { return nil }
func (silence) Close() error                { return nil }

// reads is a connection from which somebody reads.
type reads struct{ io.Reader }

func (reads) Write(p []byte) (int, error)      { return len(p), nil }
func (reads) Close() error                     { return nil }
func (reads) LocalAddr() net.Addr              { return nil }
func (reads) RemoteAddr() net.Addr             { return nil }
func (reads) SetDeadline(time.Time) error      { return nil }
func (reads) SetReadDeadline(time.Time) error  { return nil }
func (reads) SetWriteDeadline(time.Time) error { return nil }

// A few clients at a time are listened to, until they close or a second is over; all others have a moment. Places are free
// again then.
func TestFarewellsAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		say := limits.NewFarewells(3).Busy
		for range 3 {
			var listening []chan struct{}
			for range 3 {
				g, _, done := farewell(say)
				if isClosed(done) || !g.half {
					t.Error("not listened to")
				}
				listening = append(listening, done)
			}
			const moment = 5 * time.Millisecond
			for range 9 {
				_, _, done := farewell(say)
				time.Sleep(moment - time.Nanosecond)
				if isClosed(done) {
					t.Error("one more has not even a moment")
				}
				time.Sleep(time.Nanosecond)
				if !isClosed(done) {
					t.Error("one more is listened to")
				}
			}
			time.Sleep(time.Second - 9*moment - time.Nanosecond)
			for _, done := range listening {
				if isClosed(done) {
					t.Error("closed too early")
				}
			}
			time.Sleep(time.Nanosecond)
			for _, done := range listening {
				if !isClosed(done) {
					t.Fatal("not closed")
				}
			}
		}
	})
}

// Who has heard it and leaves makes room at once, and so does who does not stop talking.
func TestFarewellsEnd(t *testing.T) {
	for name, answer := range map[string]func(net.Conn){
		"leaves": func(client net.Conn) { _ = client.Close() },
		"talks":  func(client net.Conn) { _, _ = client.Write(make([]byte, 1<<20)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, client, done := farewell(limits.NewFarewells(1).Busy)
				if isClosed(done) {
					t.Fatal("not listened to")
				}
				go answer(client)
				if !isClosed(done) {
					t.Error("still listened to")
					time.Sleep(time.Second)
				}
			})
		})
	}
}

// A client whose window is shut, so that not even the words get through, has a second as well.
func TestFarewellUnheard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, server := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			limits.NewFarewells(1).Busy(server, "foyer")
		}()
		if isClosed(done) {
			t.Error("closed at once")
		}
		time.Sleep(time.Second)
		if !isClosed(done) {
			t.Error("not closed")
		}
	})
}

// Nothing is said into what the server was saying, where that was no whole packet, or not known to be one.
func TestFarewellBetweenPackets(t *testing.T) {
	for name, tt := range map[string]struct {
		said []string
		told bool
	}{
		"nothing":                  {nil, true},
		"its version":              {[]string{version}, true},
		"packets":                  {[]string{version, packet, packet}, true},
		"another line":             {[]string{"hello\r\n", version}, false},
		"half a line":              {[]string{"SSH-2.0-foyer"}, false},
		"a packet before any line": {[]string{packet}, false},
		"half a packet":            {[]string{version, packet[:10]}, false},
		"hardly anything":          {[]string{version, packet[:3]}, false},
		"two packets":              {[]string{version, packet + packet}, false},
		"new keys":                 {[]string{version, packet, newKeys}, false},
		"what is encrypted":        {[]string{version, newKeys, packet}, false},
	} {
		t.Run(name, func(t *testing.T) {
			g := &guest{Conn: silence{}}
			c, _, _ := newCrowd(t, wide).Admit(g)
			for _, said := range tt.said {
				_, _ = io.WriteString(c, said)
			}
			before := g.said.Len()
			limits.NewFarewells(0).Busy(c, "foyer")
			if more := g.said.String()[before:]; strings.Contains(more, "too many visitors") != tt.told || (more != "") != tt.told {
				t.Errorf("it hears %q", more)
			}
			if n, err := c.Write([]byte(packet)); tt.told && (n != 0 || !errors.Is(err, net.ErrClosed)) {
				t.Errorf("after that %d bytes more, error %v", n, err)
			}
		})
	}
}

// Half of what the server was saying did not get through: nothing can follow.
func TestFarewellAfterHalfAPacket(t *testing.T) {
	g := &stuck{guest: guest{Conn: silence{}}}
	c, _, _ := newCrowd(t, wide).Admit(g)
	_, _ = io.WriteString(c, "SSH-2.0-foyer\r\n")
	limits.NewFarewells(0).Busy(c, "foyer")
	if said := g.said.String(); said != "SSH-2.0-f" {
		t.Errorf("it hears %q", said)
	}
}

// stuck takes less than all that is said to it.
type stuck struct{ guest }

func (s *stuck) Write(p []byte) (int, error) {
	_, _ = s.guest.Write(p[:9])
	return 9, io.ErrShortWrite
}
