//go:build !windows

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/auth/passwords"
	"foyer/middleware/sshtest"
)

// The attacks of this file make the server work, hold or believe something on somebody else's account.

// expensiveKey returns a key whose signatures take long to verify.
func expensiveKey(t testing.TB) gossh.Signer {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P521(), nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := gossh.NewSignerFromSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestHostileProofs floods a server with valid signatures by a key that it refuses. After six the connection ends.
func TestHostileProofs(t *testing.T) {
	h := startTarget(t, append(shortDeadlines, "--penalties=false")...)
	key := expensiveKey(t)
	h.checkAttack(t, func(a *attacker) {
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for range 10 {
					c, proofs := a.handshaken(), 0
					for proofs < 30 {
						if _, err := c.PublicKey("guest", key); err != nil {
							break
						}
						proofs++
					}
					if proofs > 5 {
						a.Errorf("the server answers %d proofs on a connection", proofs)
					}
				}
			})
		}
		all.Wait()
	})
}

// TestHostileEviction connects again and again with clients that never close and are pushed out by their own next ones, until
// the server refuses their source.
func TestHostileEviction(t *testing.T) {
	h := startTarget(t, append(shortDeadlines, "--max-unauthenticated-per-source", "10")...)
	h.checkAttack(t, func(a *attacker) {
		sshtest.Eventually(t, "the source is never refused", func() bool {
			_, err := a.dial().Write([]byte("SSH-2.0-hostile\r\n"))
			a.must(err)
			return a.refused()
		})
	})
}

// TestHostileSlowReaders asks for a long text in 500 sessions and reads none of it.
func TestHostileSlowReaders(t *testing.T) {
	const readers = 50
	dir := privateDir(t)
	message := filepath.Join(dir, messageFile)
	if err := os.WriteFile(message, []byte(strings.Repeat("a line that nobody reads\n", 40_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	h := startTargetIn(t, dir, nil, append(shortDeadlines, "--penalties=false", "--log-level", "warn", "--message", message)...)
	h.checkAttack(t, func(a *attacker) {
		for range readers {
			c := a.readsNothing()
			for id := range uint32(10) {
				c.open(id)
			}
			for id := range uint32(10) {
				c.send(request(id, "shell", false))
			}
		}
		sshtest.Eventually(t, "the sessions do not write", func() bool { return h.measure(t).Goroutines > h.idle.Goroutines+10*readers })
	})
}

// TestHostilePrompts fills a server with clients from ever new addresses that wait where a person types the password. The
// people of an office who came before them still get in.
func TestHostilePrompts(t *testing.T) {
	const places, office = 100, 3
	for name, stage := range map[string]func(*client){
		"that have exchanged keys": func(*client) {},
		"at the prompt": func(c *client) {
			_ = c.Service("ssh-userauth")
			_, _ = c.Attempt("guest", connection, "none", nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := startTarget(t, "--penalties=false", "--log-format", "logfmt", "--max-unauthenticated", fmt.Sprint(places), "--max-unauthenticated-per-source", fmt.Sprint(places))
			h.checkAttack(t, func(a *attacker) {
				people := newAttacker(t, h)
				people.from = "127.0.0.2"
				defer people.leave()
				var waiting []*client
				for range office {
					c := people.handshaken()
					_, err := c.Attempt("guest", connection, "none", nil)
					a.must(err)
					waiting = append(waiting, c)
				}
				next := time.NewTicker(time.Second / 40) // the oldest wait for more than two seconds
				defer next.Stop()
				for i := range 2 * places {
					<-next.C
					conn, err := a.dialFrom(fmt.Sprintf("%s%d.%d", a.network, i/250, 1+i%250))
					a.must(err)
					c := &client{sshtest.NewRaw(conn), a, conn}
					a.must(c.Greet("SSH-2.0-hostile"))
					a.must(c.Keys(sshtest.Curve25519))
					stage(c)
				}
				for i, c := range waiting {
					if in, err := c.PublicKey("guest", h.key); !in {
						t.Errorf("person %d of the office does not get in: %v", i, err)
					}
				}
			})
		})
	}
}

// TestHostileReplacedInPlace replaces a password file by another one with the same inode, size and modification time, as
// rsync --inplace -t does. Afterwards the new password lets in, and the old one does not.
func TestHostileReplacedInPlace(t *testing.T) {
	h := startTarget(t, append(shortDeadlines, "--penalties=false")...)
	path := filepath.Join(h.dir, "ssh-passwords")
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "other")
	if err := passwords.Create(other, "guest", "another password"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * time.Second) // the file is not one that has just changed
	h.checkAttack(t, func(a *attacker) {
		if text, err := h.login("127.0.0.1", "guest", gossh.Password(h.password)); err != nil {
			t.Fatalf("%q, %v", text, err)
		}
		a.must(os.WriteFile(path, text, 0o600))
		a.must(os.Chtimes(path, before.ModTime(), before.ModTime()))
		if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) || after.Size() != before.Size() {
			t.Fatalf("the file is another one: %v", err)
		}
		if _, err := h.login("127.0.0.1", "guest", gossh.Password(h.password)); err == nil {
			t.Error("the old password lets in")
		}
		if _, err := h.login("127.0.0.1", "guest", gossh.Password("another password")); err != nil {
			t.Errorf("the new password does not let in: %v", err)
		}
	})
}
