package eventlog

import (
	"io"
	"sync"
)

// Page is what a logger writes to so that the lines of connections which have waited are written with one call of the
// kernel. All else is written as it comes.
type Page struct {
	to io.Writer

	mu   sync.Mutex
	held bool
	text []byte
}

// NewPage returns a page whose lines go to w.
func NewPage(w io.Writer) *Page { return &Page{to: w} }

// Write implements [io.Writer].
func (p *Page) Write(line []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.held {
		return p.to.Write(line)
	}
	p.text = append(p.text, line...)
	return len(line), nil
}

// hold keeps lines back until release. No page has nothing to keep them.
func (p *Page) hold() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = true
}

func (p *Page) release() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = false
	if len(p.text) > 0 {
		_, _ = p.to.Write(p.text)
		p.text = p.text[:0]
	}
}
