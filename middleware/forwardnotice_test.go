package middleware_test

import (
	"strings"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
	"foyer/middleware/sshtest"
)

// A person at a terminal reads once why ports, the agent and X11 are not forwarded. A program does not.
func TestForwardNotice(t *testing.T) {
	const notice = "This server forwards no ports, no agent and no X11."
	srv := sshtest.Serve(t, middleware.Open(), middleware.ForwardNotice(), middleware.Message(middleware.Fixed("bye\n")))
	for name, tt := range map[string]struct {
		global  string // a request before the session
		request string // in the session
		term    string
		want    int // notices in two sessions
	}{
		"nothing":               {"", "", "xterm", 0},
		"a keepalive":           {"keepalive@openssh.com", "", "xterm", 0},
		"a port":                {"tcpip-forward", "", "xterm", 1},
		"a socket":              {"streamlocal-forward@openssh.com", "", "xterm", 1},
		"a port, for a program": {"tcpip-forward", "", "", 0},
		"the agent":             {"", "auth-agent-req@openssh.com", "xterm", 2},
		"X11":                   {"", "x11-req", "xterm", 2},
		"X11, for a program":    {"", "x11-req", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			client := dial(t, srv, "guest")
			if tt.global != "" {
				if granted, _, err := client.SendRequest(tt.global, true, nil); granted || err != nil {
					t.Fatalf("granted: %t, error: %v", granted, err)
				}
			}
			told := ""
			for range 2 {
				told += runSession(t, client, func(sess *gossh.Session) error {
					if tt.term != "" {
						if err := sess.RequestPty(tt.term, 24, 80, nil); err != nil {
							return err
						}
					}
					if tt.request != "" {
						if granted, err := sess.SendRequest(tt.request, true, nil); granted || err != nil {
							t.Errorf("granted: %t, error: %v", granted, err)
						}
					}
					return sess.Shell()
				}).Stderr
			}
			if got := strings.Count(told, notice); got != tt.want {
				t.Errorf("told %d times, want %d: %q", got, tt.want, told)
			}
		})
	}
}
