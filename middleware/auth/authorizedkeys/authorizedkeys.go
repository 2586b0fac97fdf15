// Package authorizedkeys reads and edits a directory of the public keys with which users may log in.
//
// The directory has one file for each user, in the format of sshd's authorized_keys (sshd(8), AUTHORIZED_KEYS FILE
// FORMAT): one key a line, with options in front of it if necessary.
//
//	authorized_keys.d/ada              ssh-ed25519 AAAAC3Nz… ada@laptop
//	authorized_keys.d/bob              from="192.0.2.0/24",no-pty ssh-ed25519 AAAAC3Nz… bob@work
//	authorized_keys.d/DOMAIN%5Calice   ssh-ed25519 AAAAC3Nz… the user DOMAIN\alice
//
// A key is valid only for the user whose file holds it. The file has the user's name, which is percent-encoded where it
// is not a plain file name; see package username. User names are case-sensitive if the file system is. Symbolic links
// that lead out of the directory are not followed.
//
// # Options
//
// Names of options are case-insensitive. No option is ignored: if one cannot be honoured, the key is not used.
//
//   - from="LIST": addresses, networks in CIDR notation and patterns with * and ? for the address as text, separated by
//     commas alone. "!" before an entry refuses what it matches. Host names are not supported, because foyer does not use
//     DNS. If an entry is anything else, the line is not used; sshd skips some such entries.
//   - expiry-time="YYYYMMDD[HHMM[SS]][Z]": local time, or UTC with Z. The earliest time counts. A time that does not exist,
//     such as February 30, is an error; sshd takes it for March 2.
//   - restrict, and [no-]pty, [no-]port-forwarding, [no-]agent-forwarding, [no-]X11-forwarding, [no-]user-rc: what the
//     login may do, as a permission of package keyfile (permit-pty, …). The last one counts.
//   - A key with any other option is not used: command=, cert-authority, environment=, permitopen=, permitlisten=,
//     principals=, touch-required, tunnel=, verify-required, and no-touch-required, because a security key has to be touched.
//
// # Fail closed
//
// An invalid line is skipped and reported once to Warn; the other lines are used. Keys are Ed25519, ECDSA, security keys
// of these types, and RSA of 2048 to 4096 bits. A file is not used if it is not a regular file, if it is larger than
// 1 MiB, or if anybody but root and the running user can change it or the directory, as with sshd's StrictModes. A missing file holds no keys. Lines over
// 64 KiB and keys after the 10,000th are skipped. Files are read again when they change. Unix only.
package authorizedkeys

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/auth/keyfile"
	"foyer/middleware/auth/username"
	"foyer/middleware/source"
	"foyer/middleware/watchfile"
)

// maxCached bounds how many files are remembered. Only files that exist are, so unknown users cannot fill it.
const maxCached = 1024

// Options configure a [Dir].
type Options struct {
	// Warn receives a [*watchfile.Error] for each line of a file that is not used, once for each version of the file, and
	// again if the file was forgotten because more than 1,024 are in use. Authorize calls it, possibly concurrently. It
	// may be nil.
	Warn func(error)
}

// Dir is a directory of authorized keys that stays up to date. It is safe for concurrent use.
type Dir struct {
	path string
	warn func(error)

	mu       sync.Mutex
	root     *os.Root        // the directory at the last check, or nil
	info     fs.FileInfo     // of root
	files    map[string]file // by name
	reported string          // the last problem of the directory
}

// file is the last version of a user's file.
type file struct {
	seen  watchfile.Version
	lines []line
}

// Open returns the directory at path. It does no I/O. There are no keys while the directory is missing.
func Open(path string, opts Options) *Dir {
	if opts.Warn == nil {
		opts.Warn = func(error) {}
	}
	return &Dir{path: path, warn: opts.Warn, files: map[string]file{}}
}

// errNotAuthorized does not say whether the user exists.
var errNotAuthorized = errors.New("key not authorized")

// Authorize returns the permissions of a user who logs in from remote with key, or an error that is the same for an unknown
// user and for one with other keys. If several lines hold the key, the first one that admits the user counts. For a
// certificate the error is [errors.ErrUnsupported].
func (d *Dir) Authorize(user string, remote net.Addr, key gossh.PublicKey) (*gossh.Permissions, error) {
	if err := keyfile.Strong(key); err != nil {
		return nil, err
	}
	blob, refusal := string(key.Marshal()), errNotAuthorized
	for _, line := range d.lines(user) {
		if string(line.blob) != blob {
			continue
		}
		if refusal = line.rules.admit(source.Addr(remote), time.Now()); refusal == nil {
			return line.rules.permissions(), nil
		}
	}
	return nil, refusal
}

// lines returns the current lines of the user's file.
func (d *Dir) lines(user string) []line {
	name, err := username.ToFile(user)
	if err != nil {
		return nil
	}
	lines, problems := d.current(name)
	for _, problem := range problems {
		d.warn(problem)
	}
	return lines
}

// current returns the current lines of a file, and the problems that have not been reported yet.
func (d *Dir) current(name string) ([]line, []error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	root, err := d.open()
	if root == nil {
		clear(d.files)
		if err == nil || err.Error() == d.reported {
			return nil, nil
		}
		d.reported = err.Error()
		return nil, []error{err}
	}
	d.reported = ""

	known := d.files[name]
	if known.seen.Unchanged(root, name) {
		return known.lines, nil
	}
	data, seen, err := watchfile.ReadVersion(root, name, filepath.Join(d.path, name), keyfile.MaxFile)
	if errors.Is(err, fs.ErrNotExist) {
		delete(d.files, name)
		return nil, nil
	}
	var problems []error
	if !seen.Same(known.seen) {
		known.lines, problems = parse(filepath.Join(d.path, name), data)
		if err != nil {
			problems = []error{err}
		}
	}
	known.seen = seen
	d.remember(name, known)
	return known.lines, problems
}

// open returns the current directory, or nil and no error if it is missing. It keeps the directory open, because opening it costs more than the rest of a check.
func (d *Dir) open() (*os.Root, error) {
	if d.root != nil {
		info, err := os.Stat(d.path)
		if err == nil && watchfile.SameAccess(info, d.info) {
			return d.root, nil
		}
		_ = d.root.Close()
	}
	var err error
	if d.root, err = openDir(d.path); d.root != nil {
		d.info, err = d.root.Stat(".")
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // there are no keys
	}
	return d.root, err
}

// remember keeps a file, in place of any other one if there are too many.
func (d *Dir) remember(name string, known file) {
	if _, again := d.files[name]; !again && len(d.files) == maxCached {
		for other := range d.files {
			delete(d.files, other)
			break
		}
	}
	d.files[name] = known
}

// openDir opens the directory if only root and the running user can change it.
func openDir(path string) (*os.Root, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, dirError(path, err)
	}
	info, err := root.Stat(".")
	if err == nil {
		err = watchfile.Trust(path, info, watchfile.OthersWrite)
	}
	if err != nil {
		_ = root.Close()
		return nil, watchfile.Failure(path, err)
	}
	return root, nil
}

// dirError returns err as the [*watchfile.Error] of the directory.
func dirError(path string, err error) error {
	info, _ := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &watchfile.Error{Path: path, Err: syscall.ENOENT, Fix: "run: mkdir -p -m 700 " + watchfile.Quote(path)}
	case info != nil && !info.IsDir():
		fix := "to copy its key, run: foyer user add NAME --authorized-keys DIR --key " + watchfile.Quote(path)
		return &watchfile.Error{Path: path, Err: errors.New("is not a directory with a file for each user"), Fix: fix}
	}
	return watchfile.Failure(path, err)
}
