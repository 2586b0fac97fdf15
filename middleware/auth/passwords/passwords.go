// Package passwords checks passwords against a file, and edits the file.
//
// The file has one line for each user: the name and the secret, separated by the first colon.
//
//	# staff
//	ada:$argon2id$v=19$m=19456,t=2,p=1$c2FsdHlzYWx0$…
//	bob:$y$j9T$…
//
// Blank lines and lines that start with "#" are comments. CR LF line endings and a byte order mark are accepted. Package
// username defines which names are valid. A name must not occur twice.
//
// The secret is a hash of foyer, mkpasswd or another server: argon2id ($argon2id$), bcrypt ($2a$, $2b$, $2y$), scrypt
// ($scrypt$), yescrypt ($y$, as in Debian's /etc/shadow) or sha512-crypt ($6$). All other secrets are plain text, which is
// refused unless [Options] allow it.
//
// It is an error if a secret is malformed or costs more than the limits in schemes.go; if it starts with "$" or "{" and is
// of another kind; if it looks like another program's hash or lock, see refused.go; if it has a colon, because a line with
// more than two fields is one of /etc/passwd or its like; or if it is plain text after white space. A password that looks
// like any of these can be used as a hash. No function changes a file with a line of more than two fields.
//
// The file must be a regular file of at most 8 MiB that only root and the running user can change. It is read again when it
// changes. Unix only.
package passwords

import (
	"foyer/middleware/auth/username"
	"foyer/middleware/watchfile"
)

// DefaultPath is foyer's default for the path of the file. Hints mention only other paths.
const DefaultPath = "ssh-passwords"

// Longer names and passwords are refused before any work is done for them. Only bcrypt has a lower limit, of 72 bytes.
const (
	maxName     = username.Max
	maxPassword = 1 << 10
)

// Error is a problem with a password file, with a hint. It never holds a secret.
type Error = watchfile.Error

// hint is the hint to run a command of "foyer user" on the file.
func hint(path, command string) string {
	if path == DefaultPath {
		return "run: foyer user " + command
	}
	return "run: foyer user " + command + " --passwords " + watchfile.Quote(path)
}
