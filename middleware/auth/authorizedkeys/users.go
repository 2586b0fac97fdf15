package authorizedkeys

import (
	"io/fs"
	"os"
	"path/filepath"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/auth/keyfile"
	"foyer/middleware/auth/username"
	"foyer/middleware/watchfile"
)

// User is a user who has a file.
type User struct {
	Name     string
	Keys     []Key   // the valid ones
	Problems []error // of the file, each a [*watchfile.Error]
}

// Key is a valid line of a file. The key may have expired.
type Key struct {
	Line        int
	Type        string // ssh-ed25519
	Fingerprint string // SHA256:…, as ssh-keygen -l shows it
	Comment     string
	Options     string // as in the file
}

// Users reads the directory and returns the users in the order of their files. Files that belong to no user, such as hidden
// ones, are omitted. If the directory is missing, the error is fs.ErrNotExist.
func (d *Dir) Users() ([]User, error) {
	root, err := openDir(d.path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, watchfile.Failure(d.path, err)
	}
	var users []User
	for _, entry := range entries {
		name, ok := username.FromFile(entry.Name())
		if !ok {
			continue
		}
		lines, problems := d.read(root, entry.Name())
		user := User{Name: name, Problems: problems}
		for _, l := range lines {
			key, _ := gossh.ParsePublicKey(l.blob) // was parsed before
			user.Keys = append(user.Keys, Key{l.number, key.Type(), gossh.FingerprintSHA256(key), l.comment, l.options})
		}
		users = append(users, user)
	}
	return users, nil
}

// Has reports whether user has a valid key.
func (d *Dir) Has(user string) bool { return len(d.lines(user)) > 0 }

// read returns the lines of a file and its problems.
func (d *Dir) read(root *os.Root, name string) ([]line, []error) {
	path := filepath.Join(d.path, name)
	data, _, err := watchfile.ReadVersion(root, name, path, keyfile.MaxFile)
	if err != nil {
		return nil, []error{err}
	}
	return parse(path, data)
}
