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

// What the door has to be like, whatever is done to it.
const (
	// visitTime is how long a visitor may take from the first packet to the goodbye.
	visitTime = 2 * time.Second * slowness
	// patient is how long a test waits for what must come.
	patient = 10 * time.Second * slowness
	// settleTime is how long the door may take to be as it was: it may still write to who has left.
	settleTime = unreadTime + 3*time.Second*slowness
	// maxResident bounds the door's memory at its worst moment. Measured are 54 MiB at most, of which two password
	// hashes take 38, and 140 while thousands of connections a second come and go on two processors.
	maxResident = 240 << 20 * bulk
	// maxHeap is how much more than at first may be in use when the attackers have left: tables of sources.
	maxHeap = 8 << 20
	// freeLog is how much the log may say of attackers before it counts what they spend.
	freeLog = 64 << 10
)

// The deadlines of the doors under attack are short.
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

// hall is a door under attack, and what it is like at rest.
type hall struct {
	*process
	key  gossh.Signer // guest's
	seen int          // the last vitals
	rest vitals
	log  int64 // how much of it was read
}

// openHall starts a door whose only user has a key.
func openHall(t *testing.T, args ...string) *hall {
	t.Helper()
	return openHallIn(t, privateDir(t), nil, args...)
}

// privateDir returns a new directory that only its owner can write.
func privateDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func openHallIn(t *testing.T, dir string, env []string, args ...string) *hall {
	t.Helper()
	door, err := start(dir, append(env, watchVar+"="+filepath.Join(dir, "watch")), args)
	if err != nil {
		t.Fatal(err)
	}
	h := &hall{process: door, key: sshtest.HostKey(t)}
	t.Cleanup(func() {
		if err := door.stop(os.Interrupt); err != nil {
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
	h.rest = h.calm(t)
	return h
}

// calm waits until the door does not change any more.
func (h *hall) calm(t testing.TB) vitals {
	t.Helper()
	last := h.look(t)
	poll(t, "the door does not come to rest", func() bool {
		now := h.look(t)
		same := now.Goroutines == last.Goroutines && now.descriptors == last.descriptors
		last = now
		return same
	})
	return last
}

// visit is what everybody is entitled to, in time.
func (h *hall) visit(t testing.TB) {
	t.Helper()
	h.visitFrom(t, "127.0.0.1")
}

func (h *hall) visitFrom(t testing.TB, address string) {
	t.Helper()
	began := time.Now()
	text, err := h.enter(address, "guest", gossh.PublicKeys(h.key))
	took := time.Since(began)
	if err != nil || text != middleware.SimpleMessage {
		t.Errorf("an honest visitor got %q, %v after %v", text, err, took)
	}
	if took > visitTime {
		t.Errorf("an honest visit took %v", took)
	}
}

// keepVisiting has an honest visitor come again and again, and once more after enough was called.
func (h *hall) keepVisiting(t testing.TB) (enough func()) {
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

// attack is one way to treat a door badly. It returns when the worst is reached; its connections stay until a visitor has
// come and gone.
type attack struct {
	name string
	run  func(a *attacker)
}

// withstand runs an attack, or several at once, and checks that the door is none the worse for it.
func (h *hall) withstand(t *testing.T, run func(a *attacker)) {
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
	if t.Logf("the door held %d MiB", peak>>20); peak > maxResident {
		t.Errorf("more than %d MiB", maxResident>>20)
	}
	h.readLog(t, a.spent())
}

// spare is how many goroutines more than at first are not worth a word: timers of layers that had nothing to do before.
const spare = 3

// settle waits until the door is as it was.
func (h *hall) settle(t *testing.T) {
	t.Helper()
	var now vitals
	if !soon(settleTime, func() bool {
		now = h.look(t)
		return now.Goroutines <= h.rest.Goroutines+spare && now.descriptors <= h.rest.descriptors && now.Heap <= h.rest.Heap+maxHeap
	}) {
		t.Errorf("the door does not come to rest: %v, at first %v\n%.3000s", now, h.rest, now.Stacks)
		h.rest = now // what follows is not to blame
	}
}

// readLog reads what is new in the log. What it says of attackers costs less than what they have spent.
func (h *hall) readLog(t *testing.T, spent int64) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(h.dir, "door.log"))
	if err != nil {
		t.Fatal(err)
	}
	fresh := text[h.log:]
	h.log = int64(len(text))
	said := int64(0)
	for line := range bytes.Lines(fresh) {
		if !bytes.Contains(line, []byte("addr=127.0.")) {
			said += int64(len(line))
		}
		for _, word := range []string{"panic", "fatal error", "DATA RACE"} {
			if bytes.Contains(line, []byte(word)) {
				t.Errorf("the log says: %.2000s", fresh[bytes.Index(fresh, []byte(word)):])
				return
			}
		}
	}
	if said > freeLog+spent {
		t.Errorf("the log has %d KiB about attackers who have sent %d KiB", said>>10, spent>>10)
	}
}

// sources counts the addresses of attackers: each has its own network. Those that begin with 127.0 are for honest visitors.
var sources atomic.Uint32

// network returns a network of loopback that nobody has used before, without its last two numbers.
func network() string {
	n := sources.Add(1)
	return fmt.Sprintf("127.%d.", 1+n%250)
}

// TestHostile does to one door after the other what strangers do, and looks after each whether it is as before.
func TestHostile(t *testing.T) {
	h := openHall(t, append(shortDeadlines, "--penalties=false")...)
	for _, attacks := range [][]attack{
		beforeVersion(), versionLines(), kexInits(), onItsHeels(), keyExchanges(), services(), authentications(), proofs(), stories(), idleTalk(),
		channelOpens(), requests(), channelData(), rekeys(), goodbyes(),
	} {
		for _, attack := range attacks {
			t.Run(attack.name, func(t *testing.T) { h.withstand(t, attack.run) })
		}
	}
	t.Run("all who wait", func(t *testing.T) {
		h.withstand(t, func(a *attacker) { a.atOnce(t, slices.Concat(waitingOutside(), waitingInside(), waitingDeaf())) })
	})
}

// atOnce runs attacks that take as long as the door lets them.
func (a *attacker) atOnce(t *testing.T, attacks []attack) {
	var all sync.WaitGroup
	for _, attack := range attacks {
		all.Go(func() {
			t.Run(attack.name, func(t *testing.T) {
				one := newAttacker(t, a.hall)
				defer one.leave()
				attack.run(one)
				a.sent.Add(one.spent())
			})
		})
	}
	all.Wait()
}
