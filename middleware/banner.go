package middleware

import (
	gossh "golang.org/x/crypto/ssh"
)

// Banner returns the layer that says the banner of the rules before authentication (RFC 4252 section 5.4), also to clients
// that cannot authenticate. Nothing is known of them but their address and what they call themselves.
func Banner(said *Content) Layer {
	return Layer{
		Name: "banner",
		Connect: func(c *Conn) (Moments, error) {
			return Moments{Configure: func(cfg *gossh.ServerConfig) {
				addBanner(cfg, func(conn gossh.ConnMetadata) string { return said.early(conn, said.Table.Banner) })
			}}, nil
		},
	}
}

// addBanner adds a text after the banner that is sent already.
func addBanner(cfg *gossh.ServerConfig, text func(gossh.ConnMetadata) string) {
	before := cfg.BannerCallback
	cfg.BannerCallback = func(conn gossh.ConnMetadata) string {
		if before == nil {
			return text(conn)
		}
		return before(conn) + text(conn)
	}
}
