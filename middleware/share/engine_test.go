package share_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"foyer/middleware/share"
	"foyer/middleware/sshtest"
)

var rules = share.Rules{Min: 15 * time.Second, Max: 10 * time.Minute}

// atRedis returns an engine at a redis-server's socket.
func atRedis(r *sshtest.Redis) *share.Valkey {
	return &share.Valkey{Rules: rules, URL: share.URL("unix://" + r.Socket), Name: "test"}
}

// suite is a test or a benchmark with subtests.
type suite[T any] interface {
	testing.TB
	Run(name string, test func(T)) bool
}

// engines calls test with each engine.
func engines[T suite[T]](t T, test func(t T, engine share.Engine)) {
	t.Run("memory", func(t T) { test(t, share.NewMemory(rules)) })
	t.Run("redis", func(t T) { test(t, atRedis(sshtest.StartRedis(t))) })
	t.Run("cluster", func(t T) {
		r := sshtest.StartRedis(t, "--cluster-enabled", "yes", "--port", freePort(t), "--cluster-port", freePort(t), "--bind", "127.0.0.1", "--cluster-announce-ip", "127.0.0.1")
		r.CLI("cluster", "addslotsrange", "0", "16383")
		sshtest.Eventually(t, "the cluster does not begin", func() bool { return strings.Contains(r.CLI("cluster", "info"), "cluster_state:ok") })
		port := strings.Fields(r.CLI("config", "get", "port"))[1]
		test(t, &share.Valkey{Rules: rules, URL: share.URL("redis://127.0.0.1:" + port), Name: "test"})
	})
}

// received collects blocks.
type received struct {
	mu      sync.Mutex
	blocks  map[string]time.Duration
	invalid int

	switched atomic.Int64 // notifications
}

func (r *received) receive(blocks []share.Block, invalid int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.blocks == nil {
		r.blocks = map[string]time.Duration{}
	}
	for _, b := range blocks {
		r.blocks[b.ID] = b.Left
	}
	r.invalid += invalid
}

func (r *received) left(id string) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.blocks[id]
}

