package passwords

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"runtime"
	"time"

	"foyer/middleware/fairqueue"
	"foyer/middleware/source"
	"foyer/middleware/watchfile"
)

// ErrBusy is wrapped by the error of a login that was refused without a check of its password because too many waited for
// a hash, and by the error that reports the number of such logins to Options.Warn.
var ErrBusy = errors.New("too many passwords to check at once")

// queueLength is how many logins may wait per hash that may run. A hash of 19 MiB takes about 30 ms of a core, so the last
// of a full queue waits two seconds, on a small machine and on a large one.
const queueLength = 64

// MaxFile is the maximum size of the file, which is enough for about 70,000 users.
const MaxFile = 8 << 20

// Options configure a [File]. The zero value is the safe one.
type Options struct {
	// Plaintext allows secrets that are not hashes.
	Plaintext bool

	// Hashes is the maximum number of hashes that are computed at once. 0 means runtime.GOMAXPROCS, read once by Open.
	// Each hash takes as much memory as its scheme demands; see [File.VerifyFrom].
	Hashes int

	// Networks defines which addresses share a place in the order of logins that wait for a hash. Exempt is ignored: an
	// exempt network waits like any other.
	Networks source.Networks

	// Remember is how long a correct password is accepted again without computing its hash, counted from the last full
	// check. 0 disables this. See [DefaultRemember] and [File.VerifyFrom].
	Remember time.Duration

	// Warn receives the error of each version of the file that is not used, once; and at most once a minute the number of
	// logins that were refused because too many waited for a hash, as an error that wraps [ErrBusy]. VerifyFrom calls it,
	// possibly concurrently. It may be nil.
	Warn func(error)
}

// User is one line of the file.
type User struct {
	Name   string
	Scheme string // "argon2id", "bcrypt", "scrypt", "yescrypt", "sha512-crypt" or "plain text"
}

// File is a password file that stays up to date. It is safe for concurrent use.
//
// Every call checks whether the file has changed. If the new version is invalid or the file is missing, the last good
// version stays in use, so that a mistake in an editor locks nobody out. To lock everybody out, empty the file.
type File struct {
	path    string
	opts    Options
	key     [sha256.Size]byte // random; exists only in this process
	queue   *fairqueue.Queue
	refused refusals
	table   *watchfile.Watched[*table]
}

