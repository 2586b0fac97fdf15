package share

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"foyer/middleware/eventlog/sanitize"
)

const (
	// interval is the time between two requests of a replica. A block reaches the others within two of them.
	interval = 200 * time.Millisecond
	// patience is how long an engine may take to answer a request.
	patience = time.Second
	// retry is the time between two attempts to connect, give or take a half of it.
	retry = time.Second
	// loading is how long a replica that starts waits for the blocks in force.
	loading = time.Second
	// clockSlack is by how much what two replicas know of a block may differ.
	clockSlack = 2 * time.Second
)

// Config configures a [Replica].
type Config struct {
	Engine Engine
	Key    Key // may be empty
	Max    time.Duration
	Logger *slog.Logger
}

// Replica is one of the servers that share penalties. It is a penalties.Shared, and safe for concurrent use.
type Replica struct {
	Config
	pending *pending
	blocks  *table

	up                      atomic.Bool
	sent, received, invalid atomic.Uint64

	current  atomic.Pointer[Switch]
	switched chan struct{} // has one element if the switch may have changed

	stop   context.CancelFunc
	loaded chan struct{} // closed after the first attempt to load
	ended  chan struct{}

	// Of the goroutine that runs.
	lost   time.Time // when it warned; zero if the engine can be reached
	looked time.Time // when it read the switch
	once   sync.Once
}

// New returns a replica that does nothing yet.
func New(cfg Config) *Replica {
	return &Replica{
		Config: cfg, pending: newPending(maxPending, cfg.Max), blocks: newTable(MaxSources), switched: make(chan struct{}, 1), loaded: make(chan struct{}), ended: make(chan struct{}),
	}
}

// Add tells the other replicas of a penalty. It does not wait for the network.
func (r *Replica) Add(source netip.Prefix, penalty time.Duration) {
	r.pending.add(time.Now(), Charge{ID: r.Key.ID(source), Amount: penalty})
}

// Blocked returns how long a source is still blocked, and whether this is the first call that says so.
func (r *Replica) Blocked(source netip.Prefix) (left time.Duration, first bool) {
	return r.blocks.left(time.Now(), func() string { return r.Key.ID(source) })
}

// Start begins to share. It waits up to a second for the blocks in force, so that a restart forgives nobody. Nil does nothing.
func (r *Replica) Start() {
	if r == nil {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	go r.run(ctx)
	select {
	case <-r.loaded:
	case <-time.After(loading):
	}
}

// Stop sends what is left, for up to a second, and ends the sharing. Nil does nothing.
func (r *Replica) Stop() {
	if r == nil {
		return
	}
	r.stop()
	<-r.ended
}

// run connects until it is told to stop.
func (r *Replica) run(ctx context.Context) {
	defer close(r.ended)
	for ctx.Err() == nil {
		err := r.connect(ctx)
		r.once.Do(func() { close(r.loaded) })
		if ctx.Err() != nil {
			return
		}
		r.fails(err)
		r.pending.expire(time.Now())
		wait(ctx, retry/2+rand.N(retry))
	}
}

// connect shares until the connection is lost or it is told to stop.
func (r *Replica) connect(ctx context.Context) error {
	opening, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := r.Engine.Open(opening, Receiver{r.receive, r.notice})
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := r.load(ctx, conn); err != nil {
		return err
	}
	if err := r.look(ctx, conn); err != nil {
		return err
	}
	r.once.Do(func() { close(r.loaded) })
	if err := ping(ctx, conn); err != nil {
		return err
	}
	r.works()
	return r.exchange(ctx, conn)
}

// load loads the blocks in force. Those that the engine does not know are sent to it: it may have been started again.
func (r *Replica) load(ctx context.Context, conn Connection) error {
	missing := r.blocks.after(time.Now(), clockSlack)
	err := conn.Load(ctx, func(blocks []Block, invalid int) {
		r.receive(blocks, invalid)
		for _, b := range blocks {
			if b.Left > missing[b.ID]-clockSlack {
				delete(missing, b.ID)
			}
		}
	})
	if err != nil {
		return err
	}
	for id, left := range missing {
		r.pending.add(time.Now(), Charge{ID: id, Least: left, Blocked: true})
	}
	return nil
}

// exchange sends what comes, at intervals, until the connection is lost. When it is told to stop, it sends what is left.
func (r *Replica) exchange(ctx context.Context, conn Connection) error {
	for {
		if ctx.Err() != nil {
			return r.sendLast(conn)
		}
		if err := r.send(ctx, conn); err != nil {
			if ctx.Err() != nil {
				return r.sendLast(conn)
			}
			return err
		}
		wait(ctx, interval)
		if time.Since(r.looked) > lookAgain {
			r.notice()
		}
		select {
		case <-ctx.Done():
		case <-r.pending.wake:
		case <-r.switched:
			if err := r.look(ctx, conn); err != nil {
				return err
			}
		case err := <-conn.Lost():
			return err
		case <-time.After(patience):
			if err := ping(ctx, conn); err != nil {
				return err
			}
		}
	}
}

// Switch returns the maintenance switch, or nil if nobody has ever set it. After a change it is another one.
func (r *Replica) Switch() *Switch {
	if r == nil {
		return nil
	}
	return r.current.Load()
}

// notice makes the replica read the switch.
func (r *Replica) notice() {
	select {
	case r.switched <- struct{}{}:
	default:
	}
}

// look reads the switch. An engine that has lost it is given the one that is known.
func (r *Replica) look(ctx context.Context, conn Connection) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r.looked = time.Now()
	text, err := conn.Switch(ctx)
	known := r.current.Load()
	switch {
	case err != nil:
		return err
	case text == "" && known != nil && !known.over(r.looked):
		return SetSwitch(ctx, conn, *known, true)
	case text == "":
		return nil
	}
	read, err := parseSwitch(text)
	if err != nil {
		r.invalid.Add(1)
		return nil
	}
	if known == nil || !known.equal(read) {
		r.current.Store(read)
	}
	return nil
}

