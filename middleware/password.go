package middleware

import (
	"errors"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"
)

// What a client may send as a password and as a user name, in bytes. Nobody types more, and what is over the limit
// is refused before a hash is computed over it.
const (
	maxPassword = 1 << 10
	maxUser     = 256
)

// Password returns the layer that lets in who knows the password: verify is given the user of this attempt, whatever
// earlier ones claimed, and says whether the password is theirs. It is called from many connections at once, and
// must take as long for a user that does not exist as for one that does.
//
// A visitor has six attempts, as with sshd's MaxAuthTries; see passwords.File.Verify for a file to ask.
func Password(verify func(user, password string) bool) Layer {
	return Layer{
		Name: "password",
		Server: func(srv *ssh.Server) error {
			if verify == nil {
				return errors.New("nothing to check passwords with")
			}
			if config(srv).PasswordCallback != nil {
				return errors.New("another layer checks passwords already")
			}
			return Hooks{Configure: func(_ ssh.Context, cfg *gossh.ServerConfig) {
				cfg.PasswordCallback = func(conn gossh.ConnMetadata, password []byte) (*gossh.Permissions, error) {
					if len(password) > maxPassword || len(conn.User()) > maxUser ||
						!verify(conn.User(), string(password)) {
						return nil, errWrongPassword
					}
					return &gossh.Permissions{}, nil
				}
			}}.Add(srv)
		},
	}
}

// errWrongPassword says no more than that: whether the user exists is nobody's business, not even the log reader's.
var errWrongPassword = errors.New("wrong password")
