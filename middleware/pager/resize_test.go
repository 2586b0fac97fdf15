package pager

import (
	"testing"

	tea "charm.land/bubbletea/v2"

	"foyer/middleware/content"
)

// A client that resizes its screen again and again has the page laid out once for many sizes, and never for the same one.
func TestResize(t *testing.T) {
	layouts := 0
	m := &model{text: func(content.View) string { layouts++; return "a page" }}
	m = m.sized(80, 24)
	for i := range 100 {
		next, cmd := m.Update(tea.WindowSizeMsg{Width: 81 + i, Height: 24})
		if m = next.(*model); (cmd != nil) != (i == 0) {
			t.Errorf("size %d: waits %t", i, cmd != nil)
		}
	}
	next, _ := m.Update(settled{})
	if m = next.(*model); layouts != 2 || m.shown.Width() != 180 {
		t.Errorf("laid out %d times, for %d columns", layouts, m.shown.Width())
	}
	if _, cmd := m.Update(tea.WindowSizeMsg{Width: 180, Height: 24}); cmd != nil {
		t.Error("the same size is laid out again")
	}
}
