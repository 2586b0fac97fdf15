package transport_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"foyer/middleware/sshtest"
	"foyer/middleware/transport"
)

const (
	busy    = "too many visitors at the moment, please try again in a minute"
	closing = "this server is closing, please come back later"
)

// disconnect disconnects a client beside the test. It returns the client's end, and a channel that is closed when the
// connection is.
func disconnect(wait time.Duration) (p *peer, client net.Conn, done chan struct{}) {
	client, server := net.Pipe()
	p, done = &peer{Conn: server}, make(chan struct{})
	c, _ := wrap(p)
	go func() {
		defer close(done)
		c.Disconnect(transport.TooManyConnections, busy, wait)
	}()
	return p, client, done
}

func isDone(done chan struct{}) bool {
	synctest.Wait()
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// A client is told the reason and the text, after the server's version line, by a message that x/crypto reads.
func TestDisconnectMessage(t *testing.T) {
	for _, tt := range []struct {
		version string
		reason  transport.Reason
		text    string
		want    string
	}{
		{"SSH-2.0-foyer", transport.TooManyConnections, busy, "disconnected: " + busy + " (12)"},
		{"SSH-2.0-Go", transport.ServiceNotAvailable, closing, "disconnected: " + closing + " (7)"},
	} {
		t.Run(tt.version, func(t *testing.T) {
			p := &peer{}
			transport.New(p, tt.version, &observed{}).Disconnect(tt.reason, tt.text, time.Minute)
			line, packet, _ := strings.Cut(p.text(), "\r\n")
			if line != tt.version {
				t.Errorf("the version line is %q, want %q", line, tt.version)
			}
			c := sshtest.NewRaw(reads{from: strings.NewReader(packet)})
			if _, err := c.Await(sshtest.MsgKexInit); err == nil || err.Error() != tt.want {
				t.Errorf("the client reads %v, want %s", err, tt.want)
			}
			if _, err := c.Await(sshtest.MsgKexInit); err != io.EOF {
				t.Errorf("then it reads %v", err)
			}
			if !p.halfClosed || !p.isClosed() {
				t.Errorf("closed for writing: %t, closed: %t", p.halfClosed, p.isClosed())
			}
		})
	}
}

// reads is a connection that is only read from.
type reads struct {
	net.Conn
	from io.Reader
}

func (r reads) Read(p []byte) (int, error) { return r.from.Read(p) }

// The client has the whole wait to read the message, and no more.
func TestDisconnectWaits(t *testing.T) {
	for _, wait := range []time.Duration{5 * time.Millisecond, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			p, _, done := disconnect(wait)
			time.Sleep(wait - time.Nanosecond)
			if isDone(done) || !p.halfClosed {
				t.Errorf("of %s: closed too early, or the client does not know that nothing follows", wait)
			}
			time.Sleep(time.Nanosecond)
			if !isDone(done) {
				t.Errorf("of %s: not closed", wait)
				_ = p.Close()
			}
		})
	}
}

// The wait ends at once if the client closes the connection, or sends more than is read after the message.
func TestDisconnectEnds(t *testing.T) {
	for name, answer := range map[string]func(net.Conn){
		"closes":         func(client net.Conn) { _ = client.Close() },
		"does not stop":  func(client net.Conn) { _, _ = client.Write(make([]byte, 1<<20)) },
		"sends 8192 B":   func(client net.Conn) { _, _ = client.Write(make([]byte, 8192)) },
		"sends and goes": func(client net.Conn) { _, _ = client.Write(make([]byte, 100)); _ = client.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, client, done := disconnect(time.Second)
				if isDone(done) {
					t.Fatal("closed before the client has answered")
				}
				go answer(client)
				if !isDone(done) {
					t.Error("not closed")
					_ = p.Close()
				}
			})
		})
	}
}

// What a client sends beside its version line and its KEXINIT is read, so that TCP does not reset the connection.
func TestDisconnectReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, client, done := disconnect(time.Second)
		if n, err := client.Write(make([]byte, 8191)); n != 8191 || err != nil {
			t.Errorf("%d bytes are read, error %v", n, err)
		}
		if isDone(done) {
			t.Error("closed too early")
		}
		_ = p.Close()
	})
}

// A client whose window is closed, so that the message itself does not get through, has the same time.
func TestDisconnectOfAClientThatReadsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, server := net.Pipe()
		c := transport.New(server, version, &observed{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.Disconnect(transport.TooManyConnections, busy, time.Second)
		}()
		time.Sleep(time.Second - time.Nanosecond)
		if isDone(done) {
			t.Error("closed too early")
		}
		time.Sleep(time.Nanosecond)
		if !isDone(done) {
			t.Error("not closed")
			_ = server.Close()
		}
	})
}

