package middleware

import (
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"charm.land/ssh"
	"github.com/charmbracelet/colorprofile"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/content"
	"foyer/middleware/content/markdown"
	"foyer/middleware/session"
	"foyer/middleware/source"
)

// Content is what is said by rules: the answers, the notices and the banner of a table. Layers share it. Package content
// decides what is said; the layers know how a session or a tool shows it.
type Content struct {
	Table  *content.Table
	Server string               // the {server} of texts
	Adjust func(*content.Visit) // may change what is known about a visit; may be nil
}

// maxGlobbed is how many bytes of a command are compared with globs. It bounds what a long one costs.
const maxGlobbed = 4 << 10

// Visit returns what is known about a session. Who visits is only taken from the method that has verified it.
func (s *Content) Visit(sess ssh.Session) *content.Visit {
	info, granted := session.InfoOf(sess), sess.Permissions().Extensions
	command := sess.RawCommand() + sess.Subsystem() // one is empty
	v := &content.Visit{
		User: sess.User(), Address: source.Addr(sess.RemoteAddr()), Client: sess.Context().ClientVersion(),
		Method: strings.Join(ConnOf(sess.Context()).verified, "+"), Key: granted[KeyFingerprint],
		Request: info.Request, Command: command[:min(len(command), maxGlobbed)],
		Terminal: info.PTY != session.NotAsked, Now: time.Now(), Server: s.Server,
	}
	if cert := certificateOf(granted); cert != nil {
		v.Certificate, v.Principals = cert.KeyId, cert.ValidPrincipals
	}
	s.adjust(v)
	return v
}

func (s *Content) adjust(v *content.Visit) {
	if s.Adjust != nil {
		s.Adjust(v)
	}
}

// certificateOf returns the certificate that was proven, or nil.
func certificateOf(granted map[string]string) *gossh.Certificate {
	if granted[KeyCertificate] == "" {
		return nil
	}
	blob, _ := base64.StdEncoding.DecodeString(granted[provenKey])
	key, _ := gossh.ParsePublicKey(blob)
	cert, _ := key.(*gossh.Certificate)
	return cert
}

// linkTerminals are the terminals that are known to show links (OSC 8), by the first part of TERM. Those that call themselves
// xterm may not: such links would lose their address.
var linkTerminals = []string{"alacritty", "contour", "foot", "ghostty", "iterm2", "kitty", "mintty", "rio", "vte", "wezterm"}

// ViewOf returns how a session shows Markdown: for its terminal if it has one, and otherwise as for programs.
func ViewOf(sess ssh.Session) content.View {
	info := session.InfoOf(sess)
	if info.PTY != session.Granted {
		return content.View{}
	}
	view := content.View{Width: info.Terminal.Window.Width}
	if profile(info, sess.Environ()) >= colorprofile.ANSI {
		view.Profile = markdown.ANSI
		if family, _, _ := strings.Cut(info.Terminal.Term, "-"); slices.Contains(linkTerminals, family) {
			view.Profile = markdown.Links
		}
	}
	return view
}
