package budgets

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/eventlog/counters"
)

// chatter is a connection whose client says as much as is read, until it is closed.
type chatter struct {
	net.Conn
	closed atomic.Int64
}

func (c *chatter) Read(p []byte) (int, error) {
	if c.closed.Load() > 0 {
		return 0, net.ErrClosed
	}
	return len(p), nil
}

func (c *chatter) Close() error         { c.closed.Add(1); return nil }
func (c *chatter) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }

// come lets a connection in on which n bytes have been sent since its authentication.
func (a *All) come(t *testing.T, n int) (*Conn, *chatter) {
	t.Helper()
	client := &chatter{}
	c := a.Conn(client)
	c.Authenticated()
	if _, err := c.Read(make([]byte, n)); err != nil {
		t.Fatal(err)
	}
	return c, client
}

// What all have left unread is bounded, those who have a fair part of it are not hung up on, and nothing of it is left
// when they are gone.
func TestUnreadOfAll(t *testing.T) {
	all := &All{Counters: counters.New(counters.Config{Logger: quiet{}})}
	var conns []*Conn
	for range maxUnreadOfAll / (2 << 20) {
		c, _ := all.come(t, 2<<20)
		conns = append(conns, c)
	}
	small, client := all.come(t, unreadPart)
	conns = append(conns, small)
	if client.closed.Load() != 0 {
		t.Error("who has a fair part is hung up on")
	}
	if _, err := small.Read(make([]byte, 1)); !errors.Is(err, errTooMuch) || client.closed.Load() != 1 {
		t.Errorf("who has more than a fair part is not hung up on: %v", err)
	}
	if got := all.Counters.Counts(); got[counters.Received] != 1 || len(got) != 1 {
		t.Error(got)
	}
	conns[0].consume(1 << 20)
	if _, err := conns[1].Read(make([]byte, 1<<10)); err != nil {
		t.Errorf("there is room again, and somebody is hung up on: %v", err)
	}
	for _, c := range conns {
		c.Over()
	}
	if left := all.unread.Load(); left != 0 {
		t.Errorf("%d bytes are left", left)
	}
}

// However the ends of connections meet with what is still read from them, the sum comes back to nothing.
func TestUnreadComesBack(t *testing.T) {
	all := &All{}
	var everybody sync.WaitGroup
	for range 50 {
		c := all.Conn(&chatter{})
		var begun sync.WaitGroup
		begun.Add(3)
		for _, do := range []func(){
			func() { _, _ = c.Read(make([]byte, 1000)) },
			func() { c.consume(1000) },
			c.Authenticated,
		} {
			everybody.Go(func() {
				for i := range 200 {
					do()
					if i == 20 {
						begun.Done()
					}
				}
			})
		}
		everybody.Go(func() { begun.Wait(); c.Over() })
	}
	everybody.Wait()
	if left := all.unread.Load(); left != 0 {
		t.Errorf("%d bytes are left", left)
	}
}

// preAuth is what the library tells of a connection whose first key exchange is over, so far as it is looked at.
type preAuth struct {
	gossh.ServerPreAuthConn
	transport *struct{ incoming chan []byte }
}

// A client that sends its first attempt to authenticate before the library has told that its service request was answered
// is not hung up on: the attempt waits, a second at most.
func TestQuickClient(t *testing.T) {
	for name, told := range map[string]bool{"told": true, "never told": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all := &All{Counters: counters.New(counters.Config{Logger: quiet{}})}
				client := &chatter{}
				c := all.Conn(client)
				buffer := make([]byte, 4096)
				_, _ = c.Read(buffer)
				c.signed()
				if n, err := c.Read(buffer); n != maxBeforeService || err != nil {
					t.Fatalf("read %d bytes before the service, error %v", n, err)
				}
				type result struct {
					n   int
					err error
				}
				read := make(chan result, 1)
				go func() { n, err := c.Read(buffer); read <- result{n, err} }()
				time.Sleep(maxServiceWait - time.Nanosecond)
				synctest.Wait()
				if len(read) > 0 {
					t.Fatalf("read %+v before the service", <-read)
				}
				if told {
					if err := c.PreAuth(preAuth{transport: &struct{ incoming chan []byte }{make(chan []byte)}}); err != nil {
						t.Fatal(err)
					}
				}
				if got := <-read; told != (got.n == len(buffer) && got.err == nil) || told != (client.closed.Load() == 0) {
					t.Errorf("read %+v, closed %d times", got, client.closed.Load())
				}
			})
		})
	}
}

// What was read is taken back with what it was wrapped in, and never more than was there.
func TestConsume(t *testing.T) {
	all := &All{}
	c, client := all.come(t, 1000)
	c.consume(800)
	if c.unread != 100 || all.unread.Load() != 100 {
		t.Errorf("%d bytes are unread, and %d of all", c.unread, all.unread.Load())
	}
	c.consume(800)
	if c.unread != 0 || all.unread.Load() != 0 {
		t.Errorf("%d bytes are unread, and %d of all", c.unread, all.unread.Load())
	}
	for range 100 {
		if _, err := c.Read(make([]byte, maxUnread)); err != nil || client.closed.Load() != 0 {
			t.Fatal("hung up on with nothing unread")
		}
		c.consume(maxUnread)
	}
}

