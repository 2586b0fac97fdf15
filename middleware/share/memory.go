package share

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"
)

// Memory is an engine for replicas in one process. A server that stands alone needs none.
type Memory struct {
	Rules
	sources *table

	mu       sync.Mutex
	replicas map[*memoryConnection]Receiver
	text     string    // of the switch
	end      time.Time // of the switch; zero for none
}

// NewMemory returns an engine without penalties.
func NewMemory(rules Rules) *Memory {
	return &Memory{Rules: rules, sources: newTable(MaxSources), replicas: map[*memoryConnection]Receiver{}}
}

func (m *Memory) String() string { return "memory" }

// Open implements [Engine].
func (m *Memory) Open(_ context.Context, receiver Receiver) (Connection, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &memoryConnection{m}
	m.replicas[c] = receiver
	return c, nil
}

// memoryConnection is a [Connection], which is never lost.
type memoryConnection struct{ engine *Memory }

// Merge does what merge.lua does.
func (c *memoryConnection) Merge(_ context.Context, charges []Charge) (blocks []Block, _ int, _ error) {
	m, now := c.engine, time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, charge := range charges {
		left, blocked := m.sources.owes(now, charge.ID)
		left = min(max(left, charge.Least)+charge.Amount, m.Max)
		blocked = blocked || charge.Blocked || left > m.Min
		m.sources.merge(now, charge.ID, now.Add(left), blocked)
		if blocked {
			blocks = append(blocks, Block{charge.ID, left})
		}
	}
	if len(blocks) > 0 {
		for _, receiver := range m.replicas {
			receiver.Blocks(blocks, 0)
		}
	}
	return blocks, 0, nil
}

// Load implements [Connection].
func (c *memoryConnection) Load(_ context.Context, receive func([]Block, int)) error {
	var blocks []Block
	for id, left := range c.engine.sources.after(time.Now(), 0) {
		blocks = append(blocks, Block{id, left})
	}
	slices.SortFunc(blocks, func(a, b Block) int { return cmp.Compare(b.Left, a.Left) })
	receive(blocks, 0)
	return nil
}

// Switch implements [Connection].
func (c *memoryConnection) Switch(context.Context) (string, error) {
	c.engine.mu.Lock()
	defer c.engine.mu.Unlock()
	return c.engine.current(), nil
}

// current returns the switch. It is called with the lock held.
func (m *Memory) current() string {
	if !m.end.IsZero() && !m.end.After(time.Now()) {
		m.text = ""
	}
	return m.text
}

// SetSwitch implements [Connection].
func (c *memoryConnection) SetSwitch(_ context.Context, text string, keep time.Duration, absent bool) error {
	m := c.engine
	m.mu.Lock()
	defer m.mu.Unlock()
	if absent && m.current() != "" {
		return nil
	}
	m.text, m.end = text, time.Time{}
	if keep > 0 {
		m.end = time.Now().Add(keep)
	}
	for _, receiver := range m.replicas {
		receiver.Switched()
	}
	return nil
}

// Ping implements [Connection].
func (c *memoryConnection) Ping(context.Context) error { return nil }

// Lost implements [Connection].
func (c *memoryConnection) Lost() <-chan error { return nil }

// Close implements [Connection].
func (c *memoryConnection) Close() {
	c.engine.mu.Lock()
	defer c.engine.mu.Unlock()
	delete(c.engine.replicas, c)
}
