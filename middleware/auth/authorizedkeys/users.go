package authorizedkeys

import (
	"io/fs"
	"path/filepath"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/auth/keyfile"
	"foyer/middleware/auth/username"
	"foyer/middleware/watchfile"
)

// User is a user who has a file, and the valid keys in it.
type User struct {
	Name string
	Keys []Key
}

// Key is a valid line of a file. The key may have expired.
type Key struct {
	Line        int
	Type        string // ssh-ed25519
	Fingerprint string // SHA256:…, as ssh-keygen -l shows it
	Comment     string
	Options     string // as in the file
}

// Users reads the directory and returns the users in the order of their files. If a file cannot be read, its user has no
// keys; Check returns the reason. Files that belong to no user, such as hidden ones, are omitted.
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
		if name, ok := username.FromFile(entry.Name()); ok {
			lines, _ := d.read(root, entry.Name())
			users = append(users, User{name, keysOf(lines)})
		}
	}
	return users, nil
}

// Has reports whether user has a valid key.
func (d *Dir) Has(user string) bool { return len(d.lines(user)) > 0 }

// Check reads the user's file and returns all its problems, and those of the directory, each as a [*watchfile.Error]. If
// the file is missing, there is one, which is fs.ErrNotExist.
func (d *Dir) Check(user string) []error {
	name, err := username.ToFile(user)
	if err != nil {
		return []error{&watchfile.Error{Path: d.path, Err: err}}
	}
	root, err := openDir(d.path)
	switch {
	case err != nil:
		return []error{err}
	case root == nil:
		return []error{&watchfile.Error{Path: filepath.Join(d.path, name), Err: fs.ErrNotExist}}
	}
	defer func() { _ = root.Close() }()
	_, problems := d.read(root, name)
	return problems
}

func (d *Dir) read(root watchfile.Tree, name string) ([]line, []error) {
	path := filepath.Join(d.path, name)
	data, _, err := watchfile.ReadVersion(root, name, path, keyfile.MaxFile)
	if err != nil {
		return nil, []error{err}
	}
	return parse(path, data)
}

func keysOf(lines []line) []Key {
	var keys []Key
	for _, l := range lines {
		keys = append(keys, Key{l.number, l.kind, gossh.FingerprintSHA256(l), l.comment, l.options})
	}
	return keys
}
