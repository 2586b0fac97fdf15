package session

import (
	"maps"
	"strings"
	"testing"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"
)

func TestParseModes(t *testing.T) {
	for _, tt := range []struct {
		encoded string
		want    gossh.TerminalModes
		ok      bool
	}{
		{"", gossh.TerminalModes{}, true},
		{"\x00", gossh.TerminalModes{}, true},
		{"\x01\x00\x00\x00\x03\x35\x00\x01\x02\x03\x00", gossh.TerminalModes{1: 3, 53: 0x10203}, true},
		{"\x01\x00\x00\x00\x03", gossh.TerminalModes{1: 3}, true}, // no TTY_OP_END
		{"\x01\x00\x00\x00\x03\x01\x00\x00\x00\x04", gossh.TerminalModes{1: 4}, true},
		{"\x00\x01", gossh.TerminalModes{}, true},
		{"\xa0\x01", gossh.TerminalModes{}, true}, // 160: not defined, and ends the list
		{"\x9f\x00\x00\x00\x01", gossh.TerminalModes{159: 1}, true},
		{"\x01", nil, false},
		{"\x01\x00\x00\x00", nil, false},
	} {
		got, ok := parseModes(tt.encoded)
		if ok != tt.ok || !maps.Equal(got, tt.want) {
			t.Errorf("parseModes(%q) = %v, %v, want %v, %v", tt.encoded, got, ok, tt.want, tt.ok)
		}
	}
}

func TestWindow(t *testing.T) {
	before := ssh.Window{Width: 80, Height: 24, WidthPixels: 640, HeightPixels: 480}
	for _, tt := range []struct {
		columns, rows, width, height uint32
		want                         ssh.Window
	}{
		{0, 0, 0, 0, before},
		{132, 0, 0, 0, ssh.Window{Width: 132, Height: 24, WidthPixels: 640, HeightPixels: 480}},
		{0, 50, 0, 9, ssh.Window{Width: 80, Height: 50, WidthPixels: 640, HeightPixels: 9}},
		{1, 2, 3, 4, ssh.Window{Width: 1, Height: 2, WidthPixels: 3, HeightPixels: 4}},
		{maxDimension + 1, 1<<32 - 1, 1<<32 - 1, 1 << 31, ssh.Window{
			Width: maxDimension, Height: maxDimension, WidthPixels: 64 * maxDimension, HeightPixels: 64 * maxDimension,
		}},
	} {
		if got := window(before, tt.columns, tt.rows, tt.width, tt.height); got != tt.want {
			t.Errorf("window(%v) = %v, want %v", tt, got, tt.want)
		}
	}
}

func text(s string) []byte { return gossh.Marshal(struct{ S string }{s}) }

func texts(a, b string) []byte { return append(text(a), text(b)...) }

func dimensions(columns, rows, width, height uint32) []byte {
	return gossh.Marshal(struct{ Columns, Rows, Width, Height uint32 }{columns, rows, width, height})
}

func ptyReq(term string, size []byte, modes string) []byte {
	return append(append(text(term), size...), text(modes)...)
}

const most = 1<<32 - 1

var seedTerminal = ptyReq("xterm", dimensions(80, 24, 640, 480), "\x01\x00\x00\x00\x03\x00")

