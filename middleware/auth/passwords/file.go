package passwords

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"foyer/middleware/watchfile"
)

// maxFile bounds what is read: 8 MiB are some 70,000 users. A larger file is something else put in its place.
const maxFile = 8 << 20

// Options are settled when the file is opened. The zero value is the safe one.
type Options struct {
	// Plaintext allows secrets that are not hashes and compares them as they are.
	Plaintext bool

	// Hashes is how many hashes are computed at once; 0 stands for as many as there are processors. What hashing
	// takes is never more than so many times the memory of the file's dearest hash, see [File.VerifyFrom].
	Hashes int

	// Remember is for how long a password that was right is let in again without its hash, from the full check
	// on; 0 turns that off. See [File.VerifyFrom] for the trade, and [DefaultRemember].
	Remember time.Duration

	// Warn is told, once each, of a new version of the file that is broken, unreadable or gone, and
	// therefore not used; and, at most once a minute, of how many logins were refused because too many
	// waited for a hash, which wraps [ErrBusy]. It is called from VerifyFrom, by whichever goroutine came first.
	// Nil: silence.
	Warn func(error)
}

// User is one line of the file.
type User struct {
	Name   string
	Scheme string // "argon2id", "bcrypt", "scrypt", "yescrypt", "sha512-crypt" or "plain text"
}

// File is a password file that stays up to date. It is safe for concurrent use.
//
// Every call looks whether the file has changed, which costs one stat, and reads it again when it has. A
// version that cannot be used, or none at all, changes nothing: the last good one stays in use, so that
// neither a slip of the editor nor a deleted file locks everybody out. To shut everybody out, empty it.
type File struct {
	path    string
	opts    Options
	key     [sha256.Size]byte // random, and nobody else's
	queue   *queue
	refused refusals

	mu   sync.Mutex
	seen watchfile.Version // what was last found at path, good or not
	good *table            // the last version that could be used
}

// Open reads the file at path. Its error is a *[Error]: a line that is wrong, a plain-text secret without
// opts.Plaintext, a file that is missing, too large, no regular file, or writable by group or others, as
// for sshd with StrictModes.
func Open(path string, opts Options) (*File, error) {
	if opts.Hashes <= 0 {
		opts.Hashes = runtime.GOMAXPROCS(0)
	}
	f := &File{path: path, opts: opts, queue: newQueue(opts.Hashes)}
	_, _ = rand.Read(f.key[:]) // it never fails
	if _, err := f.reread(); err != nil {
		return nil, err
	}
	return f, nil
}

// ErrWrong says no more than that: whether the user exists is nobody's business.
var ErrWrong = errors.New("wrong password")

// VerifyFrom returns nil if password is that of user, and otherwise [ErrWrong] or, where it was not looked at, an error
// that wraps [ErrBusy]. An empty password, one over 1 KiB and a name over 256 bytes are wrong without a look at the
// file.
//
// Equal work. A user who is not in the file costs the hash of one who is: always the same one, dealt by a MAC of the
// name, so that the time of the answer does not tell who exists, also where schemes and costs are mixed. That includes
// plain text: a name that is answered fast may be anybody's. What remains is that a restart, and a change of who is in
// the file, deal anew: who measures before and after sees a name move from one kind of secret to another, which only a
// user who does not exist does by itself. A file with one kind of secret has nothing to show.
//
// Bounds. At most Options.Hashes are computed at once, each leaves its memory to the next one, and 64 times as many
// wait, for at most five seconds. The others are refused, counted in [File.Refused]; source decides who: see queue.
//
// Remembering. Of a password that was right there remains, for Options.Remember, a MAC under a key that lives and dies
// with the process, next to the table of the file's version that it belongs to: with the next version it is gone. A
// login that it fits costs microseconds in place of a hash, and no place in the queue. A wrong guess costs a hash as
// ever, whether or not its user is remembered, so that guessing is no cheaper and tells nothing; only who knows the
// password can see, by the time it takes, that its owner came in a short while ago. The price: whoever can read this
// process's memory finds the key beside the MACs and can guess at those users as at a fast hash, during those minutes.
// They could read passwords as they are typed, too: those arrive in strings, and in the buffers of the SSH library and
// of hash functions, which Go cannot wipe. What copies this package makes, it wipes.
func (f *File) VerifyFrom(ctx context.Context, source netip.Addr, user, password string) error {
	if password == "" || len(password) > maxPassword || len(user) > maxName {
		return ErrWrong
	}
	now, login, decoy := f.current(), f.mac("login", user, password), f.mac("decoy", user)
	if now.logins.recall(user, login) {
		return nil
	}
	secret, known := now.lookup(user, binary.BigEndian.Uint64(decoy[:]))
	matches, err := f.match(ctx, source, secret, password)
	switch {
	case err != nil:
		return err
	case !matches || !known:
		return ErrWrong
	}
	f.queue.forgive(source)
	if f.opts.Remember > 0 {
		now.logins.remember(user, login, f.opts.Remember)
	}
	return nil
}

// match compares password with s in source's turn, or refuses to.
func (f *File) match(ctx context.Context, source netip.Addr, s secret, password string) (bool, error) {
	if err := f.queue.enter(ctx, source); err != nil {
		if tell := f.refused.add(); tell != nil && f.opts.Warn != nil {
			f.opts.Warn(tell)
		}
		return false, err
	}
	defer f.queue.leave() // even where a library panics
	if s.large() {
		defer runtime.GC()
	}
	return s.Match(password), nil
}

// Refused returns how many logins were refused with [ErrBusy] so far.
func (f *File) Refused() uint64 { return f.refused.total.Load() }

// Has reports whether user is in the file.
func (f *File) Has(user string) bool {
	_, ok := f.current().byName[user]
	return ok
}

// Users lists the users in the order of the file.
func (f *File) Users() []User {
	var users []User
	for _, e := range f.current().entries {
		users = append(users, User{e.name, e.scheme})
	}
	return users
}

// Warnings returns what is unwise about the file but no reason to refuse it: at present, that users other
// than its owner can read it. Each is a *[Error]; meant for the server's start.
func (f *File) Warnings() []error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seen.Mode()&0o044 == 0 {
		return nil
	}
	err := fmt.Errorf("others can read it (mode %04o)", f.seen.Mode())
	return []error{&Error{Path: f.path, Err: err, Fix: "run: chmod 600 " + watchfile.Quote(f.path)}}
}

// current returns the table to use now.
func (f *File) current() *table {
	t, err := f.reread()
	if err != nil && f.opts.Warn != nil {
		f.opts.Warn(err)
	}
	return t
}

// reread returns the last good table, after a look for a better one, and the error of a version that is
// broken and has not been reported yet.
func (f *File) reread() (*table, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seen.Unchanged(watchfile.Disk{}, f.path) {
		return f.good, nil
	}
	data, next, err := watchfile.ReadVersion(watchfile.Disk{}, f.path, f.path, maxFile)
	last := f.seen
	f.seen = next
	if f.good != nil && next.Same(last) {
		return f.good, nil
	}
	if err != nil {
		return f.good, err
	}
	t, err := load(f.path, data, f.opts.Plaintext)
	if err != nil {
		return f.good, err
	}
	if f.good != nil {
		f.good.logins.forget()
	}
	f.good = t
	return t, nil
}
