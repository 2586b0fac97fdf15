package middleware

import (
	"time"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/content"
	"foyer/middleware/maintenance"
	"foyer/middleware/source"
)

// Maintenance returns the layer that answers new sessions with the page of m while the server is under maintenance, in each
// tool's own way and with exit status 1, and says it before authentication too. Sessions that are open go on.
func Maintenance(said *Content, m *maintenance.Maintenance) Layer {
	return Layer{
		Name: "maintenance",
		Connect: func(*Conn) (Moments, error) {
			return Moments{Configure: func(cfg *gossh.ServerConfig) {
				addBanner(cfg, func(conn gossh.ConnMetadata) string { return said.early(conn, m.Banner) })
			}}, nil
		},
		Session: func(next ssh.Handler) ssh.Handler {
			return func(sess ssh.Session) {
				visit := said.Visit(sess)
				page, found := m.Page(visit)
				if !found {
					next(sess)
					return
				}
				SayAnswer(sess, page, visit)
			}
		},
	}
}

// early returns what banner says to a client before authentication, or an empty text.
func (s *Content) early(conn gossh.ConnMetadata, banner func(*content.Visit) (content.Match, bool)) string {
	visit := &content.Visit{
		Address: source.Addr(conn.RemoteAddr()), Client: string(conn.ClientVersion()), Now: time.Now(), Server: s.Server,
	}
	s.adjust(visit)
	said, found := banner(visit)
	if !found {
		return ""
	}
	return said.Text(visit, content.View{}) + "\n"
}
