package watchfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// walk follows a path from the root directory, one component at a time, and checks each of them. What it has checked stays
// true: nobody else can replace a component of a directory that only root and the user can write.
type walk struct {
	uid    int
	edit   bool // also enter the directories of others, and hold them, because others can replace what is in them
	create bool // make missing directories, with mode 0700

	dir   folder // the directory that was reached
	at    string // its path, absolute and without symbolic links
	name  string // the next component
	links int    // how many symbolic links were followed
}

// folder is a directory on a path: an [*os.Root] if others could replace it meanwhile, and otherwise its path.
type folder interface {
	Lstat(name string) (fs.FileInfo, error)
	Readlink(name string) (string, error)
	Mkdir(name string, mode fs.FileMode) error
	OpenRoot(name string) (*os.Root, error)
	Close() error
}

type byPath string

func (dir byPath) Lstat(name string) (fs.FileInfo, error) {
	return os.Lstat(filepath.Join(string(dir), name))
}

func (dir byPath) Readlink(name string) (string, error) {
	return os.Readlink(filepath.Join(string(dir), name))
}

func (dir byPath) Mkdir(name string, mode fs.FileMode) error {
	return os.Mkdir(filepath.Join(string(dir), name), mode)
}

func (dir byPath) OpenRoot(name string) (*os.Root, error) {
	return os.OpenRoot(filepath.Join(string(dir), name))
}

func (byPath) Close() error { return nil }

// errOwnersUnknown is why no file is trusted on Windows, where nobody may be let in by it.
var errOwnersUnknown = errors.New("who can change it is not known on this system")

// to follows the path and returns what it leads to, which is name in dir and not checked. With edit, it returns nil if that
// is missing, unless path is a symbolic link.
func (w *walk) to(path string) (info fs.FileInfo, err error) {
	if !ownersKnown {
		return nil, &Error{Path: path, Err: errOwnersUnknown, Fix: "run foyer in WSL, or in a container"}
	}
	w.dir = byPath("")
	rest := components(path)
	typed := len(rest) // how many of the rest are from path, and not from a symbolic link
	if !filepath.IsAbs(path) {
		here, err := os.Getwd()
		if err != nil {
			return nil, err
		}
		rest = slices.Concat(components(here), rest)
	}
	for len(rest) > 0 {
		w.name, rest = rest[0], rest[1:]
		if w.name == ".." {
			rest = slices.Concat(components(filepath.Dir(w.at)), rest)
			continue
		}
		info, err = w.next(len(rest) < typed)
		switch {
		case errors.Is(err, fs.ErrNotExist) && w.edit && len(rest) == 0 && typed > 0:
			return nil, nil
		case err != nil:
		case info.Mode().Type() == fs.ModeSymlink:
			var target string
			target, err = w.follow(info)
			typed = min(typed, len(rest))
			rest = slices.Concat(components(target), rest)
		case len(rest) > 0:
			err = w.enter(info)
		}
		if err != nil {
			return nil, err
		}
	}
	return info, nil
}

// components splits a path. An absolute one begins with "/".
func components(path string) (names []string) {
	if filepath.IsAbs(path) {
		names = []string{"/"}
	}
	for name := range strings.SplitSeq(path, "/") {
		if name != "" && name != "." {
			names = append(names, name)
		}
	}
	return names
}

// next describes the next component, and makes the directory if it is missing and that is wanted.
func (w *walk) next(create bool) (fs.FileInfo, error) {
	if w.name == "/" {
		_ = w.dir.Close()
		w.dir, w.at = byPath(""), ""
	}
	info, err := w.dir.Lstat(w.name)
	if !errors.Is(err, fs.ErrNotExist) || !create || !w.create {
		return info, err
	}
	if err := w.dir.Mkdir(w.name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return w.dir.Lstat(w.name)
}

// follow returns the target of a symbolic link. Others can exchange the links in a directory that they can write. There,
// the link that was checked is the one that was read only if it has not been moved since, as its ctime says.
func (w *walk) follow(info fs.FileInfo) (target string, err error) {
	path := filepath.Join(w.at, w.name)
	if w.links++; w.links > 40 { // as Linux
		return "", Failure(path, syscall.ELOOP)
	}
	if err := belongs(path, info, w.uid); err != nil {
		return "", err
	}
	target, err = w.dir.Readlink(w.name)
	if _, held := w.dir.(*os.Root); held && err == nil {
		now, err := w.dir.Lstat(w.name)
		if err != nil || !os.SameFile(now, info) || !unchanged(now, info) || time.Since(changed(info)) < racy {
			return "", &Error{Path: path, Err: errors.New("is a symbolic link that was changed just now"), Fix: "try again"}
		}
	}
	return target, err
}

// enter makes the next component the directory that was reached.
func (w *walk) enter(info fs.FileInfo) error {
	path := filepath.Join(w.at, w.name)
	if !info.IsDir() {
		return syscall.ENOTDIR
	}
	var next folder = byPath(path)
	_, held := w.dir.(*os.Root)
	if err := w.check(path, info, OthersWrite); err != nil && !w.edit {
		return err
	} else if err != nil || held {
		if next, err = w.open(info); err != nil {
			return err
		}
	}
	_ = w.dir.Close()
	w.dir, w.at = next, path
	return nil
}

// open opens the directory that is the next component, if it is still the one that info describes.
func (w *walk) open(info fs.FileInfo) (*os.Root, error) {
	root, err := w.dir.OpenRoot(w.name)
	if err != nil {
		return nil, err
	}
	if now, err := root.Stat("."); err != nil || !os.SameFile(now, info) {
		_ = root.Close()
		return nil, errChanged
	}
	return root, nil
}

// check returns an [*Error] if anybody but root and the user can change the file or directory.
func (w *walk) check(path string, info fs.FileInfo, forbidden fs.FileMode) error {
	if err := belongs(path, info, w.uid); err != nil {
		return err
	}
	if owner(info) != w.uid {
		forbidden &= OthersWrite
	}
	return checkMode(path, info, forbidden)
}

// belongs returns an [*Error] if the file belongs neither to root nor to one of the users.
func belongs(path string, info fs.FileInfo, users ...int) error {
	uid := owner(info)
	if uid == 0 || slices.Contains(users, uid) {
		return nil
	}
	name, sudo := fmt.Sprint("uid ", uid), fmt.Sprintf("'#%d'", uid)
	if known := userName(uid); known != "" {
		name, sudo = fmt.Sprintf("%s (uid %d)", known, uid), Quote(known)
	}
	verb := "belongs to"
	if info.Mode().Type() == fs.ModeSymlink {
		verb = "is a symbolic link that belongs to"
	}
	fix := fmt.Sprintf("use files of root's, such as in /etc/foyer; or, if foyer runs as that user, run: sudo -u %s foyer", sudo)
	return &Error{Path: path, Err: fmt.Errorf("%s %s, and must belong to root or to the user that foyer runs as", verb, name), Fix: fix}
}

// owner returns the uid of the file's owner.
func owner(info fs.FileInfo) int {
	uid, _ := owners(info)
	return uid
}

// Own reports whether the file belongs to the running user.
func Own(info fs.FileInfo) bool { return owner(info) == os.Geteuid() }

// userName returns the name of a user, or "" if it is unknown.
func userName(uid int) string {
	if known, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return known.Username
	}
	return ""
}
