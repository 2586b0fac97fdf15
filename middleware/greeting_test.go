package middleware_test

import (
	"strings"
	"testing"

	"foyer/middleware"
	"foyer/middleware/sshtest"
)

func TestGreeting(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"one line", "Welcome.", "Welcome.\r\n"},
		{"a line end of its own", "Welcome.\n", "Welcome.\r\n"},
		{"several lines", "Welcome.\n\nGoodbye.\n", "Welcome.\r\n\r\nGoodbye.\r\n"},
		{"a file with CR LF", "Welcome.\r\nGoodbye.\r\n", "Welcome.\r\nGoodbye.\r\n"},
		{"nothing", "", ""},
		{"the user name, several times", "{user}? {user}!", "guest? guest!\r\n"},
		{"no other placeholder", "{host} {USER} {}", "{host} {USER} {}\r\n"},
		{"longer than the width of the terminal", strings.Repeat("welcome ", 15) + ".",
			strings.TrimSpace(strings.Repeat("welcome ", 10)) + "\r\n" + strings.Repeat("welcome ", 5) + ".\r\n"},
		{"colours of its own, without a PTY", "\x1b[31mred\x1b]8;;https://x.test\x07 link\x1b]8;;\x07\x1b[0m.", "red link.\r\n"},
		{"the default", middleware.DefaultGreeting, "Welcome, guest. This server has no shell.\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := sshtest.Serve(t, middleware.Open(), refusePTY(), middleware.Greeting(middleware.Fixed(tt.text)), middleware.Message(middleware.Fixed("bye\n")))
			client := dial(t, srv, "")
			expect(t, sshtest.Run(t, client, sshtest.Visit{}), sshtest.Result{Stdout: "bye\n"})
			for _, term := range []string{"xterm-256color", "dumb"} {
				got := sshtest.Run(t, client, sshtest.Visit{Term: term, Env: []string{"COLORTERM=truecolor"}})
				expect(t, got, sshtest.Result{Stdout: "bye\n", Stderr: tt.want})
			}
		})
	}
}

// The user name is chosen by the client: it cannot control the terminal, also where the greeting has escape sequences.
func TestGreetingCleansTheName(t *testing.T) {
	srv := sshtest.Serve(t, middleware.Open(), middleware.Greeting(middleware.Fixed("Hello, {user}.")), middleware.Message(middleware.Fixed("")))
	for _, tt := range []struct{ name, user, want string }{
		{"letters", "Zoë", "Zoë"},
		{"escape sequences", "\x1b[2J\x1b]0;title\x07", `\x1b[2J\x1b]0;title\x07`},
		{"8-bit sequences", "\u009b2J", `\u009b2J`},
		{"newlines", "a\r\nWelcome, root", `a\r\nWelcome, root`},
		{"bidirectional marks", "a\u202egpj", `a\u202egpj`},
		{"not UTF-8", "\xff\x9b2J", `\xff\x9b2J`},
		{"a placeholder", "{user}", "{user}"},
		{"too long", strings.Repeat("a", 5000), strings.Repeat("a", 64) + "…"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client := dial(t, srv, tt.user)
			got := atTerminal(t, client, "dumb", 200)
			expect(t, got, sshtest.Result{Stderr: "Hello, " + tt.want + ".\r\n", PTY: true})
			got = atTerminal(t, client, "xterm-256color", 200)
			expect(t, got, sshtest.Result{Stderr: "\x1b[1;38;5;173mHello, " + tt.want + ".\x1b[m\r\n", PTY: true})
		})
	}
}

