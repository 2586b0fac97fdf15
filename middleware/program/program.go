// Package program makes the last layer of a list from a Bubble Tea program.
package program

import (
	"context"

	tea "charm.land/bubbletea/v2"
	"charm.land/ssh"
	"charm.land/wish/v2/activeterm"
	"charm.land/wish/v2/bubbletea"

	"foyer/middleware"
)

// Layer returns the layer that runs a Bubble Tea program in each session, through Wish's own middleware. A session without
// a terminal is told that it needs one and ends with exit status 1. Grant terminals: leave PTYNotice out of the list.
//
// The program gets the session's terminal, input and size. It ends when its context ends, and may still write for a
// moment, in which it leaves the alternate screen. It does not handle the server's signals: when the server is told to
// stop, the program may go on until the drain cuts it off.
//
// It draws on 300 columns and 100 rows at most. A panic of the program, also in one of its commands, ends the session as the layer Recover does. For that the model is
// wrapped, which a [tea.WithFilter] sees.
func Layer(name string, handler bubbletea.Handler) middleware.Layer {
	return middleware.Handler(name, activeterm.Middleware()(func(sess ssh.Session) { Run(sess, handler) }))
}

// Run runs a program in a session that has a terminal, as [Layer] does. It is for a layer that runs one in some sessions.
func Run(sess ssh.Session, handler bubbletea.Handler) {
	ctx, end := context.WithCancel(sess.Context())
	defer end()
	kept := &panics{end: end}
	run := bubbletea.Middleware(func(sess ssh.Session) (tea.Model, []tea.ProgramOption) {
		model, options := handler(sess)
		if model == nil {
			return nil, nil
		}
		return guarded{model, kept}, append(options, tea.WithoutSignalHandler(), tea.WithContext(ctx))
	})
	run(func(ssh.Session) {})(newScreen(sess))
	if first := kept.first.Load(); first != nil {
		middleware.Panicked(sess, first.value, first.stack)
	}
}
