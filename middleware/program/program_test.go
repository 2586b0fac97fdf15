//go:build !windows

package program_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	charm "charm.land/log/v2"
	"charm.land/ssh"

	"foyer/middleware"
	"foyer/middleware/eventlog"
	"foyer/middleware/program"
	"foyer/middleware/server"
	"foyer/middleware/sshtest"
)

// counter counts the keys that a person types, and shows the width of their terminal. It ends with q, and panics with p, v
// (when it is shown), c, b and s (in commands).
type counter struct {
	keys, width int
	user        string
	broken      bool
}

func idle() tea.Msg { return nil }
func boom() tea.Msg { panic("boom") }

func (c counter) Init() tea.Cmd { return nil }

func (c counter) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		c.width = msg.Width
	case tea.KeyPressMsg:
		switch msg.String() {
		case "q":
			return c, tea.Quit
		case "p":
			panic("boom")
		case "v":
			c.broken = true
		case "c":
			return c, boom
		case "b":
			return c, tea.Batch(idle, boom)
		case "s":
			return c, tea.Sequence(idle, tea.Batch(idle, boom))
		}
		c.keys++
	}
	return c, nil
}

func (c counter) View() tea.View {
	if c.broken {
		panic("boom")
	}
	view := tea.NewView(fmt.Sprintf("%s typed %d keys, %d columns\n", c.user, c.keys, c.width))
	view.AltScreen = true
	return view
}

func counting(sess ssh.Session) (tea.Model, []tea.ProgramOption) {
	return counter{user: sess.User()}, nil
}

const leaveAltScreen = "\x1b[?1049l"

// A person types, resizes and quits, and the screen is as it was.
func TestProgram(t *testing.T) {
	srv := sshtest.Serve(t, middleware.Recover(), middleware.Open(), program.Layer("counter", counting))
	term := srv.Terminal(t, sshtest.Visit{Term: "xterm", Width: 70})
	term.Expect("guest typed 0 keys, 70 columns")
	term.Type("a")
	term.Expect("1")
	term.Resize(123, 40)
	term.Expect("123")
	term.Type("q")
	term.Expect(leaveAltScreen)
	if status := term.Wait(); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

func TestProgramNeedsATerminal(t *testing.T) {
	srv := sshtest.Serve(t, middleware.Open(), program.Layer("counter", counting))
	if got := srv.Visit(t, sshtest.Visit{}); got.Status != 1 || got.Stdout != "Requires an active PTY\n" {
		t.Errorf("got %+v", got)
	}
}

// A program that panics, wherever that is, leaves the screen as it was. The visitor reads an apology, the log has the stack in
// its own form, and the server goes on.
func TestProgramPanics(t *testing.T) {
	stderr, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	log := sshtest.NewLog()
	srv := sshtest.Serve(t, middleware.Recover(), middleware.Logging(log.Events()), middleware.Open(), program.Layer("counter", counting))
	defer func(own *os.File) { os.Stderr = own }(os.Stderr)
	os.Stderr = w
	charm.SetDefault(eventlog.Charm(log.Logger().Handler())) // as server.New does
	for i, key := range []string{"p", "v", "c", "b", "s"} {
		term := srv.Terminal(t, sshtest.Visit{Term: "xterm"})
		term.Expect("0 keys")
		term.Type(key)
		if status := term.Wait(); status != 1 {
			t.Errorf("%s: exit status %d", key, status)
		}
		contains(t, term, leaveAltScreen, "something broke on the server")
		sshtest.Eventually(t, "the log has no stack", func() bool {
			return strings.Count(log.String(), `msg="panic in session"`) == i+1
		})
	}
	_ = w.Close()
	if printed, err := io.ReadAll(stderr); len(printed) > 0 || err != nil {
		t.Errorf("on stderr: %s, %v", printed, err)
	}
}

// contains checks that the terminal has shown these texts. Stdout and stderr are read apart, so it does not check their order.
func contains(t *testing.T, term *sshtest.Terminal, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(term.Output(), text) {
			t.Errorf("no %q in %q", text, term.Output())
		}
	}
}

// When the session's time is over the program puts the terminal back, then the visitor reads why.
func TestProgramOutOfTime(t *testing.T) {
	stack := middleware.NewStack(middleware.Open(), program.Layer("counter", counting))
	stack.Sessions.Lifetime = 500 * time.Millisecond
	srv := sshtest.Start(t, stack.Install)
	term := srv.Terminal(t, sshtest.Visit{Term: "xterm"})
	term.Expect("0 keys")
	if status := term.Wait(); status != 1 {
		t.Errorf("exit status %d", status)
	}
	contains(t, term, leaveAltScreen, "This session has lasted")
}

// A signal to the server does not end a program that has its own handler by default: the person may go on until they quit.
func TestProgramDuringDrain(t *testing.T) {
	log := sshtest.NewLog()
	s, err := server.New(server.Config{
		Listen: []string{"127.0.0.1:0"}, HostKeys: t.TempDir(), Deadlines: server.Deadlines{Drain: time.Minute}, Log: server.Log{Writer: log},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.LoadHostKeys(); err != nil {
		t.Fatal(err)
	}
	if err := s.Build(middleware.Open(), program.Layer("counter", counting)); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background()) }()
	srv := &sshtest.Server{Address: s.Addrs()[0].String()}
	term := srv.Terminal(t, sshtest.Visit{Term: "xterm"})
	term.Expect("0 keys")
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	log.Line(t, "msg=closing")
	term.Type("a")
	term.Expect("1")
	if strings.Contains(term.Output(), leaveAltScreen) {
		t.Error("the signal ended the program")
	}
	term.Type("q")
	if status := term.Wait(); status != 0 {
		t.Errorf("exit status %d", status)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}
