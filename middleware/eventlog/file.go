package eventlog

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
)

// File is a log file that can be opened again after it was rotated. It is safe for concurrent use.
type File struct{ now atomic.Pointer[os.File] }

// OpenFile opens the file at path to append to it. It makes a missing file with mode 0600.
func OpenFile(path string) (*File, error) {
	f := &File{}
	return f, f.Reopen(path)
}

// Reopen opens the file at path, which may be another one, and closes the one that was open. Each line that is written
// meanwhile is in one of them. After an error the file stays as it was.
func (f *File) Reopen(path string) error {
	// Without O_NONBLOCK, opening a named pipe that nobody reads would hang.
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY|syscall.O_NONBLOCK, 0o600)
	if errors.Is(err, syscall.ENXIO) {
		err = fmt.Errorf("%s: is a socket or a named pipe without a reader", path)
	}
	if err != nil {
		return err
	}
	if last := f.now.Swap(file); last != nil {
		_ = last.Close() // when the writes in it are over
	}
	return nil
}

// Write implements [io.Writer].
func (f *File) Write(p []byte) (int, error) {
	for {
		file := f.now.Load()
		n, err := file.Write(p)
		if errors.Is(err, os.ErrClosed) && n == 0 && file != f.now.Load() { // it was opened again
			continue
		}
		return n, err
	}
}
