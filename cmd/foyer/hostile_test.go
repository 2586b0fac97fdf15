//go:build !windows

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
	"foyer/middleware/sshtest"
)

// The bounds that the server keeps during every attack.
const (
	// visitTime bounds how long tests wait for a login with a session.
	visitTime = 10 * time.Second * slowness
	// settleTime bounds the wait for the server to be idle again: it may still write to clients that have disconnected.
	settleTime = unreadTime + 3*time.Second*slowness
	// maxResident bounds the peak of the server's memory. Measured are 54 MiB at most, of which two password hashes take
	// 38, and 140 with thousands of connections a second on two processors.
	maxResident = 240 << 20 * bulk
	// maxHeap bounds the growth of the heap after an attack: the tables of sources stay.
	maxHeap = 8 << 20
	// freeLog is the size of the log that attackers may cause in addition to the bytes that they send.
	freeLog = 64 << 10
)

// The deadlines of the servers under attack are short.
const (
	handshakeTime = 4 * time.Second
	idleTime      = 2 * time.Second
	sessionTime   = 5 * time.Second
	unreadTime    = 2 * time.Second
	keepaliveTime = time.Second
)

var shortDeadlines = []string{
	"--handshake-timeout", handshakeTime.String(), "--idle-timeout", idleTime.String(),
	"--session-timeout", sessionTime.String(),
	"--unread-timeout", unreadTime.String(), "--keepalive", keepaliveTime.String(), "--log-format", "logfmt",
}

// target is a server under attack.
type target struct {
	*process
	key  gossh.Signer // guest's
	seq  int          // of the last usage
	idle usage        // when it is idle
	log  int64        // the length of the log that was checked
}

// startTarget starts a server whose only user has a key.
func startTarget(t *testing.T, args ...string) *target {
	t.Helper()
	return startTargetIn(t, privateDir(t), nil, args...)
}

// messageFile is the name of the file, in the directory of a target, whose text it serves, where there is one.
const messageFile = "message.txt"

// privateDir returns a new directory that only its owner can write.
func privateDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func startTargetIn(t *testing.T, dir string, env []string, args ...string) *target {
	t.Helper()
	srv, err := start(dir, append(env, watchVar+"="+filepath.Join(dir, "watch")), args)
	if err != nil {
		t.Fatal(err)
	}
	h := &target{process: srv, key: sshtest.HostKey(t)}
	t.Cleanup(func() {
		if err := srv.stop(os.Interrupt); err != nil {
			t.Errorf("foyer exited with %v", err)
		}
	})
	keys := filepath.Join(dir, "authorized_keys.d")
	if err := os.MkdirAll(keys, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(keys, "guest"), gossh.MarshalAuthorizedKey(h.key.PublicKey()), 0o600); err != nil {
		t.Fatal(err)
	}
	h.visit(t)
	h.idle = h.stable(t)
	return h
}

// stable waits until the usage of the server does not change.
func (h *target) stable(t testing.TB) usage {
	t.Helper()
	last := h.measure(t)
	sshtest.Eventually(t, "the usage of the server does not become stable", func() bool {
		now := h.measure(t)
		same := now.Goroutines == last.Goroutines && now.descriptors == last.descriptors
		last = now
		return same
	})
	return last
}

// visit logs in as an honest client.
func (h *target) visit(t testing.TB) {
	t.Helper()
	h.visitFrom(t, "127.0.0.1")
}

func (h *target) visitFrom(t testing.TB, address string) {
	t.Helper()
	text, err := h.loginWithin(visitTime, address, "guest", gossh.PublicKeys(h.key))
	want := middleware.SimpleMessage
	if message, err := os.ReadFile(filepath.Join(h.dir, messageFile)); err == nil {
		want = string(message)
	}
	if err != nil || text != want {
		text = text[:min(len(text), 1000)]
		t.Errorf("an honest client received %q, error %v", text, err)
	}
}

// keepVisiting logs in as an honest client again and again, and once more after stop was called.
func (h *target) keepVisiting(t testing.TB) (stop func()) {
	over, done := make(chan bool), make(chan bool)
	go func() {
		defer close(done)
		again := time.NewTicker(100 * time.Millisecond)
		defer again.Stop()
		for {
			select {
			case <-again.C:
				h.visit(t)
			case <-over:
				h.visit(t)
				return
			}
		}
	}()
	return func() { close(over); <-done }
}

