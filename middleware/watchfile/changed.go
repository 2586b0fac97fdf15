//go:build !darwin && !freebsd && !netbsd && !windows

package watchfile

import (
	"io/fs"
	"syscall"
	"time"
)

// changed returns when the file was last changed, its ctime. Unlike the modification time, nobody can set it.
func changed(info fs.FileInfo) time.Time {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return info.ModTime()
	}
	return time.Unix(stat.Ctim.Unix())
}
