package program

import (
	"reflect"
	"runtime/debug"
	"sync/atomic"

	tea "charm.land/bubbletea/v2"
)

// panics keeps the first panic of a program, and ends the program. Bubble Tea would print it on the process's stderr, into
// the log.
type panics struct {
	end   func() // the program
	first atomic.Pointer[caught]
}

type caught struct {
	value any
	stack []byte
}

// rescue is deferred around code of the program.
func (p *panics) rescue() {
	if r := recover(); r != nil {
		p.first.CompareAndSwap(nil, &caught{r, debug.Stack()})
		p.end()
	}
}

// guarded is a model whose panics are kept.
type guarded struct {
	tea.Model
	panics *panics
}

// Init implements [tea.Model].
func (g guarded) Init() tea.Cmd {
	defer g.panics.rescue()
	return g.panics.guard(g.Model.Init())
}

// Update implements [tea.Model].
func (g guarded) Update(msg tea.Msg) (model tea.Model, cmd tea.Cmd) {
	model = g
	defer g.panics.rescue()
	next, cmd := g.Model.Update(msg)
	return guarded{next, g.panics}, g.panics.guard(cmd)
}

// View implements [tea.Model].
func (g guarded) View() tea.View {
	defer g.panics.rescue()
	return g.Model.View()
}

// guard returns a command whose panics are kept, and those of the commands that it returns: [tea.BatchMsg], and that of
// [tea.Sequence], which has no exported name.
func (p *panics) guard(cmd tea.Cmd) tea.Cmd {
	if cmd == nil {
		return nil
	}
	return func() tea.Msg {
		defer p.rescue()
		msg := cmd()
		list := reflect.ValueOf(msg)
		if list.Kind() != reflect.Slice || list.Type().Elem() != reflect.TypeFor[tea.Cmd]() {
			return msg
		}
		own := reflect.MakeSlice(list.Type(), list.Len(), list.Len())
		for i := range list.Len() {
			own.Index(i).Set(reflect.ValueOf(p.guard(list.Index(i).Interface().(tea.Cmd))))
		}
		return own.Interface()
	}
}