// Each hang-up is one, and counts once.
func TestHangUp(t *testing.T) {
	all := &All{Counters: counters.New(counters.Config{Logger: quiet{}})}
	c, client := all.come(t, 1)
	for i := range 3 * maxGlobalRequests {
		if ok := c.GlobalRequest(); ok != (i < maxGlobalRequests) {
			t.Errorf("request %d is answered: %t", i, ok)
		}
	}
	for range 2 * maxChannelOpens {
		c.ChannelOpen()
	}
	if got := all.Counters.Counts(); got[counters.GlobalRequests] != 1 || len(got) != 1 || client.closed.Load() != 1 {
		t.Errorf("counted %v, closed %d times", got, client.closed.Load())
	}
}

type quiet struct{}

func (quiet) Warn(any, ...any) {}

// A key signs as it did with every algorithm, and not for a connection that has had too many key exchanges.
func TestHostKey(t *testing.T) {
	for name, key := range hostKeys(t) {
		t.Run(name, func(t *testing.T) {
			counted, err := HostKey(key)
			if err != nil {
				t.Fatal(err)
			}
			algorithms := counted.(gossh.MultiAlgorithmSigner).Algorithms()
			if want := key.(gossh.MultiAlgorithmSigner).Algorithms(); len(algorithms) != len(want) {
				t.Errorf("it signs with %v, want %v", algorithms, want)
			}
			for _, algorithm := range algorithms {
				sign := counted.(gossh.AlgorithmSigner).SignWithAlgorithm
				signs(t, key, algorithm, func(random io.Reader) (*gossh.Signature, error) {
					return sign(random, []byte("hash"), algorithm)
				})
			}
			signs(t, key, "", func(random io.Reader) (*gossh.Signature, error) { return counted.Sign(random, []byte("hash")) })
		})
	}
}

// signs checks that sign signs ten times for a connection, with that algorithm if it is not empty, and as often as
// is wanted for none.
func signs(t *testing.T, key gossh.Signer, algorithm string, sign func(io.Reader) (*gossh.Signature, error)) {
	t.Helper()
	all := &All{Counters: counters.New(counters.Config{Logger: quiet{}})}
	c, client := all.come(t, 1)
	for _, random := range []io.Reader{rand.Reader, c.Rand(rand.Reader)} {
		for range maxKeyExchanges {
			signature, err := sign(random)
			if err != nil {
				t.Fatalf("%s: %v", algorithm, err)
			}
			if err := key.PublicKey().Verify([]byte("hash"), signature); err != nil {
				t.Errorf("%s: %v", algorithm, err)
			}
			if algorithm != "" && signature.Format != algorithm {
				t.Errorf("signed with %s, want %s", signature.Format, algorithm)
			}
		}
	}
	if client.closed.Load() != 0 {
		t.Error("hung up on too early")
	}
	if _, err := sign(c.Rand(rand.Reader)); !errors.Is(err, errTooMuch) || client.closed.Load() != 1 {
		t.Errorf("one more is signed, error %v", err)
	}
	if got := all.Counters.Counts(); got[counters.KeyExchanges] != 1 || len(got) != 1 {
		t.Error(got)
	}
}

func hostKeys(t *testing.T) map[string]gossh.Signer {
	t.Helper()
	_, edwards, err1 := ed25519.GenerateKey(nil)
	nist, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	old, err3 := rsa.GenerateKey(rand.Reader, 2048)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	keys := map[string]gossh.Signer{}
	for name, private := range map[string]any{"ed25519": edwards, "nistp256": nist, "rsa": old} {
		key, err := gossh.NewSignerFromKey(private)
		if err != nil {
			t.Fatal(err)
		}
		keys[name] = key
	}
	restricted, err := gossh.NewSignerWithAlgorithms(keys["rsa"].(gossh.AlgorithmSigner), []string{gossh.KeyAlgoRSASHA512})
	if err != nil {
		t.Fatal(err)
	}
	keys["rsa-sha2-512"] = restricted
	return keys
}

// A key that does not say with which algorithms it signs would sign with another than it did.
func TestStrangeHostKey(t *testing.T) {
	if _, err := HostKey(struct{ gossh.Signer }{hostKeys(t)["rsa"]}); err == nil {
		t.Error("no error")
	}
}

// What counting costs of each read from a connection.
func BenchmarkRead(b *testing.B) {
	all, client := &All{}, &chatter{}
	counted := all.Conn(client)
	counted.Authenticated()
	p := make([]byte, 4096)
	b.Run("plain", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = client.Read(p)
		}
	})
	b.Run("counted", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = counted.Read(p)
			counted.consume(len(p))
		}
	})
}
