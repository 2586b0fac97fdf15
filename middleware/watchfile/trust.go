package watchfile

import (
	"io/fs"
	"os"
	"syscall"
)

// Trust returns an [*Error] if anybody but root and the running user could change the open file or directory, or replace
// it by another one at path. It is sshd's StrictModes for the whole path: every directory, symbolic link and file belongs
// to one of the two, and nobody else can write to it. A sticky directory such as /tmp is excused, because nobody can
// replace the files of others there.
//
// Opened may be nil if the file is missing. Then the error is fs.ErrNotExist or, so that nobody creates the file there, that
// of a directory.
//
// Forbidden are the permissions that make the file itself unusable. Like sshd, Trust ignores who can read a private key
// that does not belong to the running user: Kubernetes mounts it with the mode 0440 of root and a group.
func Trust(path string, opened fs.FileInfo, forbidden fs.FileMode) error {
	return (&walk{uid: os.Geteuid()}).trust(path, opened, forbidden)
}

func (w *walk) trust(path string, opened fs.FileInfo, forbidden fs.FileMode) error {
	info, err := w.to(path)
	if err != nil {
		return err
	}
	if opened == nil {
		return syscall.ENOENT // somebody has created it meanwhile
	}
	if !os.SameFile(info, opened) {
		return errChanged
	}
	return w.check(path, info, forbidden)
}

// SameAccess reports whether both are the same file or directory, with the same owner, group and mode.
func SameAccess(a, b fs.FileInfo) bool {
	uidA, gidA := owners(a)
	uidB, gidB := owners(b)
	return os.SameFile(a, b) && uidA == uidB && gidA == gidB && a.Mode() == b.Mode()
}
