package middleware

import (
	"slices"

	"charm.land/ssh"

	"foyer/middleware/session"
)

const noForwarding = "This server forwards no ports, no agent and no X11."

// forwardRequests are the global requests for ports of the server's (RFC 4254 section 7.1, OpenSSH's PROTOCOL section 2.4).
var forwardRequests = []string{"tcpip-forward", "streamlocal-forward@openssh.com"}

// ForwardNotice returns the layer that tells a person at a terminal why ssh -R, -A or -X does nothing. ssh itself says so of -R
// and -X in words that blame nobody, and of -A nothing. For -L and -D it shows the server's refusal of each channel.
func ForwardNotice() Layer {
	return Layer{
		Name: "forwardnotice",
		Session: func(next ssh.Handler) ssh.Handler {
			return func(sess ssh.Session) {
				info := session.InfoOf(sess)
				asked := ConnOf(sess.Context()).forwarding.Swap(false) || info.Forwarding
				if asked && info.PTY != session.NotAsked {
					Tell(sess, sentence(sess, "forwarding", noForwarding))
				}
				next(sess)
			}
		},
	}
}

// noteForwarding notes that a request for a port was refused.
func (c *Conn) noteForwarding(request string) {
	if slices.Contains(forwardRequests, request) {
		c.forwarding.Store(true)
	}
}
