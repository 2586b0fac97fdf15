package middleware

import (
	"context"
	"errors"
	"net/netip"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/source"
)

// What a client may send as a password and as a user name, in bytes. Nobody types more, and what is over the limit
// is refused before a hash is computed over it.
const (
	maxPassword = 1 << 10
	maxUser     = 256
)

// PasswordSource knows whose passwords are whose. It is asked from many connections at once, and must take as long for
// a user that does not exist as for one that does; passwords.File is one.
type PasswordSource interface {
	// VerifyFrom returns nil if password is that of user, and an error for the log if not. The address is where the
	// attempt comes from, not valid where that is no IP address; ctx ends with the connection.
	VerifyFrom(ctx context.Context, from netip.Addr, user, password string) error
}

// Password returns the layer that lets in who knows the password of the user of this attempt, whatever earlier ones
// claimed. A source that panics has refused.
//
// A visitor has six attempts, as with sshd's MaxAuthTries.
func Password(source PasswordSource) Layer {
	return Layer{
		Name:    "password",
		Methods: []string{"password"},
		Server: func(*ssh.Server) error {
			if source == nil {
				return errors.New("nothing to check passwords with")
			}
			return nil
		},
		Connect: func(c *Conn) (Moments, error) {
			return Moments{Configure: func(cfg *gossh.ServerConfig) {
				cfg.PasswordCallback = func(conn gossh.ConnMetadata, password []byte) (*gossh.Permissions, error) {
					if err := verify(c, source, conn, password); err != nil {
						return nil, err
					}
					return &gossh.Permissions{}, nil
				}
			}}, nil
		},
	}
}

// errWrongPassword says no more: whether the user exists is nobody's business, not even the log reader's.
var errWrongPassword = errors.New("wrong password")

func verify(c *Conn, passwords PasswordSource, conn gossh.ConnMetadata, password []byte) (err error) {
	defer c.recoverAttempt(&err)
	if len(password) > maxPassword || len(conn.User()) > maxUser {
		return errWrongPassword
	}
	return passwords.VerifyFrom(c.Context(), source.Addr(conn.RemoteAddr()), conn.User(), string(password))
}
