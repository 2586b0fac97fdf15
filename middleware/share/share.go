// Package share lets several servers, the replicas of one fleet, share the penalties of sources and a maintenance switch.
//
// Every decision is made on local state. A [Replica] sends penalties to an [Engine] in the background; the engine adds up
// what a source owes, as one server would, and tells all replicas when the source is blocked. While the engine cannot be
// reached, each replica blocks by what it sees itself, and keeps its penalties for later.
//
// What comes from the engine is not trusted. It can only block sources, for as long as the largest penalty, and not those
// that a replica exempts; and show a maintenance page.
package share

import (
	"context"
	"strconv"
	"strings"
	"time"
)

// The limits of what an engine and a replica keep.
const (
	// MaxSources is how many sources an engine and a replica remember: as many as both tables of package penalties.
	MaxSources = 1 << 17
	// maxPending is how many sources have penalties that wait to be sent.
	maxPending = 1 << 14
	// maxBatch is how many sources one request has. The engine does nothing else for about 4 ms (BenchmarkMerge).
	maxBatch = 256
	// maxLoad is how many sources one reply has when a replica starts.
	maxLoad = 1000
	// maxMessage is the longest reply, in bytes.
	maxMessage = 128 << 10
)

// Rules are the rules by which an engine adds up penalties, as in penalties.Config: a source is blocked above Min, and no
// penalty exceeds Max.
type Rules struct{ Min, Max time.Duration }

// Charge is what a source owes in addition.
type Charge struct {
	ID      string        // of the source
	Least   time.Duration // raise what it owes to this first; it may have been counted before
	Amount  time.Duration // then add this
	Blocked bool          // the source was blocked when it owed Least
}

// Block is a source that is blocked.
type Block struct {
	ID   string
	Left time.Duration // how long, by the engine's clock
}

// Engine adds up what the replicas report.
type Engine interface {
	// Open connects. Until the connection is closed, the receiver is called.
	Open(ctx context.Context, receiver Receiver) (Connection, error)
	// String returns the address, without a password.
	String() string
}

// Receiver is called with what the engine tells all replicas.
type Receiver struct {
	Blocks   func(blocks []Block, invalid int) // blocks that have begun or last longer, and how much cannot be read
	Switched func()                            // the switch has changed
}

// Connection is a connection to an engine. Lost and Close may be called concurrently with the other methods.
type Connection interface {
	// Merge adds charges, and returns which of the sources are blocked then.
	Merge(ctx context.Context, charges []Charge) (blocks []Block, invalid int, err error)
	// Load calls receive with the blocks in force, the longest first, up to [MaxSources].
	Load(ctx context.Context, receive func(blocks []Block, invalid int)) error
	// Switch returns the text of the switch, or "" if there is none.
	Switch(ctx context.Context) (text string, err error)
	// SetSwitch sets it, for a time if keep is not 0. With absent, nothing happens if there is one.
	SetSwitch(ctx context.Context, text string, keep time.Duration, absent bool) error
	// Ping fails if the engine does not answer or cannot store anything.
	Ping(ctx context.Context) error
	// Lost delivers an error when blocks are not received any more.
	Lost() <-chan error
	Close()
}

// version begins a message. Another version is not read.
const version = "1"

// decode reads a message: the version, and for each source its ID and how many milliseconds it is still blocked. It returns
// how many parts cannot be read.
func decode(message string) (blocks []Block, invalid int) {
	fields := strings.Split(message, " ")
	if len(message) > maxMessage || fields[0] != version || len(fields)%2 == 0 {
		return nil, 1
	}
	for i := 1; i < len(fields); i += 2 {
		left, err := strconv.ParseUint(fields[i+1], 10, 32)
		if err != nil {
			invalid++
			continue
		}
		blocks = append(blocks, Block{fields[i], time.Duration(left) * time.Millisecond})
	}
	return blocks, invalid
}
