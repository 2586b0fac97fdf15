package watchfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Create writes a new file with mode 0600, as [Edit.Create] does.
func Create(path, data string) error {
	if _, err := os.Lstat(path); err == nil {
		return fs.ErrExist
	}
	e, name, err := EditFile(path)
	if err != nil {
		return err
	}
	defer e.Close()
	return e.Create(name, data)
}

// Create writes a new file with mode 0600. The file appears complete or not at all. Nothing is ever replaced: if the name
// exists, even as a dangling symbolic link, the error is fs.ErrExist. If root creates the file, it belongs to the owner of
// the directory, because the server must be able to read it.
func (e *Edit) Create(name, data string) error {
	owner, err := e.root.Stat(".")
	if err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		owner = nil
	}
	return e.write(name, data, 0o600, owner, e.root.Link) // unlike a rename, a link fails if the name exists
}

// CreateLike is [Edit.Create] for a file with the owner, the group and the mode of another one.
func (e *Edit) CreateLike(name, data string, other fs.FileInfo) error {
	return e.write(name, data, other.Mode().Perm()&^unsafe, other, e.root.Link)
}

// unsafe are the permissions that no file gets.
const unsafe = 0o111 | OthersWrite

// Replace puts a file in the place of another one. Readers see the old content or the new one. The file gets the owner, the
// group and the mode of old: after an edit by root, the server must still be able to read it. If that is not permitted,
// nothing changes. Old may be the directory of a new file.
func (e *Edit) Replace(name, data string, old fs.FileInfo) error {
	return e.write(name, data, old.Mode().Perm()&^unsafe, old, e.root.Rename)
}

// write writes data to a temporary file, with the owner and the group of another one unless that is nil, and calls commit,
// which gives it its name.
func (e *Edit) write(name, data string, mode fs.FileMode, owner fs.FileInfo, commit func(temp, name string) error) error {
	temp := e.temp()
	f, err := e.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	_, err = f.WriteString(data)
	if err == nil && owner != nil {
		err = chown(f, owner)
	}
	for _, step := range []func() error{
		func() error { return f.Chmod(mode) }, // whatever the umask is
		f.Sync,
		func() error { return commit(temp, name) },
	} {
		if err == nil {
			err = step()
		}
	}
	return errors.Join(err, e.removeTemp(), e.sync())
}

// chown gives f the owner and the group of another file.
func chown(f *os.File, like fs.FileInfo) error {
	if err := f.Chown(owners(like)); err != nil {
		return fmt.Errorf("keep the owner and the group: %w", err)
	}
	return nil
}

// Link gives a file a second name. If that exists, the error is fs.ErrExist.
func (e *Edit) Link(name, second string) error {
	if err := e.root.Link(name, second); err != nil {
		return err
	}
	return e.sync()
}

// Rename gives a file another name. A file that has that name already is replaced.
func (e *Edit) Rename(name, other string) error {
	if err := e.root.Rename(name, other); err != nil {
		return err
	}
	return e.sync()
}

// Remove deletes a file or a symbolic link.
func (e *Edit) Remove(name string) error {
	if err := e.root.Remove(name); err != nil {
		return err
	}
	return e.sync()
}

func (e *Edit) temp() string { return e.prefix + ".tmp" }

// removeTemp deletes the temporary file, if there is one.
func (e *Edit) removeTemp() error {
	err := e.root.Remove(e.temp())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// sync makes the names in the directory survive a crash. Some file systems cannot do it, which is no error.
func (e *Edit) sync() error {
	dir, err := e.root.Open(".")
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	if err := dir.Sync(); !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}

// Clean deletes the temporary file that a crashed edit of the file or the directory at path left behind. It takes the lock
// only if there is one.
func Clean(path string) error {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		target = path // a missing file can have one too
	}
	temp := filepath.Join(filepath.Dir(target), "."+filepath.Base(target)+".tmp")
	info, err := os.Stat(target)
	isDir := err == nil && info.IsDir()
	if isDir {
		temp = filepath.Join(target, ".tmp")
	}
	if _, err := os.Lstat(temp); err != nil {
		return nil
	}
	var e *Edit
	if isDir {
		e, err = EditDir(path, false)
	} else {
		e, _, err = EditFile(path)
	}
	if err == nil {
		e.Close()
	}
	return err
}
