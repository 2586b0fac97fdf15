package middleware

import (
	"context"
	"errors"
	"net/netip"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/source"
)

// The longest password and user name, in bytes. Longer ones are refused before a hash is computed.
const (
	maxPassword = 1 << 10
	maxUser     = 256
)

// PasswordSource verifies passwords. It must be safe for concurrent use, and take the same time for users that exist
// and for users that do not. An implementation is passwords.File.
type PasswordSource interface {
	// VerifyFrom returns nil if password is the password of user, and an error for the log if not. from is the client's
	// address, or invalid if that is not an IP address. ctx ends with the connection.
	VerifyFrom(ctx context.Context, from netip.Addr, user, password string) error
}

// UserList is implemented by a [PasswordSource] that knows who its users are.
type UserList interface {
	// Has reports whether there is such a user.
	Has(user string) bool
}

// Password returns the layer that authenticates clients with passwords. Each attempt is verified for the user that it
// names, independent of earlier attempts. If the source panics, the attempt fails. A client has six attempts, as with
// sshd's MaxAuthTries. If the source is a [UserList], a user who was removed from it opens no more sessions.
func Password(source PasswordSource) Layer {
	return checkPasswords(source, "password", "password", func(cfg *gossh.ServerConfig, check passwordCheck) {
		cfg.PasswordCallback = check
	})
}

// passwordCheck is a callback that authenticates a user with a password.
type passwordCheck = func(conn gossh.ConnMetadata, password []byte) (*gossh.Permissions, error)

// checkPasswords returns a layer of this name for a method in which configure uses the check of passwords.
func checkPasswords(source PasswordSource, name, method string, configure func(*gossh.ServerConfig, passwordCheck)) Layer {
	return Layer{
		Name:    name,
		Methods: []string{method},
		Server: func(*ssh.Server) error {
			if source == nil {
				return errors.New("no password source")
			}
			return nil
		},
		Connect: func(c *Conn) (Moments, error) {
			var user access
			list, known := source.(UserList)
			check := func(conn gossh.ConnMetadata, password []byte) (*gossh.Permissions, error) {
				if err := verify(c, source, conn, password); err != nil {
					return nil, err
				}
				user.checked()
				return &gossh.Permissions{}, nil
			}
			return Moments{
				Configure: func(cfg *gossh.ServerConfig) { configure(cfg, check) },
				Open: func(gossh.NewChannel, int) error {
					return user.open(c, func() bool { return !known || list.Has(c.Context().User()) })
				},
			}, nil
		},
	}
}

// errWrongPassword does not say whether the user exists, so that not even the log reveals it.
var errWrongPassword = errors.New("wrong password")

func verify(c *Conn, passwords PasswordSource, conn gossh.ConnMetadata, password []byte) (err error) {
	defer c.recoverAttempt(&err)
	if len(password) > maxPassword || len(conn.User()) > maxUser {
		return errWrongPassword
	}
	return passwords.VerifyFrom(c.Context(), source.Addr(conn.RemoteAddr()), conn.User(), string(password))
}