func open(t testing.TB, engine share.Engine) (share.Connection, *received) {
	t.Helper()
	r := &received{}
	ctx, cancel := context.WithTimeout(t.Context(), sshtest.Patience)
	defer cancel()
	conn, err := engine.Open(ctx, share.Receiver{Blocks: r.receive, Switched: func() { r.switched.Add(1) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn, r
}

// owes reports whether a duration is what is left of another, after up to some seconds.
func owes(got, want time.Duration) bool { return got <= want && got > want-5*time.Second }

// merge adds charges, and returns which sources are blocked.
func merge(t *testing.T, conn share.Connection, charges ...share.Charge) map[string]time.Duration {
	t.Helper()
	blocks, invalid, err := conn.Merge(t.Context(), charges)
	if err != nil || invalid > 0 {
		t.Fatal(err, invalid)
	}
	var r received
	r.receive(blocks, 0)
	return r.blocks
}

// Amounts add up, from several replicas; a block is told to all of them.
func TestEngineAddsUp(t *testing.T) {
	engines(t, func(t *testing.T, engine share.Engine) {
		a, seenA := open(t, engine)
		b, seenB := open(t, engine)
		five := share.Charge{ID: "192.0.2.1/32", Amount: 5 * time.Second}
		for _, conn := range []share.Connection{a, b} {
			if got := merge(t, conn, five); len(got) > 0 {
				t.Errorf("blocked: %v", got)
			}
		}
		ten := share.Charge{ID: five.ID, Amount: 10 * time.Second}
		if got := merge(t, a, ten, share.Charge{ID: "192.0.2.2/32", Amount: time.Second}); len(got) != 1 || !owes(got[five.ID], 20*time.Second) {
			t.Errorf("blocked: %v", got)
		}
		for _, seen := range []*received{seenA, seenB} {
			sshtest.Eventually(t, "a replica is not told", func() bool { return owes(seen.left(five.ID), 20*time.Second) })
		}
		if got := merge(t, b, share.Charge{ID: five.ID, Amount: time.Hour}); got[five.ID] != rules.Max {
			t.Errorf("more than the maximum: %v", got)
		}
		least := share.Charge{ID: "192.0.2.3/32", Least: 20 * time.Second}
		if got := merge(t, a, least); !owes(got[least.ID], least.Least) {
			t.Errorf("at least: %v", got)
		}
		if got := merge(t, b, least); !owes(got[least.ID], least.Least) {
			t.Errorf("at least, twice: %v", got)
		}
		known := share.Charge{ID: "192.0.2.4/32", Least: 3 * time.Second, Blocked: true}
		if got := merge(t, a, known); got[known.ID] != known.Least {
			t.Errorf("the end of a block: %v", got)
		}
		if got := merge(t, a, share.Charge{ID: known.ID, Amount: time.Second}); !owes(got[known.ID], 4*time.Second) {
			t.Errorf("a source that is blocked owes more: %v", got)
		}
	})
}

// Who comes later loads what is in force, the longest first. What has ended is gone.
func TestEngineLoads(t *testing.T) {
	engines(t, func(t *testing.T, engine share.Engine) {
		conn, _ := open(t, engine)
		var charges []share.Charge
		for i := range 3000 {
			charges = append(charges, share.Charge{ID: fmt.Sprintf("192.0.%d.%d/32", i/250, i%250), Amount: time.Minute + time.Duration(i)*time.Millisecond})
		}
		charges = append(charges, share.Charge{ID: "192.0.2.255/32", Amount: 5 * time.Second}, share.Charge{ID: "192.0.3.255/32", Least: time.Millisecond, Blocked: true})
		for batch := range slices.Chunk(charges, 500) {
			if _, _, err := conn.Merge(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
		}
		sshtest.Eventually(t, "not loaded in order", func() bool {
			var all []share.Block
			err := conn.Load(t.Context(), func(blocks []share.Block, invalid int) { all = append(all, blocks...) })
			longer := func(a, b share.Block) int { return int(b.Left - a.Left) }
			return err == nil && len(all) == 3000 && slices.IsSortedFunc(all, longer)
		})
		if err := conn.Ping(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Keys have the fleet's name, and expire. An attacker with more addresses than fit pushes out who owes least.
func TestRedisKeys(t *testing.T) {
	r := sshtest.StartRedis(t)
	conn, _ := open(t, atRedis(r))
	if _, _, err := conn.Merge(t.Context(), []share.Charge{{ID: "192.0.2.1/32", Amount: 9 * time.Minute}}); err != nil {
		t.Fatal(err)
	}
	if err := conn.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range share.MaxSources/250 + 20 {
		charges := make([]share.Charge, 250)
		for j := range charges {
			charges[j] = share.Charge{ID: fmt.Sprintf("10.%d.%d.%d/32", i>>8, i&255, j), Amount: 5 * time.Second}
		}
		if _, _, err := conn.Merge(t.Context(), charges); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := strconv.Atoi(r.CLI("zcard", "foyer:test:penalties")); err != nil || n > share.MaxSources {
		t.Errorf("%d sources, error %v", n, err)
	}
	if got := r.CLI("zscore", "foyer:test:penalties", "192.0.2.1/32"); !strings.HasSuffix(got, ".5") {
		t.Errorf("the block is gone: %q", got)
	}
	keys := strings.Fields(r.CLI("keys", "*"))
	slices.Sort(keys)
	if got := strings.Join(keys, " "); got != "foyer:test:alive foyer:test:penalties" {
		t.Errorf("the keys are %s", got)
	}
	for _, key := range keys {
		if r.CLI("pttl", key) == "-1" {
			t.Errorf("%s does not expire", key)
		}
	}
}
