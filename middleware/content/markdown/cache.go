package markdown

import (
	"slices"
	"strings"
	"sync"

	"foyer/middleware/content/placeholder"
)

// The bounds of a [Cache].
const (
	cacheLayouts = 256
	cacheBytes   = 4 << 20
)

// Cache keeps the layouts of pages that are the same for all visitors: without placeholders, or only with shared ones
// ([placeholder.Shared]). It holds at most 256 layouts and 4 MiB; if there is no room, any of them is forgotten. The zero
// Cache is empty. It is safe for concurrent use.
type Cache struct {
	mu      sync.Mutex
	layouts map[layoutKey]string
	bytes   int
}

type layoutKey struct {
	page    *Page
	width   int
	profile Profile
	values  string
}

// Layout is [Page.Layout] with the cache.
func (c *Cache) Layout(p *Page, width int, profile Profile, values placeholder.Values) string {
	if slices.ContainsFunc(p.names, func(name string) bool { return !placeholder.Shared(name) }) {
		return p.Layout(width, profile, values)
	}
	key := layoutKey{p, min(max(width, MinWidth), MaxWidth), profile, p.shared(values)}
	c.mu.Lock()
	text, known := c.layouts[key]
	c.mu.Unlock()
	if !known {
		text = p.Layout(width, profile, values)
		c.keep(key, text)
	}
	return text
}

// shared returns the values of the page's placeholders.
func (p *Page) shared(values placeholder.Values) string {
	if len(p.names) == 0 {
		return ""
	}
	all := make([]string, len(p.names))
	for i, name := range p.names {
		all[i] = values.Value(name)
	}
	return strings.Join(all, "\x00")
}

func (c *Cache) keep(key layoutKey, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.layouts == nil {
		c.layouts = make(map[layoutKey]string)
	}
	if _, known := c.layouts[key]; known {
		return
	}
	for old, forgotten := range c.layouts {
		if len(c.layouts) < cacheLayouts && c.bytes+len(text) <= cacheBytes {
			break
		}
		delete(c.layouts, old)
		c.bytes -= len(forgotten)
	}
	c.layouts[key] = text
	c.bytes += len(text)
}
