package share_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"foyer/middleware/penalties"
	"foyer/middleware/share"
)

// network is an engine behind a network that takes a millisecond, and counts what passes.
type network struct {
	share.Engine
	replicas int

	mu        sync.Mutex
	requests  int
	delivered int                    // messages to replicas
	bytes     int                    // of those messages
	told      map[string]int         // replicas that know of a block, by source
	known     map[string]time.Time   // when all of them did
	seen      map[int]map[string]int // sources that a replica was told of
}

func (n *network) Open(ctx context.Context, receiver share.Receiver) (share.Connection, error) {
	n.mu.Lock()
	replica := len(n.seen)
	n.seen[replica] = map[string]int{}
	n.mu.Unlock()
	receive := receiver.Blocks
	receiver.Blocks = func(blocks []share.Block, invalid int) {
		n.deliver(replica, blocks)
		receive(blocks, invalid)
	}
	conn, err := n.Engine.Open(ctx, receiver)
	return delayed{conn, n}, err
}

func (n *network) deliver(replica int, blocks []share.Block) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delivered++
	for _, b := range blocks {
		n.bytes += len(fmt.Sprintf(" %s %d", b.ID, b.Left.Milliseconds()))
		if n.seen[replica][b.ID]++; n.seen[replica][b.ID] > 1 {
			continue
		}
		if n.told[b.ID]++; n.told[b.ID] == n.replicas {
			n.known[b.ID] = time.Now()
		}
	}
}

// delayed is a connection through a network.
type delayed struct {
	share.Connection
	network *network
}

func (d delayed) Merge(ctx context.Context, charges []share.Charge) ([]share.Block, int, error) {
	time.Sleep(time.Millisecond)
	d.network.mu.Lock()
	d.network.requests++
	d.network.mu.Unlock()
	return d.Connection.Merge(ctx, charges)
}

// outcome is what an attack has achieved.
type outcome struct {
	tries, alone       float64       // guesses for each address, with and without sharing
	mean, last         time.Duration // from the guess that one server would block until all replicas block
	requests, messages float64       // a second
	bytes              float64       // a second, for each replica
}

const (
	addresses = 1000
	lasts     = 10 * time.Second
	oneServer = 4 // guesses
)

