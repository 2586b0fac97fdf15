// Package authorizedkeys reads and edits a directory that says which keys let which user in.
//
// The directory has a file for each user, named for the user, in the format of sshd's authorized_keys (sshd(8),
// AUTHORIZED_KEYS FILE FORMAT): a key a line, perhaps behind options.
//
//	authorized_keys.d/ada    ssh-ed25519 AAAAC3Nz… ada@laptop
//	authorized_keys.d/bob    from="192.0.2.0/24",no-pty ssh-ed25519 AAAAC3Nz… bob@work
//
// A key belongs to the user whose file holds it, and to nobody else. A user name is a plain file name of at most 255
// bytes of UTF-8 without control characters; no leading dot, and no "~" at the end, which is an editor's backup. The
// case of letters counts, as far as the file system lets it. No symbolic link leads out of the directory.
//
// # Options
//
// Names of options are case-insensitive. What they say is honoured to the letter or the key is not used: an option is
// never ignored.
//
//   - from="LIST": addresses, networks in CIDR notation and patterns with * and ? on the address as text, divided by
//     commas; "!" before one refuses what it matches. No host names: foyer asks no DNS.
//   - expiry-time="YYYYMMDD[HHMM[SS]][Z]": local time, or UTC with Z. The earliest counts.
//   - restrict, and [no-]pty, [no-]port-forwarding, [no-]agent-forwarding, [no-]X11-forwarding, [no-]user-rc: what the
//     login may do, in the words of package keyfile (permit-pty, …), the last one winning.
//   - All others make the key unusable: command=, cert-authority, environment=, permitopen=, permitlisten=,
//     principals=, tunnel=, verify-required, and no-touch-required, since a security key has to be touched.
//
// # What fails closed
//
// A line that cannot be used is skipped, and the others stand; Warn hears of it once. Keys are ed25519, ECDSA, their
// security key kinds, and RSA of 2048 to 8192 bits. A file or the directory that others can write, as for sshd's
// StrictModes, is not used at all, and neither is a file over 1 MiB or anything but a regular file; a missing one holds
// no keys. A line over 64 KiB is skipped, and so is what follows the 10,000th key. Files are read again when they
// change; there is nothing to restart or to signal. Unix only.
package authorizedkeys

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/auth/keyfile"
	"foyer/middleware/source"
	"foyer/middleware/watchfile"
)

// maxCached bounds how many users' files are remembered. Strangers cannot fill it: only files that exist are.
const maxCached = 1024

// Options are settled when the directory is opened.
type Options struct {
	// Warn is told, once for each version of a file, what in it is not used and why; again where more than 1,024 users
	// come in turn. Each error is a [*watchfile.Error]. It is called from Authorize, by whichever goroutine came first. Nil:
	// silence.
	Warn func(error)
}

// Dir is a directory of authorized keys that stays up to date. It is safe for concurrent use.
type Dir struct {
	path string
	warn func(error)

	mu      sync.Mutex
	root    *os.Root        // the directory at the last look, or nil
	info    fs.FileInfo     // what it was
	files   map[string]file // by user
	trouble string          // what was last told of the directory as a whole
}

// file is what is known of one user's file.
type file struct {
	seen  watchfile.Version
	lines []line
}

// Open returns the directory at path. It does no I/O: a directory that is not there yet means no keys, until it is.
func Open(path string, opts Options) *Dir {
	if opts.Warn == nil {
		opts.Warn = func(error) {}
	}
	return &Dir{path: path, warn: opts.Warn, files: map[string]file{}}
}

// errNotAuthorized says no more than that: whether the user exists is nobody's business, not even the log reader's.
var errNotAuthorized = errors.New("key not authorized")

// Authorize returns what the user may do who comes from remote and holds key, or an error. It is the same for a user
// who does not exist as for one who has other keys. Where several lines hold the key, the first one that lets it in
// counts. A certificate is never let in; its error is [errors.ErrUnsupported].
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

// lines returns what the user's file holds now.
func (d *Dir) lines(user string) []line {
	if checkName(user) != nil {
		return nil
	}
	lines, problems := d.current(user)
	for _, problem := range problems {
		d.warn(problem)
	}
	return lines
}

// current returns what the user's file holds now, and the problems that have not been reported yet.
func (d *Dir) current(user string) ([]line, []error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	root, err := d.open()
	if root == nil {
		return nil, d.news(err)
	}
	d.trouble = ""

	known := d.files[user]
	if known.seen.Unchanged(root, user) {
		return known.lines, nil
	}
	data, seen, err := watchfile.ReadVersion(root, user, filepath.Join(d.path, user), keyfile.MaxFile)
	if errors.Is(err, fs.ErrNotExist) {
		delete(d.files, user)
		return nil, nil
	}
	var problems []error
	if !seen.Same(known.seen) {
		known.lines, problems = meaning(filepath.Join(d.path, user), data, err)
	}
	known.seen = seen
	d.remember(user, known)
	return known.lines, problems
}

// open returns the directory as it is now. To open it anew for each look would cost more than all the rest of the look.
func (d *Dir) open() (*os.Root, error) {
	if d.root != nil {
		info, err := os.Stat(d.path)
		if err == nil && os.SameFile(info, d.info) && info.Mode() == d.info.Mode() {
			return d.root, nil
		}
		_ = d.root.Close()
	}
	var err error
	if d.root, err = openDir(d.path); d.root != nil {
		d.info, err = d.root.Stat(".")
	}
	return d.root, err
}

// meaning returns what was read from a file, unless err says that nothing was.
func meaning(path, data string, err error) ([]line, []error) {
	if err != nil {
		return nil, []error{err}
	}
	return parse(path, data)
}

// news returns the trouble with the directory, unless it was the last that was told.
func (d *Dir) news(err error) []error {
	clear(d.files)
	if err == nil || err.Error() == d.trouble {
		return nil
	}
	d.trouble = err.Error()
	return []error{err}
}

// remember keeps what is known of a user's file, and forgets that of any other where there are too many.
func (d *Dir) remember(user string, known file) {
	if _, again := d.files[user]; !again && len(d.files) == maxCached {
		for other := range d.files {
			delete(d.files, other)
			break
		}
	}
	d.files[user] = known
}

// openDir opens the directory for one look: another may have been put in its place since the last. There is none, and
// no error, when it is missing.
func openDir(path string) (*os.Root, error) {
	root, err := os.OpenRoot(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, watchfile.Failure(path, err)
	}
	info, err := root.Stat(".")
	if err == nil {
		err = watchfile.StrictMode(path, info)
	}
	if err != nil {
		_ = root.Close()
		return nil, watchfile.Failure(path, err)
	}
	return root, nil
}
