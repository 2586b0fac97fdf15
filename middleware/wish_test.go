package middleware_test

import (
	"strings"
	"sync"
	"testing"

	tea "charm.land/bubbletea/v2"
	"charm.land/ssh"
	"charm.land/wish/v2"
	"charm.land/wish/v2/accesscontrol"
	"charm.land/wish/v2/activeterm"
	"charm.land/wish/v2/bubbletea"
	"charm.land/wish/v2/elapsed"
	"charm.land/wish/v2/logging"

	"foyer/middleware"
	"foyer/middleware/sshtest"
)

// wishLayer returns a layer whose Session half is a Wish middleware.
func wishLayer(session wish.Middleware) middleware.Layer { return middleware.Layer{Session: session} }

// printed is a logger of Wish's.
type printed struct {
	mu   sync.Mutex
	text strings.Builder
}

func (p *printed) Printf(format string, _ ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text.WriteString(strings.Fields(format)[1] + "\n") // connect or disconnect
}

func (p *printed) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// Wish's own middlewares run unchanged in the stack.
func TestWishMiddlewares(t *testing.T) {
	log := &printed{}
	srv := sshtest.Serve(t, middleware.Recover(), middleware.Open(),
		wishLayer(logging.MiddlewareWithLogger(log)),
		wishLayer(elapsed.MiddlewareWithFormat("took %v\n")),
		wishLayer(accesscontrol.Middleware("allowed")),
		middleware.Handler("test", whoami))
	if got := srv.Visit(t, sshtest.Visit{}); !strings.HasPrefix(got.Stdout, "guesttook ") || got.Status != 0 {
		t.Errorf("a shell: %+v", got)
	}
	if got := srv.Visit(t, sshtest.Visit{Command: "allowed twice"}); !strings.HasPrefix(got.Stdout, "guesttook ") || got.Status != 0 {
		t.Errorf("a command that is allowed: %+v", got)
	}
	if got := srv.Visit(t, sshtest.Visit{Command: "forbidden"}); !strings.HasPrefix(got.Stdout, "Command is not allowed: forbidden\n") || got.Status != 1 {
		t.Errorf("a command that is not: %+v", got)
	}
	want := strings.Repeat("connect\ndisconnect\n", 3)
	sshtest.Eventually(t, "Wish's logging has other lines", func() bool { return log.String() == want })
}

func TestWishActiveTerm(t *testing.T) {
	srv := sshtest.Serve(t, middleware.Open(), wishLayer(activeterm.Middleware()), middleware.Handler("test", whoami))
	if got := srv.Visit(t, sshtest.Visit{Term: "xterm"}); got.Stdout != "guest" || !got.PTY {
		t.Errorf("with a terminal: %+v", got)
	}
	if got := srv.Visit(t, sshtest.Visit{}); got.Stdout != "Requires an active PTY\n" || got.Status != 1 {
		t.Errorf("without one: %+v", got)
	}
}

// hello is a Bubble Tea program that ends with any key.
type hello struct{}

func (hello) Init() tea.Cmd { return nil }

func (h hello) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	if _, ok := msg.(tea.KeyPressMsg); ok {
		return h, tea.Quit
	}
	return h, nil
}

func (hello) View() tea.View { return tea.NewView("hello from bubbletea") }

func TestWishBubbleTea(t *testing.T) {
	run := bubbletea.Middleware(func(ssh.Session) (tea.Model, []tea.ProgramOption) { return hello{}, nil })
	srv := sshtest.Serve(t, middleware.Open(), wishLayer(run), middleware.Handler("test", whoami))
	term := srv.Terminal(t, sshtest.Visit{Term: "xterm"})
	term.Expect("hello from bubbletea")
	term.Type("x")
	term.Expect("guest")
	if status := term.Wait(); status != 0 {
		t.Errorf("exit status %d", status)
	}
}
