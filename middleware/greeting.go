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

// DefaultGreeting is foyer's default greeting.
const DefaultGreeting = "Welcome, {user}. This server has no shell."

// Greeting returns the layer that greets a person: a session that requested a terminal, even if it was refused. Sessions
// of programs get no greeting. {user} is replaced with the visitor's name. An empty text disables the greeting.
//
// If a PTY was granted and the terminal is known to support colours, the greeting is coloured, unless the client sent
// NO_COLOR (no-color.org) or the text has its own escape sequences. In all other cases escape sequences are removed:
// without a PTY, stderr may be a file, and a dumb terminal would print them.
func Greeting(greeting Text) Layer {
	return Layer{
		Name: "greeting",
		Session: func(next ssh.Handler) ssh.Handler {
			return func(sess ssh.Session) {
				if info := session.InfoOf(sess); info.PTY != session.NotAsked {
					greet(sess, info, sentence(sess, "greeting", greeting.Current()))
				}
				next(sess)
			}
		},
	}
}

// accent is the style of a greeting. The colour is reduced to what the terminal supports.
var accent = ansi.NewStyle().Bold().ForegroundColor(ansi.HexColor("#d7875f"))

func greet(sess ssh.Session, info session.Info, text string) {
	if text == "" {
		return
	}
	if !strings.ContainsRune(text, ansi.ESC) {
		text = styleLines(text)
	}
	// The name is inserted last, so that it is not interpreted as an escape sequence of the text.
	text = strings.ReplaceAll(text, "{user}", sanitize.String(sess.User(), maxShownName))
	var shown strings.Builder
	w := colorprofile.Writer{Forward: &shown, Profile: profile(info, sess.Environ())}
	_, _ = w.WriteString(text)
	Tell(sess, shown.String())
}

// styleLines styles each line separately, so that an interrupted output leaves the terminal in its normal style.
func styleLines(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\r\n"), "\n")
	for i, line := range lines {
		lines[i] = accent.Styled(strings.TrimRight(line, "\r"))
	}
	return strings.Join(lines, "\n")
}

// colourTerminals are the terminals that are known to support colours, by the first part of TERM.
var colourTerminals = []string{
	"alacritty", "contour", "cygwin", "foot", "ghostty", "gnome", "iterm", "iterm2", "kitty", "konsole", "linux",
	"mintty", "nsterm", "putty", "rio", "rxvt", "screen", "st", "tmux", "vte", "wezterm", "xterm",
}

// profile returns the colours that a session's terminal supports.
func profile(info session.Info, environ []string) colorprofile.Profile {
	family, _, _ := strings.Cut(strings.Replace(info.Terminal.Term, ".", "-", 1), "-") // screen.xterm-256color
	if info.PTY != session.Granted || !slices.Contains(colourTerminals, family) {
		return colorprofile.NoTTY
	}
	env := []string{"TERM=" + info.Terminal.Term}
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
