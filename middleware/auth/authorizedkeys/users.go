package authorizedkeys

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/auth/keyfile"
	"foyer/middleware/watchfile"
)

// User is a user who has a file, and the keys in it that can be used.
type User struct {
	Name string
	Keys []Key
}

// Key is a line that can be used. Expired ones are among them.
type Key struct {
	Line        int
	Type        string // ssh-ed25519
	Fingerprint string // SHA256:…, as ssh-keygen -l shows it
	Comment     string
	Options     string // as they stand in the file
}

// Users lists the users in the order of their names, from a fresh look. Whose file cannot be read has no keys; Check
// says why. Names that are no user's, such as dot files, are left out.
func (d *Dir) Users() ([]User, error) {
	root, err := openDir(d.path)
	if root == nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, watchfile.Failure(d.path, err)
	}
	var users []User
	for _, entry := range entries {
		if checkName(entry.Name()) != nil {
			continue
		}
		lines, _ := d.read(root, entry.Name())
		users = append(users, User{entry.Name(), keysOf(lines)})
	}
	return users, nil
}

// Has reports whether user has a key that can be used.
func (d *Dir) Has(user string) bool { return len(d.lines(user)) > 0 }

// Check returns all that is wrong with the user's file, or with the directory, from a fresh look. Each is a
// [*watchfile.Error]; that the file is missing is one that is fs.ErrNotExist.
func (d *Dir) Check(user string) []error {
	path := filepath.Join(d.path, user)
	if err := checkName(user); err != nil {
		return []error{&watchfile.Error{Path: d.path, Err: err}}
	}
	root, err := openDir(d.path)
	switch {
	case err != nil:
		return []error{err}
	case root == nil:
		return []error{&watchfile.Error{Path: path, Err: fs.ErrNotExist}}
	}
	defer func() { _ = root.Close() }()
	_, problems := d.read(root, user)
	return problems
}

func (d *Dir) read(root watchfile.Tree, user string) ([]line, []error) {
	path := filepath.Join(d.path, user)
	data, _, err := watchfile.ReadVersion(root, user, path, keyfile.MaxFile)
	return meaning(path, data, err)
}

func keysOf(lines []line) []Key {
	var keys []Key
	for _, l := range lines {
		keys = append(keys, Key{l.number, l.kind, gossh.FingerprintSHA256(l), l.comment, l.options})
	}
	return keys
}

// maxName is what file systems take.
const maxName = 255

// checkName returns an error for a name that is not, on its own, that of a file for a user.
func checkName(user string) error {
	switch {
	case user == "":
		return errors.New("empty user name")
	case len(user) > maxName:
		return fmt.Errorf("user name of %d bytes, at most %d are allowed", len(user), maxName)
	case !utf8.ValidString(user) || strings.ContainsFunc(user, unicode.IsControl):
		return fmt.Errorf("user name %q has bytes in it that are no characters", user)
	case strings.ContainsAny(user, `/\`):
		return fmt.Errorf("user name %q has a slash in it", user)
	case user[0] == '.' || strings.HasSuffix(user, "~"):
		return fmt.Errorf("user name %q is that of a hidden file or a backup", user)
	}
	return nil
}
