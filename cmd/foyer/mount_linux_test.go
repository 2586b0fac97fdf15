package main

import (
	"fmt"
	"syscall"
)

// mountMemory mounts a file system in memory.
func mountMemory(dir string, kib int) (unmount func() error, err error) {
	err = syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dk,mode=0700", kib))
	return func() error { return syscall.Unmount(dir, syscall.MNT_DETACH) }, err
}
