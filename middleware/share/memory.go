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
	replicas map[*memoryConnection]func([]Block, int)
}

// NewMemory returns an engine without penalties.
func NewMemory(rules Rules) *Memory {
	return &Memory{Rules: rules, sources: newTable(MaxSources), replicas: map[*memoryConnection]func([]Block, int){}}
}

func (m *Memory) String() string { return "memory" }

// Open implements [Engine].
func (m *Memory) Open(_ context.Context, receive func([]Block, int)) (Connection, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &memoryConnection{m}
	m.replicas[c] = receive
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
		for _, receive := range m.replicas {
			receive(blocks, 0)
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
