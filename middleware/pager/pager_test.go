package pager_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"foyer/middleware"
	"foyer/middleware/content"
	"foyer/middleware/pager"
	"foyer/middleware/sshtest"
)

const leaveScreen = "\x1b[?1049l"

// servePager serves a page with this many paragraphs.
func servePager(t testing.TB, paragraphs int, before ...middleware.Layer) *sshtest.Server {
	t.Helper()
	var page strings.Builder
	fmt.Fprintf(&page, "# Welcome\n")
	for i := range paragraphs {
		fmt.Fprintf(&page, "\nThis is paragraph %d of a page that is wrapped at the width of the terminal.\n", i)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "page.md"), []byte(page.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	three := 3
	table, err := content.New(content.Settings{Answers: []content.Rule{{File: "page.md", Exit: &three}}, Texts: content.NewTexts(dir, nil)})
	if err != nil {
		t.Fatal(err)
	}
	said := &middleware.Content{Table: table}
	layers := append(append([]middleware.Layer{middleware.Recover(), middleware.Open()}, before...),
		pager.Layer(said), middleware.Answers(said), middleware.Message(middleware.Fixed("")))
	return sshtest.Serve(t, layers...)
}

// A person goes down by keys and by the mouse, changes the window, and quits: the screen is as it was.
func TestPager(t *testing.T) {
	srv := servePager(t, 100)
	term := srv.Terminal(t, sshtest.Visit{Term: "xterm-256color", Width: 60})
	term.Expect("\x1b[?1049h")
	term.Expect("Welcome")
	term.Expect("paragraph 0 of")
	term.Expect("space: next page, b: back, q: quit")
	term.Type(" ")
	term.Expect("paragraph 10 of")
	term.Type("\x1b[B\x1b[B")
	term.Expect("paragraph 15 of")
	term.Type("\x1b[<65;1;1M") // the wheel, three lines down
	term.Expect("paragraph 16 of")
	term.Type("\x1b[H")
	term.Expect("Welcome")
	term.Type("G")
	term.Expect("paragraph 99 of")
	term.Resize(120, 40)
	term.Expect("of a page that is wrapped at the width of the terminal.")
	term.Type("q")
	term.Expect(leaveScreen)
	if status := term.Wait(); status != 3 {
		t.Errorf("exit status %d", status)
	}
	if strings.Count(term.Output(), "\x1b[?1049h") != 1 || strings.Count(term.Output(), "\x1b[?1000l")+strings.Count(term.Output(), "\x1b[?1002l") == 0 {
		t.Error("the mouse is not as it was")
	}
}

// There is no pager for a page that fits, without a terminal, and for a command.
func TestNoPager(t *testing.T) {
	short, long := servePager(t, 3), servePager(t, 100)
	for name, got := range map[string]sshtest.Result{
		"a short page": short.Visit(t, sshtest.Visit{Term: "xterm"}),
		"no terminal":  long.Visit(t, sshtest.Visit{}),
		"a command":    long.Visit(t, sshtest.Visit{Term: "xterm", Command: "ls"}),
	} {
		if got.Status != 3 || strings.Contains(got.Stdout+got.Stderr, "\x1b[?1049h") || !strings.Contains(got.Stdout+got.Stderr, "paragraph 2 of") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// The session's own end also leaves the screen as it was.
func TestPagerIsCut(t *testing.T) {
	srv := servePager(t, 100)
	term := srv.Terminal(t, sshtest.Visit{Term: "xterm"})
	term.Expect("paragraph 0 of")
	term.Type("\x03")
	term.Expect(leaveScreen)
	term.Wait()
}

// BenchmarkPager measures the memory of visitors who read in the pager.
func BenchmarkPager(b *testing.B) {
	const visitors = 200
	srv := servePager(b, 100)
	memory := func() float64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return float64(m.HeapInuse+m.StackInuse) / (1 << 20)
	}
	for b.Loop() {
		before := memory()
		for range visitors {
			term := srv.Terminal(b, sshtest.Visit{Term: "xterm-256color"})
			term.Expect("paragraph 0 of")
		}
		b.ReportMetric(memory()-before, "MiB/200visitors")
	}
}

// A client that says it has a huge screen does not get one.
func TestPagerOnAHugeScreen(t *testing.T) {
	srv := servePager(t, 100)
	term := srv.Terminal(t, sshtest.Visit{Term: "xterm", Width: 2000})
	term.Expect("paragraph 0 of")
	term.Resize(2000, 2000)
	term.Expect("paragraph 40 of")
	term.Type("q")
	term.Expect(leaveScreen)
	if rows := strings.Count(term.Output(), "paragraph"); rows > 150 {
		t.Errorf("drew %d paragraphs", rows)
	}
}
