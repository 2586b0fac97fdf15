package middleware

import (
	"errors"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"
)

// Open returns the layer that lets everybody in, under the name that they give and with whatever they offer: no
// password, any password, any key. It stands where Password would, for a door that is meant to be open, such as a
// landing page. What a visitor says of themselves is then all that is known of them.
func Open() Layer {
	return Layer{
		Name: "open",
		Server: func(srv *ssh.Server) error {
			if authenticates(config(srv)) {
				return errors.New("another layer authenticates, and this one would let everybody past it")
			}
			return Hooks{Configure: letIn}.Add(srv)
		},
	}
}

func letIn(_ ssh.Context, cfg *gossh.ServerConfig) {
	// Each visitor's own: what is known of one is no permission of the next.
	welcome := func() (*gossh.Permissions, error) { return &gossh.Permissions{}, nil }
	cfg.NoClientAuth = true
	cfg.NoClientAuthCallback = func(gossh.ConnMetadata) (*gossh.Permissions, error) { return welcome() }
	// Some clients never ask for "none" and go straight to what they have.
	cfg.PasswordCallback = func(gossh.ConnMetadata, []byte) (*gossh.Permissions, error) { return welcome() }
	cfg.PublicKeyCallback = func(gossh.ConnMetadata, gossh.PublicKey) (*gossh.Permissions, error) { return welcome() }
}