// attack is one attack on a server. It returns at its peak. Its connections stay open until an honest client has been
// served.
type attack struct {
	name string
	run  func(a *attacker)
}

// checkAttack runs an attack, or several concurrently, and checks that the server keeps its bounds and recovers.
func (h *target) checkAttack(t *testing.T, run func(a *attacker)) {
	t.Helper()
	h.forgetPeak(t)
	a := newAttacker(t, h)
	t.Cleanup(a.leave)
	func() {
		defer h.keepVisiting(t)()
		run(a)
	}()
	a.leave()
	h.visit(t)
	h.settle(t)
	peak := h.peak(t)
	if t.Logf("the server used %d MiB", peak>>20); peak > maxResident {
		t.Errorf("more than %d MiB", maxResident>>20)
	}
	h.readLog(t, a.spent())
}

// spare is the number of additional goroutines that is allowed after an attack: timers of layers that had nothing to do
// before.
const spare = 3

// settle waits until the usage of the server is as before the attack.
func (h *target) settle(t *testing.T) {
	t.Helper()
	var now usage
	if !sshtest.Within(settleTime, func() bool {
		now = h.measure(t)
		return now.Goroutines <= h.idle.Goroutines+spare && now.descriptors <= h.idle.descriptors && now.Heap <= h.idle.Heap+maxHeap
	}) {
		t.Errorf("the server does not recover: %v, before %v\n%.3000s", now, h.idle, now.Stacks)
		h.idle = now // so that the next attack is not blamed
	}
}

// readLog reads the new part of the log. The lines about attackers must have fewer bytes than the attackers have sent.
func (h *target) readLog(t *testing.T, spent int64) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(h.dir, "server.log"))
	if err != nil {
		t.Fatal(err)
	}
	fresh := text[h.log:]
	h.log = int64(len(text))
	written := int64(0)
	for line := range bytes.Lines(fresh) {
		if !bytes.Contains(line, []byte("addr=127.0.")) {
			written += int64(len(line))
		}
		for _, word := range []string{"panic", "fatal error", "DATA RACE"} {
			if bytes.Contains(line, []byte(word)) {
				t.Errorf("the log has: %.2000s", fresh[bytes.Index(fresh, []byte(word)):])
				return
			}
		}
	}
	if written > freeLog+spent {
		t.Errorf("the log has %d KiB about attackers, who have sent %d KiB", written>>10, spent>>10)
	}
}

// sources counts the networks of attackers: each attacker has one. Those that begin with 127.0 are for honest clients.
var sources atomic.Uint32

// network returns the first two numbers of an unused network of loopback.
func network() string {
	n := sources.Add(1)
	return fmt.Sprintf("127.%d.", 1+n%250)
}

// TestHostile runs one attack after the other on a server, and checks after each that the server has recovered.
func TestHostile(t *testing.T) {
	h := startTarget(t, append(shortDeadlines, "--penalties=false")...)
	for _, attacks := range [][]attack{
		beforeVersion(), versionLines(), kexInits(), secondKexInits(), keyExchanges(), services(), authentications(), proofs(), sequences(), noOpFloods(),
		channelOpens(), requests(), channelData(), rekeys(), disconnects(),
	} {
		for _, attack := range attacks {
			t.Run(attack.name, func(t *testing.T) { h.checkAttack(t, attack.run) })
		}
	}
	t.Run("all that wait", func(t *testing.T) {
		h.checkAttack(t, func(a *attacker) {
			a.concurrently(t, slices.Concat(waitingUnauthenticated(), waitingAuthenticated(), waitingWithoutReading()))
		})
	})
}

// concurrently runs attacks that take as long as the server allows.
func (a *attacker) concurrently(t *testing.T, attacks []attack) {
	var all sync.WaitGroup
	for _, attack := range attacks {
		all.Go(func() {
			t.Run(attack.name, func(t *testing.T) {
				one := newAttacker(t, a.target)
				defer one.leave()
				attack.run(one)
				a.sent.Add(one.spent())
			})
		})
	}
	all.Wait()
}
