// Package passwords reads and edits the password file of an SSH server.
//
// The file holds one line for each user, the name and the secret, divided by the first colon:
//
//	# staff
//	ada:$argon2id$v=19$m=19456,t=2,p=1$c2FsdHlzYWx0$…
//	bob:$y$j9T$…
//
// Blank lines, and lines whose first character is "#", are comments. CR LF line endings and a byte order
// mark are accepted. A name has 1 to 256 bytes of UTF-8, no white space, no control character and no colon,
// and stands in the file once.
//
// The secret is a hash, as foyer, mkpasswd or another server made it: argon2id ($argon2id$), bcrypt ($2a$,
// $2b$, $2y$), scrypt ($scrypt$), yescrypt ($y$, as in Debian's /etc/shadow) or sha512-crypt ($6$). Anything
// else that begins with "$" or "{", a hash that is broken or dearer than the bounds in schemes.go, and a
// locked account of /etc/shadow ("*", "!…") is an error. All other secrets are plain text, which is refused
// unless [Options] allow it.
//
// The file must be a regular file that only its owner can write, of at most 8 MiB. It is read again when it
// has changed; there is nothing to restart or to signal. Unix only.
package passwords

import "foyer/middleware/watchfile"

// DefaultPath is where foyer looks when it is told nothing else; remedies name any other path.
const DefaultPath = "ssh-passwords"

// The lengths, in bytes, beyond which a name or a password is refused before any work is done for it.
// bcrypt apart (72 bytes), no scheme cares; nobody types a kilobyte.
const (
	maxName     = 256
	maxPassword = 1 << 10
)

// Error says what is wrong with a password file, where, and what to do about it. It never holds a secret.
type Error = watchfile.Error

// hashRemedy is what to type when a file holds plain text.
func hashRemedy(path string) string {
	if path == DefaultPath {
		return "run: foyer user hash"
	}
	return "run: foyer user hash --passwords " + watchfile.Quote(path)
}