func trackers(t *testing.T, n int, shared func() penalties.Shared) (all []*penalties.Tracker) {
	for range n {
		tracker, err := penalties.NewTracker(penalties.Config{Shared: shared(), Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, tracker)
	}
	return all
}

// attack lets each address guess at a rate, at one replica after the other, and returns how many guesses an address has in the
// mean, and when each address has guessed as often as one server allows.
func attack(all []*penalties.Tracker, rate int) (tries float64, due map[string]time.Time) {
	guesses := make([]int, addresses)
	due = map[string]time.Time{}
	for i := range rate * int(lasts/time.Second) {
		for a := range addresses {
			peer := &net.TCPAddr{IP: net.IPv4(10, 0, byte(a>>8), byte(a))}
			time.Sleep(time.Second / time.Duration(rate*addresses))
			c, admitted := all[(i+a)%len(all)].Admit(peer)
			if !admitted {
				continue
			}
			c.Attempt("guest", penalties.Failed)
			c.Close(nil)
			if guesses[a]++; guesses[a] == oneServer {
				due[peer.IP.String()+"/32"] = time.Now()
			}
			tries++
		}
	}
	return tries / addresses, due
}

// simulate lets an attack run against replicas, in virtual time.
func simulate(t *testing.T, replicas, rate int) (o outcome) {
	o.alone, _ = attack(trackers(t, replicas, func() penalties.Shared { return nil }), rate)
	engine := &network{
		Engine: share.NewMemory(rules), replicas: replicas, told: map[string]int{}, known: map[string]time.Time{}, seen: map[int]map[string]int{},
	}
	var started []*share.Replica
	all := trackers(t, replicas, func() penalties.Shared {
		r := share.New(share.Config{Engine: engine, Max: rules.Max, Logger: slog.New(slog.DiscardHandler)})
		started = append(started, r)
		return r
	})
	for _, r := range started {
		r.Start()
	}
	var due map[string]time.Time
	o.tries, due = attack(all, rate)
	for _, r := range started {
		r.Stop()
	}
	if len(due) != addresses || len(engine.known) != addresses {
		t.Errorf("%d replicas: %d addresses were blocked, by all replicas %d", replicas, len(due), len(engine.known))
	}
	for id, at := range due {
		after := max(engine.known[id].Sub(at), 0)
		o.mean += after / addresses
		o.last = max(o.last, after)
	}
	o.requests = float64(engine.requests) / lasts.Seconds()
	o.messages = float64(engine.delivered) / lasts.Seconds()
	o.bytes = float64(engine.bytes) / lasts.Seconds() / float64(replicas)
	return o
}

// memoryOfBlock returns how many bytes a source takes that is blocked.
func memoryOfBlock() float64 {
	const n = 50_000
	blocks := make([]share.Block, n)
	for i := range blocks {
		blocks[i] = share.Block{ID: fmt.Sprintf("10.%d.%d.%d/32", i>>16, i>>8&255, i&255), Left: time.Minute}
	}
	engine := share.NewMemory(rules)
	r := share.New(share.Config{Engine: engine, Max: rules.Max, Logger: slog.New(slog.DiscardHandler)})
	before := heap()
	r.Receive(blocks)
	grown := heap() - before
	runtime.KeepAlive(r)
	runtime.KeepAlive(blocks)
	return float64(grown) / n
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// An attack from 1,000 addresses, spread evenly over the replicas, has a few guesses more than at one server. The table is in
// CAPACITY.md: go test -v -run TestSimulation ./middleware/share
func TestSimulation(t *testing.T) {
	var table strings.Builder
	fmt.Fprintf(&table, "| replicas | guesses/s of an address | guesses: one server | not shared | shared | all refuse after, mean | latest | requests/s | messages/s | bytes/s a replica |\n|%s\n", strings.Repeat("--:|", 10))
	for _, replicas := range []int{3, 30, 300} {
		for _, rate := range []int{1, 20} {
			var o outcome
			synctest.Test(t, func(t *testing.T) { o = simulate(t, replicas, rate) })
			fmt.Fprintf(&table, "| %d | %d | %d | %.1f | %.1f | %d ms | %d ms | %.0f | %.0f | %.0f |\n", replicas, rate, oneServer, o.alone, o.tries,
				o.mean.Milliseconds(), o.last.Milliseconds(), o.requests, o.messages, o.bytes)
			if o.last > time.Second {
				t.Errorf("%d replicas: the last block takes %s", replicas, o.last)
			}
			if most := oneServer + 1.5 + float64(rate)/2; o.tries > most {
				t.Errorf("%d replicas: %.1f guesses at %d a second", replicas, o.tries, rate)
			}
		}
	}
	t.Logf("\n%sa blocked source takes %.0f bytes in a replica", table.String(), memoryOfBlock())
}

// BenchmarkMerge is how many penalties the engine adds up in a second, and how many blocks a replica receives.
func BenchmarkMerge(b *testing.B) {
	engines(b, func(b *testing.B, engine share.Engine) {
		conn, _ := open(b, engine)
		charges := make([]share.Charge, 256)
		n := 0
		for b.Loop() {
			for i := range charges {
				n++
				charges[i] = share.Charge{ID: fmt.Sprintf("10.%d.%d.%d/32", n>>16&255, n>>8&255, n&255), Amount: 20 * time.Second}
			}
			if _, _, err := conn.Merge(b.Context(), charges); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "penalties/s")
	})
}

// BenchmarkReceive is how many blocks a replica receives in a second, as text.
func BenchmarkReceive(b *testing.B) {
	r := share.New(share.Config{Engine: share.NewMemory(rules), Max: rules.Max, Logger: slog.New(slog.DiscardHandler)})
	n := 0
	for b.Loop() {
		var message strings.Builder
		message.WriteString("1")
		for range 512 {
			n++
			fmt.Fprintf(&message, " 10.%d.%d.%d/32 20000", n>>16&255, n>>8&255, n&255)
		}
		r.ReceiveText(message.String())
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "blocks/s")
}
