package watchfile

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/google/renameio/v2"
)

// Create writes a new file with mode 0600. The file appears complete or not at all. Nothing is ever replaced: if path
// exists, even as a dangling symbolic link, the error is fs.ErrExist. Of several concurrent calls, one succeeds.
func Create(path, data string) error {
	if _, err := os.Lstat(path); err == nil {
		return fs.ErrExist
	}
	return write(path, data, func(p *renameio.PendingFile) error {
		if err := p.Sync(); err != nil {
			return err
		}
		return os.Link(p.Name(), path) // unlike a rename, a link fails if path exists
	})
}

// Replace puts a file in the place of the one at path. Readers see the old content or the new one. The file gets the owner,
// the group and the mode of old: after an edit by root, the server must still be able to read it. If that is not permitted,
// nothing changes. Old may be the directory of a new file.
func Replace(path, data string, old fs.FileInfo) error {
	return write(path, data, func(p *renameio.PendingFile) error {
		if stat, ok := old.Sys().(*syscall.Stat_t); ok {
			if err := p.Chown(int(stat.Uid), int(stat.Gid)); err != nil {
				return fmt.Errorf("keep the owner and the group: %w", err)
			}
		}
		const executable = 0o111
		if err := p.Chmod(old.Mode().Perm() &^ executable); err != nil {
			return err
		}
		return p.CloseAtomicallyReplace()
	})
}

// write writes data to a temporary file beside path and calls commit. The temporary file is removed if it is left.
func write(path, data string, commit func(*renameio.PendingFile) error) error {
	p, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithStaticPermissions(0o600))
	if err != nil {
		return err
	}
	defer func() { _ = p.Cleanup() }()
	if _, err := p.WriteString(data); err != nil {
		return err
	}
	return commit(p)
}
