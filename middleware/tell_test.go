package middleware_test

import (
	"strings"
	"testing"

	"charm.land/ssh"

	"foyer/middleware"
	"foyer/middleware/sshtest"
)

func TestTell(t *testing.T) {
	long := "The quick brown fox jumps over the lazy dog."
	for _, tt := range []struct {
		name  string
		text  string
		width int // of the terminal; -1: no terminal
		want  string
	}{
		{"a program: the last line end is added", "a\nb", -1, "a\nb\n"},
		{"a program: only one", "a\n", -1, "a\n"},
		{"a program: an empty line at the end stays", "a\n\n", -1, "a\n\n"},
		{"a program: no carriage returns", "a\r\nb\r\n", -1, "a\nb\n"},
		{"a program: no wrapping", long, -1, long + "\n"},
		{"a terminal: lines end in CR LF", "a\nb", 80, "a\r\nb\r\n"},
		{"a terminal: CR is not doubled", "a\r\nb\r\n", 80, "a\r\nb\r\n"},
		{"a terminal: an empty line stays", "a\n\nb", 80, "a\r\n\r\nb\r\n"},
		{"a terminal: wrapped between words", long, 20, "The quick brown fox\r\njumps over the lazy\r\ndog.\r\n"},
		{"a terminal: exactly as wide", long, len(long), long + "\r\n"},
		{"a terminal: a word that is too long is cut", strings.Repeat("x", 45), 20, strings.Repeat("x", 20) + "\r\n" + strings.Repeat("x", 20) + "\r\nxxxxx\r\n"},
		{"a terminal: wide characters count twice", "東京東京東京東京東京 東京", 20, "東京東京東京東京東京\r\n東京\r\n"},
		{"a terminal: unknown width", long, 0, long + "\r\n"},
		{"a terminal: too narrow to wrap", long, 3, long + "\r\n"},
		{"a terminal: absurdly wide", long, 1 << 31, long + "\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tell := func(sess ssh.Session) { middleware.Tell(sess, tt.text) }
			for _, pty := range []struct {
				name   string
				policy middleware.Layer
			}{{"granted", middleware.Layer{}}, {"refused", refusePTY()}} {
				client := dial(t, sshtest.Serve(t, middleware.Open(), pty.policy, middleware.Handler("test", tell)), "")
				if tt.width < 0 {
					expect(t, sshtest.Run(t, client, sshtest.Visit{}), sshtest.Result{Stderr: tt.want})
					continue
				}
				got := atTerminal(t, client, "xterm", tt.width)
				expect(t, got, sshtest.Result{Stderr: tt.want, PTY: pty.name == "granted"})
			}
		})
	}
}
