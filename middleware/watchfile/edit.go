package watchfile

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Edit holds the directory of files that are being edited; nobody else edits them until Close. It stays in the directory
// that was found: the owner of a directory on the path cannot make root change files elsewhere with a symbolic link, which
// must belong to root or to the running user, nor by an exchange of directories after the check.
type Edit struct {
	root   *os.Root
	prefix string // of the lock and the temporary file: dot files, so that they are neither users nor host keys
	lock   *os.File
}

// EditDir edits the files in the directory at path. If create is true, a missing directory is made with mode 0700.
func EditDir(path string, create bool) (*Edit, error) {
	w := &walk{uid: os.Geteuid(), edit: true, create: create}
	info, err := w.to(path)
	defer func() { _ = w.dir.Close() }()
	switch {
	case err != nil:
	case info == nil:
		err = fs.ErrNotExist
	case !info.IsDir():
		err = syscall.ENOTDIR
	default:
		err = checkMode(path, info, OthersWrite)
	}
	if err != nil {
		return nil, Failure(path, err)
	}
	root, err := w.open(info)
	if err != nil {
		return nil, Failure(path, err)
	}
	return newEdit(root, path, "", nil)
}

// EditFile edits the file at path or, if that is a symbolic link, its target. It returns the file's name in its directory.
// The file may be missing, but not the target of a link.
func EditFile(path string) (e *Edit, name string, err error) {
	w := &walk{uid: os.Geteuid(), edit: true}
	file, err := w.to(path)
	if err == nil && file != nil {
		err = regular(file)
	}
	root, held := w.dir.(*os.Root)
	if err == nil && !held {
		root, err = os.OpenRoot(w.at)
	}
	if err != nil {
		_ = w.dir.Close()
		return nil, "", Failure(path, err)
	}
	e, err = newEdit(root, w.at, "."+w.name, file)
	return e, w.name, err
}

// newEdit takes the lock and removes what a crashed edit left behind. The lock belongs to the owner of the file or, if that
// is nil, of the directory. Others cannot open it: they could keep it for ever.
func newEdit(root *os.Root, path, prefix string, file fs.FileInfo) (*Edit, error) {
	e := &Edit{root: root, prefix: prefix}
	lock := prefix + ".lock"
	err := e.takeLock(lock, filepath.Join(path, lock), file)
	if err == nil {
		if err = e.removeTemp(); err == nil {
			return e, nil
		}
		path = filepath.Join(path, e.temp())
	} else if _, missing := root.Lstat(lock); missing == nil {
		path = filepath.Join(path, lock)
	}
	e.Close()
	return nil, Failure(path, err)
}

func (e *Edit) takeLock(name, path string, file fs.FileInfo) (err error) {
	if file == nil {
		file, err = e.root.Stat(".")
	}
	if err != nil {
		return err
	}
	e.lock, err = e.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil && os.Geteuid() == 0 {
		err = chown(e.lock, file)
	} else if errors.Is(err, fs.ErrExist) {
		e.lock, err = e.open(name, os.O_RDWR)
	}
	if err != nil {
		return err
	}
	info, err := e.lock.Stat()
	if err == nil {
		err = belongs(path, info, os.Geteuid(), owner(file))
	}
	if err != nil {
		return err
	}
	return exclusive(e.lock)
}

// Read returns the content of a file that others cannot write, and its description for [Edit.Replace]. It does not follow
// symbolic links. Errors name the file path. If the file is missing, the error is fs.ErrNotExist and the description is the
// directory's.
func (e *Edit) Read(name, path string, limit int64) (data string, old fs.FileInfo, err error) {
	f, err := e.open(name, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		old, failed := e.root.Stat(".")
		return "", old, Failure(path, cmp.Or(failed, err))
	}
	if err != nil {
		return "", nil, Failure(path, err)
	}
	defer func() { _ = f.Close() }()
	data, old, err = read(f, limit, func(info fs.FileInfo) error { return checkMode(path, info, OthersWrite) })
	return data, old, Failure(path, err)
}

// open opens a regular file. It does not follow symbolic links.
func (e *Edit) open(name string, flag int) (*os.File, error) {
	info, err := e.root.Lstat(name)
	if err == nil {
		err = regular(info)
	}
	if err != nil {
		return nil, err
	}
	f, err := e.root.OpenFile(name, flag|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if opened, err := f.Stat(); err != nil || !os.SameFile(opened, info) {
		_ = f.Close()
		return nil, errChanged
	}
	return f, nil
}

// Close lets others edit the files.
func (e *Edit) Close() {
	if e.lock != nil {
		_ = e.lock.Close()
	}
	_ = e.root.Close()
}
