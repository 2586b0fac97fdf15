//go:build !windows

package watchfile

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

const ownersKnown = true

// owners returns the uid and the gid of a file.
func owners(info fs.FileInfo) (uid, gid int) {
	stat := info.Sys().(*syscall.Stat_t)
	return int(stat.Uid), int(stat.Gid)
}

// access is access(2).
func access(path string, mode uint32) error { return syscall.Access(path, mode) }

// exclusive waits until nobody else has the lock.
func exclusive(lock *os.File) error {
	for {
		if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
