package authorizedkeys

import (
	"io/fs"
	"path/filepath"

	"foyer/middleware/auth/username"
	"foyer/middleware/watchfile"
)

// Remove deletes the user's file in dir. If there is none, the error is fs.ErrNotExist. If the file is a symbolic link, its
// target stays.
func Remove(dir, user string) error {
	name, err := username.ToFile(user)
	if err != nil {
		return watchfile.Failure(dir, fs.ErrNotExist)
	}
	e, err := watchfile.EditDir(dir, false)
	if err != nil {
		return err
	}
	defer e.Close()
	return watchfile.Failure(filepath.Join(dir, name), e.Remove(name))
}
