package hostkeys

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"testing"

	"foyer/middleware/watchfile"
)

func TestErrorText(t *testing.T) {
	for _, tt := range errorTexts {
		if tt.err.Error() != tt.text {
			t.Errorf("text is %q, want %q", tt.err, tt.text)
		}
		hinter, ok := tt.err.(interface{ Hint() string })
		if !ok || hinter.Hint() != tt.hint {
			t.Errorf("%v: hint is not %q", tt.err, tt.hint)
		}
	}
}

// errorText is an error and what an operator reads.
type errorText struct {
	err        error
	text, hint string
}

var errorTexts = []errorText{
	{
		keyError("hostkeys/id_rsa", &watchfile.Error{
			Path: "hostkeys/id_rsa", Err: errors.New("others can read or write it (mode 0644)"), Fix: "run: chmod 600 hostkeys/id_rsa",
		}),
		"host key hostkeys/id_rsa: others can read or write it (mode 0644)",
		"run: chmod 600 hostkeys/id_rsa",
	},
	{
		keyError("my keys/id_rsa", errPassphrase),
		"host key my keys/id_rsa: has a passphrase, which a server cannot ask for: ssh: this private key is passphrase protected",
		"run: ssh-keygen -p -f 'my keys/id_rsa'",
	},
	{
		keyError("k/id_rsa", &fs.PathError{Op: "read", Path: "k/id_rsa", Err: syscall.EIO}),
		"host key k/id_rsa: input/output error",
		"restore it from a backup or, for a new identity, run: mv k/id_rsa ~/",
	},
	{
		createError("k/id_rsa", &os.LinkError{Op: "link", Old: "k/.tmp", New: "k/id_rsa", Err: syscall.EEXIST}),
		"host key k/id_rsa: file exists",
		"",
	},
	{
		createError("k/id_rsa", &fs.PathError{Op: "write", Path: "k/.tmp", Err: syscall.ENOSPC}),
		"host key k/id_rsa: no space left on device",
		"",
	},
	{
		dirError("keys/id_rsa", errNotDir),
		"host key keys/id_rsa: is not a directory",
		"use: --hostkeys keys",
	},
	{
		keyError("errors.go", syscall.EPERM),
		"host key errors.go: operation not permitted",
		fmt.Sprintf("run: sudo chown %d:%d errors.go", os.Geteuid(), os.Getegid()),
	},
	{
		dirError("k", syscall.EACCES),
		"host key k: permission denied",
		fmt.Sprintf("run: sudo install -d -m 700 -o %d k", os.Geteuid()),
	},
	{
		createError("k/id_rsa", syscall.EACCES),
		"host key k/id_rsa: permission denied",
		fmt.Sprintf("run: sudo install -d -m 700 -o %d k", os.Geteuid()),
	},
}

func TestErrorUnwraps(t *testing.T) {
	err := createError("k/id_rsa", &os.LinkError{Op: "link", Old: "k/.tmp", New: "k/id_rsa", Err: syscall.EEXIST})
	if !errors.Is(err, fs.ErrExist) {
		t.Errorf("%v is not fs.ErrExist", err)
	}
}