// send sends what is pending. What comes meanwhile waits for the next time, unless there is a lot of it.
func (r *Replica) send(ctx context.Context, conn Connection) error {
	for n := maxBatch; n == maxBatch; {
		charges := r.pending.take(time.Now(), maxBatch)
		if n = len(charges); n == 0 {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, patience)
		blocks, invalid, err := conn.Merge(ctx, charges)
		cancel()
		if err != nil {
			r.pending.restore(time.Now(), charges)
			return err
		}
		r.sent.Add(uint64(n))
		r.receive(blocks, invalid)
	}
	return nil
}

// sendLast sends what is pending when the replica is told to stop, for as long as an engine that works takes.
func (r *Replica) sendLast(conn Connection) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return r.send(ctx, conn)
}

func ping(ctx context.Context, conn Connection) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return conn.Ping(ctx)
}

// receive merges blocks. What no replica can have sent is ignored and counted.
func (r *Replica) receive(blocks []Block, invalid int) {
	now := time.Now()
	for _, b := range blocks {
		if b.Left <= 0 || b.Left > r.Max || !r.Key.valid(b.ID) {
			invalid++
			continue
		}
		r.blocks.merge(now, b.ID, now.Add(b.Left), true)
		r.received.Add(1)
	}
	r.invalid.Add(uint64(invalid))
}

// works logs that the engine can be reached, if that was not so before.
func (r *Replica) works() {
	r.up.Store(true)
	if r.lost.IsZero() {
		r.Logger.Info("sharing penalties", "addr", r.Engine.String())
	} else {
		r.Logger.Info("sharing penalties again", "addr", r.Engine.String(), "duration", time.Since(r.lost).Round(time.Millisecond))
	}
	r.lost = time.Time{}
}

// fails logs that the engine cannot be reached, once.
func (r *Replica) fails(err error) {
	r.up.Store(false)
	if r.lost.IsZero() {
		r.lost = time.Now()
		r.Logger.Warn("penalties are not shared", "addr", r.Engine.String(), "err", sanitize.String(err.Error(), 200))
	}
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// Stats are what a replica has done.
type Stats struct {
	Up             bool          // the engine can be reached
	Lag            time.Duration // how long the first of the pending penalties has been waiting
	Blocked        int           // sources
	Sent, Received uint64        // penalties that were sent, blocks that were received
	Dropped        uint64        // penalties of too many sources at once
	Invalid        uint64        // messages, or parts of them
}

// Stats returns what the replica has done.
func (r *Replica) Stats() Stats {
	r.pending.mu.Lock()
	dropped := r.pending.dropped
	r.pending.mu.Unlock()
	now := time.Now()
	return Stats{
		Up: r.up.Load(), Lag: r.pending.lag(now), Blocked: int(r.blocks.n.Load()),
		Sent: r.sent.Load(), Received: r.received.Load(), Dropped: dropped, Invalid: r.invalid.Load(),
	}
}
