package transport_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// share is the server's half of a key exchange (SSH_MSG_KEX_ECDH_REPLY).
const share = "\x00\x00\x00\x0c\x0a\x1f.........."

// The end of the first key exchange is one write, with the packet that follows it.
func TestExchangeIsOneWrite(t *testing.T) {
	p := &peer{}
	c, _ := wrap(p, line, packet)
	before := p.writes
	for _, text := range []string{share, newKeys, "EXT_INFO, encrypted"} {
		_, _ = io.WriteString(c, text)
	}
	if got, want := p.text(), line+packet+share+newKeys+"EXT_INFO, encrypted"; got != want || p.writes != before+1 {
		t.Errorf("%d writes sent %q, want %q", p.writes-before, got, want)
	}
	_, _ = io.WriteString(c, share) // encrypted, it may look like anything
	if p.writes != before+2 {
		t.Error("a later packet is held")
	}
}

// Without a packet that follows, the next read releases the end of the key exchange.
func TestReadReleasesTheExchange(t *testing.T) {
	p := &peer{from: strings.NewReader("NEWKEYS")}
	c, _ := wrap(p, line, packet, share, newKeys)
	if p.text() != line+packet {
		t.Fatalf("sent %q", p.text())
	}
	if _, err := c.Read(make([]byte, 10)); err != nil || p.text() != line+packet+share+newKeys {
		t.Errorf("sent %q, error %v", p.text(), err)
	}
}

// A short session is one write, however it is released, and bytes come in their order.
func TestHold(t *testing.T) {
	const session = "reply, data, status, EOF, close"
	for name, release := range map[string]func(*testing.T, io.WriteCloser, func() error){
		"Release": func(t *testing.T, _ io.WriteCloser, release func() error) {
			if err := release(); err != nil {
				t.Error(err)
			}
		},
		"a millisecond": func(*testing.T, io.WriteCloser, func() error) { time.Sleep(time.Millisecond) },
		"Close":         func(_ *testing.T, c io.WriteCloser, _ func() error) { _ = c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &peer{}
				c, _ := wrap(p, line, newKeys, "encrypted")
				before, writes := p.text(), p.writes
				c.Hold()
				for part := range strings.SplitAfterSeq(session, ", ") {
					if _, err := io.WriteString(c, part); err != nil {
						t.Fatal(err)
					}
				}
				if p.text() != before {
					t.Errorf("sent %q while held", p.text())
				}
				release(t, c, c.Release)
				synctest.Wait()
				if got := p.text()[len(before):]; got != session || p.writes != writes+1 {
					t.Errorf("%d writes sent %q", p.writes-writes, got)
				}
				_ = c.Release() // ends the timer
			})
		})
	}
}

// Nothing is held after Release, and a session may be held again.
func TestHoldAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peer{}
		c, _ := wrap(p, line, newKeys, "encrypted")
		for range 3 {
			writes := p.writes
			c.Hold()
			_, _ = io.WriteString(c, "a")
			time.Sleep(time.Millisecond / 2)
			_, _ = io.WriteString(c, "b")
			_ = c.Release()
			_, _ = io.WriteString(c, "c")
			if !strings.HasSuffix(p.text(), "abc") || p.writes != writes+2 {
				t.Errorf("%d writes sent %q", p.writes-writes, p.text())
			}
		}
	})
}

// What is not short is sent at once.
func TestHoldIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peer{}
		c, _ := wrap(p, line, newKeys, "encrypted")
		before := len(p.text())
		c.Hold()
		part := strings.Repeat("x", 1000)
		for range 20 {
			_, _ = io.WriteString(c, part)
		}
		if got := len(p.text()) - before; got != 20_000 {
			t.Errorf("sent %d of 20000 bytes", got)
		}
		_ = c.Release()
	})
}

// When what was held cannot be sent, Release and every later write return the error, and nothing follows half a packet.
func TestHoldLosesNoError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peer{}
		c, _ := wrap(p, line, newKeys, "encrypted")
		p.most = 3
		before := len(p.text())
		c.Hold()
		if _, err := io.WriteString(c, "status"); err != nil {
			t.Errorf("the write that is held returns %v", err)
		}
		if err := c.Release(); !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("Release returns %v", err)
		}
		for range 2 {
			if n, err := io.WriteString(c, "x"); n != 0 || !errors.Is(err, io.ErrShortWrite) {
				t.Errorf("a later write returns %d, %v", n, err)
			}
		}
		if got := p.text()[before:]; got != "sta" {
			t.Errorf("sent %q", got)
		}
	})
}
