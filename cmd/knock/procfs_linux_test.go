package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// powerless takes from the test's thread what root may beyond other users: to read a file whose mode forbids it.
func powerless(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3} // of this thread alone
	var before [2]unix.CapUserData
	if err := unix.Capget(&header, &before[0]); err != nil {
		t.Fatal(err)
	}
	none := before
	none[0].Effective, none[1].Effective = 0, 0
	if err := unix.Capset(&header, &none[0]); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if unix.Capset(&header, &before[0]) == nil {
			runtime.UnlockOSThread() // or the thread ends with the test
		}
	})
}

// TestHiddenProcesses: other people's processes, which hidepid=1 lists and does not show, are none of the tree's, but
// the one that was asked for has to be seen.
func TestHiddenProcesses(t *testing.T) {
	dir := proc(t, map[string]string{
		"20/stat": stat(20, 1, "sshd", [4]int{1, 2, 0, 0}),
		"30/stat": stat(30, 20, "session", [4]int{4, 0, 0, 0}),
		"40/stat": stat(40, 1, "hidden", [4]int{100, 0, 0, 0}),
	})
	hidden := filepath.Join(dir, "40")
	if err := os.Chmod(hidden, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(hidden, 0o700) }) // or it could not be removed
	powerless(t)
	if cpu, err := (processTree{root: 20, proc: dir}).cpu(); err != nil || cpu != 70*time.Millisecond {
		t.Errorf("CPU %s, %v", cpu, err)
	}
	if cpu, err := (processTree{root: 40, proc: dir}).cpu(); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("CPU %s, %v", cpu, err)
	}
}
