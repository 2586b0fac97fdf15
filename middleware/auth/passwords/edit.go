package passwords

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/google/renameio/v2"
	"github.com/rogpeppe/go-internal/lockedfile"
	"github.com/sethvargo/go-diceware/diceware"

	"foyer/middleware/watchfile"
)

// Generate returns a password to read out and type: five different words of the EFF's list of 7,776, joined
// with "-". That is 64.6 bits, past guessing over a network and, behind argon2id, from a stolen file.
func Generate() (string, error) {
	words, err := diceware.Generate(5)
	if err != nil {
		return "", err
	}
	return strings.Join(words, "-"), nil
}

// Create makes a new file, of mode 0600, with one user. It never replaces anything: where path exists, as a
// file or as a link to nowhere, the error is fs.ErrExist, and of several that create it at once one wins.
func Create(path, user, password string) error {
	text, err := newLine(user, password)
	if err != nil {
		return err
	}
	return watchfile.Failure(path, create(path, text))
}

// Add gives user a password, hashed with argon2id: in its place when the user has one, else on a new line at
// the end. A missing file is made. The file is replaced as a whole, with mode 0600, or not at all; what
// others add or remove at the same time is kept. A symbolic link stays, and its target is edited.
func Add(path, user, password string) error {
	text, err := newLine(user, password)
	if err != nil {
		return err
	}
	return watchfile.Failure(path, add(path, user, text))
}

func add(path, user, text string) error {
	err := create(path, text)
	if errors.Is(err, fs.ErrExist) {
		return edit(path, func(lines []line) ([]line, error) { return put(lines, user, text), nil })
	}
	return err
}

// ErrNoUser is wrapped by the error of [Remove] where the user has no line.
var ErrNoUser = errors.New("no user")

// Remove takes the user's line out of the file, as carefully as [Add]. It is an error when there is none.
func Remove(path, user string) error {
	return watchfile.Failure(path, edit(path, func(lines []line) ([]line, error) {
		rest := slices.DeleteFunc(slices.Clone(lines), func(l line) bool { return l.isOf(user) })
		if len(rest) == len(lines) {
			return nil, fmt.Errorf("%w %q", ErrNoUser, user)
		}
		return rest, nil
	}))
}

// Hash replaces every plain-text secret with its argon2id hash, as carefully as [Add], and returns how many
// there were. Everything else stays as it is, comments, order, blank lines and line endings included.
func Hash(path string) (n int, err error) {
	err = edit(path, func(lines []line) ([]line, error) {
		t, err := parse(path, lines)
		if err != nil {
			return nil, err
		}
		for i, l := range lines {
			name, password, _ := strings.Cut(l.text, ":")
			if e, ok := t.byName[name]; !ok || e.num != l.num || !e.plain() {
				continue
			}
			if lines[i].text, err = newLine(name, password); err != nil {
				return nil, err
			}
			n++
		}
		return lines, nil
	})
	if err != nil {
		return 0, watchfile.Failure(path, err)
	}
	return n, nil
}

// newLine returns the line of a user, without an ending.
func newLine(user, password string) (string, error) {
	if err := checkName(user); err != nil {
		return "", err
	}
	switch {
	case password == "":
		return "", errors.New("empty password")
	case len(password) > maxPassword:
		return "", fmt.Errorf("password of %d bytes, at most %d are allowed", len(password), maxPassword)
	}
	hash, err := newHash(password)
	return user + ":" + hash, err
}

// put replaces the line of user or adds one, with the line endings of the file.
func put(lines []line, user, text string) []line {
	if i := slices.IndexFunc(lines, func(l line) bool { return l.isOf(user) }); i >= 0 {
		lines[i].text = text
		return lines
	}
	end := "\n"
	if len(lines) > 0 && lines[0].end == "\r\n" {
		end = "\r\n"
	}
	if last := len(lines) - 1; last >= 0 && !strings.HasSuffix(lines[last].end, "\n") {
		lines[last].end = end
	}
	return append(lines, line{len(lines) + 1, text, end})
}

// create writes a file with one line. The file appears under its name complete, by a link, which unlike a
// rename fails where there is one.
func create(path, text string) error {
	if _, err := os.Lstat(path); err == nil {
		return fs.ErrExist
	}
	return write(path, text+"\n", func(p *renameio.PendingFile) error {
		if err := p.Sync(); err != nil {
			return err
		}
		return os.Link(p.Name(), path)
	})
}

// edit lets change rewrite the lines of the file under a lock, and refuses a result that does not parse: a
// file that a server would not take is for an editor, not for us.
func edit(path string, change func([]line) ([]line, error)) error {
	f, target, err := lock(path)
	if err != nil {
		return err
	}
	defer f.Close()
	data, info, err := watchfile.Read(f, path, maxFile, watchfile.OthersWrite)
	if err != nil {
		return err
	}
	lines, err := change(split(data))
	if err != nil {
		return err
	}
	if _, err := parse(path, lines); err != nil {
		return err
	}
	text := join(lines)
	switch {
	case text == data:
		return nil
	case len(text) > maxFile:
		return fmt.Errorf("would be larger than %d MiB, which no server reads", maxFile>>20)
	}
	return write(target, text, func(p *renameio.PendingFile) error {
		if err := keepOwner(p, info); err != nil {
			return err
		}
		return p.CloseAtomicallyReplace()
	})
}

// lock opens the file that path leads to and waits for its lock. An edit puts a new file in place of the one
// whose lock we waited for; then that one is worth nothing, and the new one's lock is wanted.
func lock(path string) (*lockedfile.File, string, error) {
	for {
		target, err := filepath.EvalSymlinks(path)
		if err != nil {
			return nil, "", err
		}
		f, err := lockedfile.OpenFile(target, os.O_RDWR|syscall.O_NONBLOCK, 0)
		if err != nil {
			return nil, "", err
		}
		held, heldErr := f.Stat()
		now, nowErr := os.Stat(path)
		entry, err := os.Lstat(path)
		if err := errors.Join(heldErr, nowErr, err); err != nil {
			f.Close()
			return nil, "", err
		}
		if !mayLead(entry, held) {
			f.Close()
			return nil, "", errOthersLink
		}
		if os.SameFile(held, now) {
			return f, target, nil
		}
		f.Close()
	}
}

var errOthersLink = errors.New("is a symbolic link of another user's, to a file that is not theirs")

// mayLead reports whether the directory's entry may lead to the file: as the file itself, or as a link of root's, of the
// caller's, or of the file's owner. Who owns the directory could have root edit another's file.
func mayLead(entry, file fs.FileInfo) bool {
	if entry.Mode().Type() != fs.ModeSymlink {
		return true
	}
	link, target := entry.Sys().(*syscall.Stat_t), file.Sys().(*syscall.Stat_t)
	return link.Uid == 0 || link.Uid == uint32(os.Geteuid()) || link.Uid == target.Uid
}

// write puts data into a temporary file beside target, which commit makes the target; if anything fails, the
// temporary file is removed.
func write(target, data string, commit func(*renameio.PendingFile) error) error {
	p, err := renameio.NewPendingFile(target, renameio.WithTempDir(filepath.Dir(target)), renameio.WithStaticPermissions(0o600))
	if err != nil {
		return err
	}
	defer p.Cleanup()
	if _, err := p.WriteString(data); err != nil {
		return err
	}
	return commit(p)
}

// keepOwner gives p the owner that the file had: after an edit by root, the server must still be able to
// read it.
func keepOwner(p *renameio.PendingFile, old fs.FileInfo) error {
	stat, ok := old.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	return p.Chown(int(stat.Uid), -1)
}
