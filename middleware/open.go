package middleware

import (
	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"
)

// Open returns the layer that lets everybody in, under the name that they give and with whatever they offer: no
// password, any password, any key. It stands where Password would, for a door that is meant to be open, such as a
// landing page. What a visitor says of themselves is then all that is known of them.
func Open() Layer {
	welcome := &gossh.Permissions{}
	return Layer{
		Name: "open",
		Server: Hooks{Configure: func(_ ssh.Context, cfg *gossh.ServerConfig) {
			cfg.NoClientAuth = true
			cfg.NoClientAuthCallback = func(gossh.ConnMetadata) (*gossh.Permissions, error) { return welcome, nil }
			// Some clients never ask for "none" and go straight to what they have.
			cfg.PasswordCallback = func(gossh.ConnMetadata, []byte) (*gossh.Permissions, error) { return welcome, nil }
			cfg.PublicKeyCallback = func(gossh.ConnMetadata, gossh.PublicKey) (*gossh.Permissions, error) {
				return welcome, nil
			}
		}}.Add,
	}
}