func TestGreetingColours(t *testing.T) {
	const (
		none      = "Hello.\r\n"
		sixteen   = "\x1b[1;91mHello.\x1b[m\r\n"
		many      = "\x1b[1;38;5;173mHello.\x1b[m\r\n"
		trueColor = "\x1b[1;38;2;215;135;95mHello.\x1b[m\r\n"
	)
	srv := sshtest.Serve(t, middleware.Open(), middleware.Greeting(middleware.Fixed("Hello.")), middleware.Message(middleware.Fixed("")))
	for _, tt := range []struct {
		term, env, want string
	}{
		{"xterm-256color", "", many},
		{"xterm", "", sixteen},
		{"linux", "", sixteen},
		{"screen.xterm-256color", "", many},
		{"tmux-256color", "", many},
		{"xterm-256color", "COLORTERM=truecolor", trueColor},
		{"xterm-256color", "COLORTERM=", many},
		{"xterm-direct", "", trueColor},
		{"xterm-kitty", "", trueColor},

		{"xterm-256color", "NO_COLOR=1", none},
		{"xterm-256color", "NO_COLOR=0", none}, // "regardless of its value", says no-color.org
		{"xterm-256color", "NO_COLOR=off", none},
		{"xterm-256color", "NO_COLOR=", many}, // "when present and not an empty string"
		{"xterm-256color", "NO_COLOR=1 COLORTERM=truecolor CLICOLOR_FORCE=1", none},
		{"xterm-256color", "COLORTERM=truecolor NO_COLOR=1", none},

		{"", "COLORTERM=truecolor", none},
		{"dumb", "", none},
		{"dumb", "COLORTERM=truecolor CLICOLOR_FORCE=1", none},
		{"unknown", "COLORTERM=truecolor", none},
		{"rust", "", none},  // has an "st"
		{"vt100", "", none}, // had no colours
		{"stupid-256color", "", none},
		{"XTERM", "", none},
		{"xtermish", "", none},
		{"dumb-xterm", "", none},
		{"\x1b[2Jxterm", "", none},
		// The terminal is that of pty-req, whatever the environment says.
		{"vt100", "TERM=xterm-256color", none},
		{"xterm", "TERM=xterm-256color", sixteen},
		{"xterm", "WT_SESSION=1 TMUX=1 CLICOLOR_FORCE=1", sixteen},
	} {
		t.Run(strings.TrimSpace(tt.term+" "+tt.env), func(t *testing.T) {
			got := atTerminal(t, dial(t, srv, ""), tt.term, 80, strings.Fields(tt.env)...)
			expect(t, got, sshtest.Result{Stderr: tt.want, PTY: true})
		})
	}
}

// Each line is styled separately, at every width.
func TestGreetingLayoutInColour(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		width      int
		want       string
	}{
		{"several lines", "a\nb\n", 80, "\x1b[1;38;5;173ma\x1b[m\r\n\x1b[1;38;5;173mb\x1b[m\r\n"},
		{"CR LF", "a\r\nb\r\n", 80, "\x1b[1;38;5;173ma\x1b[m\r\n\x1b[1;38;5;173mb\x1b[m\r\n"},
		{"wrapped", "Welcome to this host, {user}", 20, "\x1b[1;38;5;173mWelcome to this\r\nhost, guest\x1b[m\r\n"},
		{"unknown width", "Welcome to this host, {user}", 0, "\x1b[1;38;5;173mWelcome to this host, guest\x1b[m\r\n"},
		{"absurd width", "Welcome to this host, {user}", 1<<32 - 1, "\x1b[1;38;5;173mWelcome to this host, guest\x1b[m\r\n"},
		{"absurdly narrow", "Welcome to this host, {user}", 1, "\x1b[1;38;5;173mWelcome to this host, guest\x1b[m\r\n"},
		{"a style of its own stays as it is", "\x1b[1mA\x1b[0m, {user}\n", 80, "\x1b[1mA\x1b[m, guest\r\n"},
		{"a colour of its own is shown as the terminal can", "\x1b[38;2;215;135;95mA\x1b[0m\n", 80, "\x1b[38;5;173mA\x1b[m\r\n"},
		{"a name does not count as a style of its own", "{user}", 80, "\x1b[1;38;5;173mguest\x1b[m\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := sshtest.Serve(t, middleware.Open(), middleware.Greeting(middleware.Fixed(tt.text)), middleware.Message(middleware.Fixed("")))
			got := atTerminal(t, dial(t, srv, ""), "xterm-256color", tt.width)
			expect(t, got, sshtest.Result{Stderr: tt.want, PTY: true})
		})
	}
}

// A command is answered after the greeting.
func TestGreetingOfACommandAtATerminal(t *testing.T) {
	srv := sshtest.Serve(t, middleware.Open(), refusePTY(), middleware.Greeting(middleware.Fixed("Hello.")), middleware.Message(middleware.Fixed("bye\n")))
	got := srv.Visit(t, sshtest.Visit{Term: "xterm", Command: "ls"})
	expect(t, got, sshtest.Result{
		Stderr: "Hello.\r\nYou are logged in, but this server runs no commands and transfers no files.\r\nbye\r\n", Status: 1,
	})
}