// seeds are requests good, absurd and broken.
var seeds = []struct {
	request string
	payload []byte
}{
	{"shell", nil}, {"shell", text("sh")},
	{"exec", text("ls")}, {"exec", nil}, {"exec", text("")}, {"exec", text("'")},
	{"exec", text(strings.Repeat("x", maxCommand+1))},
	{"exec", []byte{0xff, 0xff, 0xff, 0xff, 'l', 's'}}, {"exec", append(text("ls"), 0)},
	{"subsystem", text("sftp")}, {"subsystem", text("")}, {"subsystem", text(strings.Repeat("x", maxSubsystem+1))},
	{"pty-req", seedTerminal}, {"pty-req", seedTerminal[:9]}, {"pty-req", append(seedTerminal, 0)},
	{"pty-req", ptyReq("", dimensions(0, 0, 0, 0), "")},
	{"pty-req", ptyReq("vt100", dimensions(most, most, most, most), "\x00")},
	{"pty-req", ptyReq("vt100", dimensions(1<<31, 1<<31, 1, 1), "\x9f\xff\xff\xff\xff\xa0")},
	{"pty-req", ptyReq("vt100", dimensions(80, 24, 0, 0), "\x01\x00\x00")},
	{"pty-req", ptyReq(strings.Repeat("x", maxTerm+1), dimensions(80, 24, 0, 0), "")},
	{"pty-req", ptyReq("vt100", dimensions(80, 24, 0, 0), strings.Repeat("\x01\x00\x00\x00\x03", maxModes/5+1))},
	{"window-change", dimensions(132, 50, 0, 0)}, {"window-change", dimensions(0, 0, 0, 0)},
	{"window-change", dimensions(most, most, most, most)}, {"window-change", dimensions(1, 2, 3, 4)[:15]},
	{"env", texts("LANG", "C")}, {"env", texts("", "C")}, {"env", texts("A=B", "C")}, {"env", texts("A\x00", "C")},
	{"env", texts("A", "\x00")}, {"env", texts("A", strings.Repeat("x", maxEnvironBytes))}, {"env", text("LANG")},
	{"signal", text("INT")}, {"signal", text("SIGINT")}, {"signal", nil},
	{"break", make([]byte, 4)}, {"break", make([]byte, 5)},
	{"x11-req", nil}, {"auth-agent-req@openssh.com", nil}, {"", []byte{0xff, 0xff, 0xff, 0xff}},
}

// FuzzPermit puts two requests of a client before a session that has not begun, and looks at what it has become.
func FuzzPermit(f *testing.F) {
	for _, seed := range seeds {
		f.Add(seed.request, seed.payload, "window-change", []byte(strings.Repeat("\xff", 16)))
		f.Add("pty-req", seedTerminal, seed.request, seed.payload)
		f.Add(seed.request, seed.payload, seed.request, seed.payload)
	}
	f.Fuzz(func(t *testing.T, first string, firstPayload []byte, second string, secondPayload []byte) {
		s := &Session{srv: &ssh.Server{Handler: func(ssh.Session) {}}}
		s.handle(first, firstPayload)
		begun := s.request
		if s.handle(second, secondPayload); begun != "" && s.request != begun {
			t.Errorf("a session that had begun with %q begins with %q", begun, s.request)
		}
		checkLimits(t, s)
	})
}

func checkLimits(t *testing.T, s *Session) {
	t.Helper()
	if (s.request != "") != (s.next != nil) {
		t.Errorf("request %q, and a handler: %v", s.request, s.next != nil)
	}
	if s.request != "exec" && s.command != "" || s.request != "subsystem" && s.subsystem != "" {
		t.Errorf("request %q with command %q and subsystem %q", s.request, s.command, s.subsystem)
	}
	if s.request == "exec" && len(s.Command()) == 0 {
		t.Errorf("exec %q looks like a shell", s.command)
	}
	if len(s.command) > maxCommand || len(s.subsystem) > maxSubsystem || len(s.terminal.Term) > maxTerm {
		t.Errorf("a command of %d, a subsystem of %d, a TERM of %d bytes", len(s.command), len(s.subsystem), len(s.terminal.Term))
	}
	if w := s.terminal.Window; min(w.Width, w.Height, w.WidthPixels, w.HeightPixels) < 0 || max(w.Width, w.Height) > maxDimension {
		t.Errorf("window %v", w)
	}
	if len(s.environ) > maxEnviron || len(strings.Join(s.environ, "")) > maxEnvironBytes {
		t.Errorf("environment of %d variables", len(s.environ))
	}
	for _, variable := range s.environ {
		if name, _, ok := strings.Cut(variable, "="); !ok || name == "" || strings.Contains(variable, "\x00") {
			t.Errorf("environment variable %q", variable)
		}
	}
}