// Nothing is sent behind what was not a whole packet, or is not known to be one. The library sends nothing afterwards.
func TestDisconnectBetweenPackets(t *testing.T) {
	for name, tt := range map[string]struct {
		sent []string
		told bool
	}{
		"nothing":                  {nil, true},
		"the version line":         {[]string{line}, true},
		"packets":                  {[]string{line, packet, packet}, true},
		"another line":             {[]string{"hello\r\n", line}, false},
		"half a line":              {[]string{version}, false},
		"a packet before any line": {[]string{packet}, false},
		"half a packet":            {[]string{line, packet[:10]}, false},
		"hardly anything":          {[]string{line, packet[:3]}, false},
		"two packets":              {[]string{line, packet + packet}, false},
		"new keys":                 {[]string{line, packet, newKeys}, false},
		"encrypted packets":        {[]string{line, newKeys, packet}, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := &peer{}
			c, _ := wrap(p, tt.sent...)
			before := len(p.text())
			c.Disconnect(transport.TooManyConnections, busy, 0)
			if more := p.text()[before:]; strings.Contains(more, busy) != tt.told || (more != "") != tt.told {
				t.Errorf("the client is sent %q", more)
			}
			if !p.isClosed() {
				t.Error("not closed")
			}
			if n, err := c.Write([]byte(packet)); tt.told && (n != 0 || !errors.Is(err, net.ErrClosed)) {
				t.Errorf("after that the library writes %d bytes, error %v", n, err)
			}
		})
	}
}

// If half of a write did not get through, nothing can follow.
func TestDisconnectAfterHalfAPacket(t *testing.T) {
	p := &peer{most: 9}
	c, _ := wrap(p, line)
	c.Disconnect(transport.TooManyConnections, busy, 0)
	if sent := p.text(); sent != "SSH-2.0-f" {
		t.Errorf("the client is sent %q", sent)
	}
}

// After the key exchange a client is told in a banner, as soon as there is authentication. The connection then stays open
// until the client sends something, or the wait is over; the library reads and writes no more, and closes nothing.
func TestDisconnectByBanner(t *testing.T) {
	for name, answers := range map[string]bool{"the client answers": true, "the client is silent": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				p := &peer{Conn: server}
				c, _ := wrap(p, line, newKeys)
				_ = c.Release() // the library would read now
				before, done, banners := len(p.text()), make(chan struct{}), make(chan string, 1)
				go func() {
					defer close(done)
					c.Disconnect(transport.TooManyConnections, busy, time.Second)
				}()
				time.Sleep(time.Second / 2)
				if isDone(done) || len(banners) > 0 {
					t.Error("the client was not waited for")
				}
				c.AuthStarted(func(text string) error { banners <- text; return nil })
				if got := <-banners; got != busy+"\r\n" {
					t.Errorf("the banner is %q", got)
				}
				synctest.Wait()
				if n, err := c.Write([]byte(packet)); n != 0 || !errors.Is(err, net.ErrClosed) || c.Close() != nil || p.isClosed() {
					t.Errorf("the library writes %d bytes, error %v; closed: %t", n, err, p.isClosed())
				}
				read := make(chan error, 1)
				go func() { _, err := c.Read(make([]byte, 100)); read <- err }()
				if answers {
					_, _ = client.Write([]byte("answer"))
					if err := <-read; !errors.Is(err, net.ErrClosed) {
						t.Errorf("the library reads the answer, error %v", err)
					}
					_ = client.Close()
					if !isDone(done) {
						t.Error("not closed")
					}
				}
				time.Sleep(time.Second/2 - time.Nanosecond)
				if isDone(done) != answers {
					t.Errorf("closed before the wait is over: %t, want %t", !answers, answers)
				}
				time.Sleep(time.Nanosecond)
				if !isDone(done) || len(p.text()) != before {
					t.Errorf("closed: %t; %d bytes more were sent", isDone(done), len(p.text())-before)
				}
				if !answers {
					<-read
				}
			})
		})
	}
}

// A client that exchanges keys and never gets as far as authentication is not told, and is closed after the wait.
func TestDisconnectWithoutAuthentication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peer{}
		c, _ := wrap(p, line, newKeys)
		begun := time.Now()
		c.Disconnect(transport.TooManyConnections, busy, time.Second)
		if took := time.Since(begun); took != time.Second || !p.isClosed() {
			t.Errorf("closed: %t, after %s", p.isClosed(), took)
		}
	})
}
