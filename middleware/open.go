package middleware

import gossh "golang.org/x/crypto/ssh"

// Open returns the layer that lets everybody in, under the name that they give and with whatever they offer: no password,
// any password, any key. It stands in place of the layers that authenticate, for a server that is open to all, such as a
// landing page. Nothing is known about a visitor but what they say.
func Open() Layer {
	return Layer{
		Name:    "open",
		Methods: []string{"none", "password", "publickey"}, // some clients go straight to what they have
		Connect: func(*Conn) (Moments, error) { return Moments{Configure: letIn}, nil },
	}
}

func letIn(cfg *gossh.ServerConfig) {
	// Each visitor's own: what is known of one is no permission of the next.
	nothing := func() (*gossh.Permissions, error) { return &gossh.Permissions{}, nil }
	cfg.NoClientAuth = true
	cfg.NoClientAuthCallback = func(gossh.ConnMetadata) (*gossh.Permissions, error) { return nothing() }
	cfg.PasswordCallback = func(gossh.ConnMetadata, []byte) (*gossh.Permissions, error) { return nothing() }
	cfg.PublicKeyCallback = func(gossh.ConnMetadata, gossh.PublicKey) (*gossh.Permissions, error) { return nothing() }
}
