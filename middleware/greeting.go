package middleware

import (
	"slices"
	"strings"

	"charm.land/ssh"
	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"

	"foyer/middleware/eventlog/sanitize"
	"foyer/middleware/session"
)

// DefaultGreeting is what foyer says to a person unless it is told something else.
const DefaultGreeting = "Welcome, {user}. This is the door, and there is no shell behind it."

// Greeting returns the layer that greets a person: a session that asked for a terminal, granted or not; a program
// hears nothing. {user} stands for the visitor's name; an empty text greets nobody.
//
// Where a PTY was granted and the terminal is known to show colours, the greeting is set off in one, unless
// NO_COLOR says otherwise (no-color.org) or the text brings its own escape sequences. Everywhere else those are
// taken out: a refused PTY may have stderr in a file, and a dumb terminal would print them.
func Greeting(text string) Layer {
	return Layer{
		Name: "greeting",
		Session: func(next ssh.Handler) ssh.Handler {
			return func(sess ssh.Session) {
				if facts := session.InfoOf(sess); text != "" && facts.PTY != session.NotAsked {
					greet(sess, facts, text)
				}
				next(sess)
			}
		},
	}
}

// accent is what a greeting is set off with, in the best colour that the terminal has.
var accent = ansi.NewStyle().Bold().ForegroundColor(ansi.HexColor("#d7875f"))

func greet(sess ssh.Session, facts session.Info, text string) {
	if !strings.ContainsRune(text, ansi.ESC) {
		text = styleLines(text)
	}
	// The name goes in last: nothing that a visitor chose is taken for a sequence of ours.
	text = strings.ReplaceAll(text, "{user}", sanitize.String(sess.User(), maxShownName))
	var shown strings.Builder
	w := colorprofile.Writer{Forward: &shown, Profile: profile(facts, sess.Environ())}
	_, _ = w.WriteString(text)
	Tell(sess, shown.String())
}

// styleLines styles each line for itself, so that a terminal which is interrupted is left as it was.
func styleLines(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\r\n"), "\n")
	for i, line := range lines {
		lines[i] = accent.Styled(strings.TrimRight(line, "\r"))
	}
	return strings.Join(lines, "\n")
}

// colourful are the terminals that are known to understand colours, by the first part of TERM.
var colourful = []string{
	"alacritty", "contour", "cygwin", "foot", "ghostty", "gnome", "iterm", "iterm2", "kitty", "konsole", "linux",
	"mintty", "nsterm", "putty", "rio", "rxvt", "screen", "st", "tmux", "vte", "wezterm", "xterm",
}

// profile returns the colours that a session's terminal shows.
func profile(facts session.Info, environ []string) colorprofile.Profile {
	family, _, _ := strings.Cut(strings.Replace(facts.Terminal.Term, ".", "-", 1), "-") // screen.xterm-256color
	if facts.PTY != session.Granted || !slices.Contains(colourful, family) {
		return colorprofile.NoTTY
	}
	env := []string{"TERM=" + facts.Terminal.Term}
	for _, variable := range environ {
		switch name, value, _ := strings.Cut(variable, "="); {
		case name == "NO_COLOR" && value != "":
			return colorprofile.NoTTY
		case name == "COLORTERM":
			env = append(env, variable)
		}
	}
	return colorprofile.Env(env)
}
