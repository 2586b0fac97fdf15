// Package pager shows long pages. It is also an example of a Bubble Tea program that some sessions get.
package pager

import (
	"time"

	"charm.land/bubbles/v2/viewport"
	tea "charm.land/bubbletea/v2"
	"charm.land/ssh"

	"foyer/middleware"
	"foyer/middleware/content"
	"foyer/middleware/content/markdown"
	"foyer/middleware/program"
	"foyer/middleware/session"
)

// readers is how many visitors may be in the pager at once. 200 of them cost 160 MiB at 80 columns and 24 rows, and 1.4 GiB at
// the largest screen (TestPagerMemory); nearly all of it are Bubble Tea's buffers of the screen.
const readers = 200

// Layer returns the layer that shows an answer of the rules in a pager, if it is a page that is longer than the screen of the
// terminal that was granted. The pager leaves the screen as it was. All other answers are for the layers after it, such as
// [middleware.Answers]. So are those of more than 200 visitors at once. It stands between the layer of the maintenance and that of the answers.
func Layer(said *middleware.Content) middleware.Layer {
	free := make(chan struct{}, readers)
	return middleware.Layer{
		Name: "pager",
		Session: func(next ssh.Handler) ssh.Handler {
			return func(sess ssh.Session) {
				page, status := pageOf(said, sess)
				// A connection has one pager, so that one visitor cannot take all places.
				if page == nil || middleware.ConnOf(sess.Context()).Sessions() > 1 {
					next(sess)
					return
				}
				select {
				case free <- struct{}{}:
					defer func() { <-free }()
					program.Run(sess, func(ssh.Session) (tea.Model, []tea.ProgramOption) { return page, nil })
					_ = sess.Exit(status)
				default: // too many are reading
					next(sess)
				}
			}
		},
	}
}

// pageOf returns the page for the pager and the exit status behind it, or nil if the answer is not for the pager.
func pageOf(said *middleware.Content, sess ssh.Session) (page *model, status int) {
	info := session.InfoOf(sess)
	size := info.Terminal.Window
	if info.PTY != session.Granted || info.Request != "shell" || size.Width < markdown.MinWidth || size.Height < 3 {
		return nil, 0
	}
	visit := said.Visit(sess)
	answer, found := said.Table.Answer(visit)
	if !found || !answer.IsPage() {
		return nil, 0
	}
	page = &model{view: middleware.ViewOf(sess), text: func(view content.View) string { return answer.Text(visit, view) }}
	page = page.sized(size.Width, size.Height)
	if page.shown.TotalLineCount() <= size.Height {
		return nil, 0
	}
	return page, middleware.ExitStatus(info, answer)
}

// model shows a page.
type model struct {
	text  func(content.View) string
	view  content.View
	shown viewport.Model

	size    tea.WindowSizeMsg // of the screen
	waiting bool              // the page is about to be laid out for it
}

// sized returns the pager for a screen, with the page laid out for it. The last line of the screen has the keys.
func (m *model) sized(width, height int) *model {
	next := *m
	offset := m.shown.YOffset()
	next.shown = viewport.New(viewport.WithWidth(width), viewport.WithHeight(max(height-1, 1)))
	next.view.Width = width
	next.shown.SetContent(m.text(next.view))
	next.shown.SetYOffset(offset)
	return &next
}

// settle is how often a page is laid out at most. To lay out a long one takes some milliseconds, and a client may resize its
// screen again and again.
const settle = time.Second / 2

// settled is the message that a screen may be laid out.
type settled struct{}

// resized remembers the size of the screen, for which the page is laid out soon.
func (m *model) resized(size tea.WindowSizeMsg) tea.Cmd {
	same := size.Width == m.shown.Width() && max(size.Height-1, 1) == m.shown.Height()
	if m.size = size; m.waiting || same {
		return nil
	}
	m.waiting = true
	return tea.Tick(settle, func(time.Time) tea.Msg { return settled{} })
}

// Init implements [tea.Model].
func (m *model) Init() tea.Cmd { return nil }

// Update implements [tea.Model].
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		return m, m.resized(msg)
	case settled:
		m.waiting = false
		return m.sized(m.size.Width, m.size.Height), nil
	case tea.KeyPressMsg:
		switch msg.String() {
		case "q", "esc", "ctrl+c", "ctrl+d":
			return m, tea.Quit
		case "home", "g":
			m.shown.GotoTop()
		case "end", "G":
			m.shown.GotoBottom()
		}
	}
	var cmd tea.Cmd
	m.shown, cmd = m.shown.Update(msg)
	return m, cmd
}

// View implements [tea.Model].
func (m *model) View() tea.View {
	keys := "space: next page, b: back, q: quit"
	if m.shown.AtBottom() {
		keys = "b: back, q: quit"
	}
	view := tea.NewView(m.shown.View() + "\n" + keys)
	view.AltScreen, view.MouseMode = true, tea.MouseModeCellMotion
	return view
}