// Open reads the file at path. It returns an [*Error] if the file is invalid, missing, too large or not a regular file, or
// if [watchfile.Trust] does.
func Open(path string, opts Options) (*File, error) {
	if err := opts.Networks.Validate(); err != nil {
		return nil, fmt.Errorf("passwords: %w", err)
	}
	if opts.Hashes <= 0 {
		opts.Hashes = runtime.GOMAXPROCS(0)
	}
	if opts.Warn == nil {
		opts.Warn = func(error) {}
	}
	f := &File{path: path, opts: opts, queue: fairqueue.New(opts.Hashes, queueLength*opts.Hashes)}
	_, _ = rand.Read(f.key[:]) // never returns an error
	last := &table{}
	parse := func(path, data string) (*table, error) {
		t, err := load(path, data, opts.Plaintext)
		if err == nil {
			last.logins.forget()
			last = t
		}
		return t, err
	}
	var err error
	f.table, err = watchfile.Watch(path, MaxFile, parse, opts.Warn)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// ErrWrong does not say whether the user exists.
var ErrWrong = errors.New("wrong password")

// VerifyFrom returns nil if password is the password of user, [ErrWrong] if it is not, and an error that wraps [ErrBusy]
// if it was not checked. From is the address of the client. An empty password, a password over 1 KiB and a name over
// 256 bytes are wrong without a check.
//
// Equal work. The response time must not reveal whether a user exists. An unknown user therefore costs the hash of a known
// one. A MAC of the name selects the hash, so that a name always costs the same one, even if the file mixes schemes and
// costs, plain text included. One difference remains: a restart, or a change of who is in the file, selects again. A client
// that measures before and after can then see the cost of an unknown name change. If all secrets in the file have the same
// scheme and cost, there is nothing to see.
//
// Limits. At most Options.Hashes hashes are computed at once. The memory of a hash is garbage afterwards; the Go runtime
// collects it when the heap has doubled, or reaches GOMEMLIMIT. A collection after each hash would need less memory, but a
// stranger would make the server mark the whole heap with each guess. 64 times as many logins wait, for at most five seconds. The others are refused, and [File.Refused] counts them. The network
// of the client decides the order: the one with the fewest failures is next. See package fairqueue.
//
// Remembering. For Options.Remember after a correct password, the File keeps a MAC of it under a key that exists only in
// this process. A new version of the file discards the MACs. A login that matches its MAC takes microseconds, and no place
// in the queue. A wrong guess always costs a hash, also for a remembered user. So guesses are not cheaper and reveal
// nothing; only a client that knows the password can see from the time that its owner logged in recently. The price:
// anybody who can read the memory of this process finds the key and the MACs and can test guesses as fast as against a
// fast hash. They could also read passwords as they arrive, in strings and in the buffers of the SSH and hash libraries,
// which Go cannot wipe. This package wipes its own copies.
func (f *File) VerifyFrom(ctx context.Context, from netip.Addr, user, password string) error {
	if password == "" || len(password) > maxPassword || len(user) > maxName {
		return ErrWrong
	}
	now, login, decoy := f.table.Current(), f.mac("login", user, password), f.mac("decoy", user)
	if now.logins.recall(user, login) {
		return nil
	}
	secret, known := now.lookup(user, binary.BigEndian.Uint64(decoy[:]))
	network, _ := f.opts.Networks.Of(from)
	matches, err := f.match(ctx, network, secret, password)
	switch {
	case err != nil:
		return err
	case !matches || !known:
		return ErrWrong
	}
	f.queue.Charge(network, -1) // so that frequent logins do not lose their rank
	if f.opts.Remember > 0 {
		now.logins.remember(user, login, f.opts.Remember)
	}
	return nil
}

// match waits for the turn of the client and compares password with s.
func (f *File) match(ctx context.Context, from netip.Prefix, s secret, password string) (bool, error) {
	if err := f.queue.Enter(ctx, from, 1); err != nil {
		if report := f.refused.add(); report != nil {
			f.opts.Warn(report)
		}
		return false, fmt.Errorf("%w: %w", ErrBusy, err)
	}
	defer f.queue.Leave() // even if a library panics
	return s.Match(password), nil
}

// Refused returns how many logins were refused with [ErrBusy] so far.
func (f *File) Refused() uint64 { return f.refused.total.Load() }

// QueueStats describes the queue of logins that wait for a hash.
func (f *File) QueueStats() fairqueue.Stats { return f.queue.Stats() }

// Has reports whether user is in the file.
func (f *File) Has(user string) bool {
	_, ok := f.table.Current().byName[user]
	return ok
}

// Users lists the users in the order of the file.
func (f *File) Users() []User { return f.table.Current().users() }

// Check reads the file at path once, for a server with the same setting of [Options].Plaintext. It returns the users of the
// valid lines in their order and all problems of the file, each as an [*Error]. A server uses the file only if there is none
// but those of [File.Warnings].
func Check(path string, plaintext bool) (users []User, problems []error) {
	data, _, err := watchfile.ReadVersion(nil, path, path, MaxFile)
	if err != nil {
		return nil, []error{err}
	}
	lines, err := split(path, data)
	if err != nil {
		return nil, []error{err}
	}
	t, problems := parse(path, lines, plaintext)
	return t.users(), append(problems, warnings(path)...)
}

// Warnings returns problems of the file that do not prevent its use, each as an [*Error]: at present, that others can read
// it. The group may read a file of root's, because Kubernetes mounts it so. It is meant for the start of the server.
func (f *File) Warnings() []error { return warnings(f.path) }

func warnings(path string) []error {
	info, err := os.Stat(path)
	if err != nil {
		return nil
	}
	others := fs.FileMode(0o044)
	if !watchfile.Own(info) {
		others = 0o004
	}
	if info.Mode()&others == 0 {
		return nil
	}
	err = fmt.Errorf("others can read it (mode %04o)", info.Mode().Perm())
	return []error{&Error{Path: path, Err: err, Fix: "run: chmod 600 " + watchfile.Quote(path)}}
}
