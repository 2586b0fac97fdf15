package authorizedkeys

import (
	"io/fs"
	"os"
	"path/filepath"

	"foyer/middleware/watchfile"
)

// Remove deletes the user's file in dir, so that none of its keys lets anybody in any more. The error is fs.ErrNotExist
// where there is none. A symbolic link is deleted, and not what it leads to.
func Remove(dir, user string) error {
	if checkName(user) != nil {
		return watchfile.Failure(dir, fs.ErrNotExist) // no file is that user's
	}
	unlock, err := lock(dir)
	if err != nil {
		return err
	}
	defer unlock()
	path := filepath.Join(dir, user)
	return watchfile.Failure(path, os.Remove(path))
}
