package hostkeys

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/watchfile"
)

// State says what the server does with a key. It follows from the name of the file.
type State int

// The states, in the order of a rotation backwards.
const (
	InUse    State = iota // ssh_host_TYPE_key: clients see it in key exchanges
	Next                  // ssh_host_TYPE_key.next: clients only learn it
	Previous              // ssh_host_TYPE_key.previous: clients that know it still learn its successor
)

var suffixes = [...]string{Next: ".next", Previous: ".previous"}

// String returns "in use", "next" or "previous".
func (s State) String() string { return [...]string{"in use", "next", "previous"}[s] }

// split returns the name of the key in use that the name of a key belongs to, and the state of the key.
func split(name string) (used string, state State) {
	for _, state := range []State{Next, Previous} {
		if used, found := strings.CutSuffix(name, suffixes[state]); found {
			return used, state
		}
	}
	return name, InUse
}

// fit returns an [*Error] if a server cannot have the key beside those that are loaded already.
func (k *Key) fit(loaded []Key) error {
	used, _ := split(k.Path)
	i := slices.IndexFunc(loaded, func(other Key) bool {
		return other.State == InUse && (other.Path == used || k.State == InUse && other.Type() == k.Type())
	})
	switch {
	case k.State == InUse && i >= 0:
		return sameType(*k, loaded[i].Path)
	case k.State == InUse:
	case i < 0:
		e := newError(k.Path, fmt.Errorf("is the %s key of %s, which is missing", k.State, used))
		e.Fix = "restore that, or run: mv " + watchfile.Quote(k.Path) + " " + watchfile.Quote(used)
		return e
	case loaded[i].Type() != k.Type():
		e := newError(k.Path, fmt.Errorf("has the type %s, and %s has %s", k.Type(), used, loaded[i].Type()))
		e.Fix = "run: mv " + watchfile.Quote(k.Path) + " ~/"
		return e
	case k.State == Previous && same(*k, loaded[i]):
		k.Problem = newError(k.Path, errors.New("is also the key in use: its replacement was interrupted"))
		k.Problem.Fix = "run: foyer hostkey promote"
	}
	return nil
}

func same(a, b Key) bool {
	return bytes.Equal(a.Signer.PublicKey().Marshal(), b.Signer.PublicKey().Marshal())
}

// is reports whether the key has a type of [Create]. All keys have the type "".
func (k Key) is(keyType string) bool {
	return keyType == "" || k.Type() == "ssh-"+keyType || strings.HasPrefix(k.Type(), keyType+"-")
}

// Rotate creates the next key of a type of [Create], with the owner and the mode of the one in use, and returns it.
func Rotate(dir, keyType string) (rotated []Key, err error) {
	next, text, err := newKey("", keyType)
	if err != nil {
		return nil, err
	}
	err = edit(dir, func(e *watchfile.Edit, keys []Key) error {
		i := slices.IndexFunc(keys, func(key Key) bool { return key.State == InUse && key.Type() == next.Type() })
		if i < 0 {
			return &hintError{"there is no host key of type " + next.Type(), "run: foyer hostkey add " + keyType}
		}
		next.Path, next.State = keys[i].Path+suffixes[Next], Next
		like, err := os.Stat(keys[i].Path)
		if err == nil {
			err = e.CreateLike(filepath.Base(next.Path), text, like)
		}
		switch {
		case errors.Is(err, fs.ErrExist):
			return &hintError{"there is a next host key of type " + next.Type() + " already", "run: foyer hostkey promote " + keyType}
		case err != nil:
			return createError(next.Path, err)
		}
		rotated = []Key{next}
		return nil
	})
	return rotated, err
}

// Promote puts the next key of a type, or of each type if keyType is "", in the place of the one in use, which becomes the
// previous one. Their certificates go with them. It returns the keys that are now in use.
//
// A promotion that is interrupted leaves the old key in use, and Promote completes it: only its last step changes which
// key is used.
func Promote(dir, keyType string) (promoted []Key, err error) {
	err = edit(dir, func(e *watchfile.Edit, keys []Key) error {
		for _, key := range keys {
			if key.State != Next || !key.is(keyType) {
				continue
			}
			used, _ := split(key.Path)
			for _, other := range keys {
				if other.Path == used+suffixes[Previous] && other.Problem == nil {
					return &hintError{"there is a previous host key of type " + key.Type(), "run: foyer hostkey retire"}
				}
			}
			if err := promote(e, filepath.Base(used), key); err != nil {
				return createError(used, err)
			}
			key.Path, key.State = used, InUse
			promoted = append(promoted, key)
		}
		return missing(promoted, Next, "rotate TYPE")
	})
	return promoted, err
}

func promote(e *watchfile.Edit, used string, next Key) error {
	previous, certificate := used+suffixes[Previous], used+certificateSuffix
	if err := e.Link(used, previous); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if !certifies(strings.TrimSuffix(next.Path, suffixes[Next])+certificateSuffix, next.Signer) {
		err := present(e.Rename(certificate, previous+certificateSuffix))
		if err == nil {
			err = present(e.Rename(filepath.Base(next.Path)+certificateSuffix, certificate))
		}
		if err != nil {
			return err
		}
	}
	return e.Rename(filepath.Base(next.Path), used)
}

// Retire removes the previous key of a type, or of each type if keyType is "", and its certificate. It returns them.
func Retire(dir, keyType string) (retired []Key, err error) {
	err = edit(dir, func(e *watchfile.Edit, keys []Key) error {
		for _, key := range keys {
			if key.State != Previous || !key.is(keyType) {
				continue
			}
			if key.Problem != nil {
				return key.Problem
			}
			name := filepath.Base(key.Path)
			if err := errors.Join(present(e.Remove(name+certificateSuffix)), e.Remove(name)); err != nil {
				return createError(key.Path, err)
			}
			retired = append(retired, key)
		}
		return missing(retired, Previous, "promote")
	})
	return retired, err
}

// edit calls change with the keys in dir, which nobody else edits meanwhile.
func edit(dir string, change func(*watchfile.Edit, []Key) error) error {
	e, err := watchfile.EditDir(dir, false)
	if err != nil {
		return dirError(dir, err)
	}
	defer e.Close()
	keys, err := loadAll(dir, 0) // root also edits the keys of the server's user
	if err != nil {
		return err
	}
	return change(e, keys)
}

// present returns err unless a file is missing.
func present(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func missing(found []Key, state State, before string) error {
	if len(found) > 0 {
		return nil
	}
	return &hintError{fmt.Sprintf("there is no %s host key", state), "run: foyer hostkey " + before}
}

// certifies reports whether the file at path is a certificate of the key.
func certifies(path string, key gossh.Signer) bool {
	data, err := watchfile.ReadFile(path, maxSize, 0)
	if err != nil {
		return false
	}
	public, _, _, _, _ := gossh.ParseAuthorizedKey([]byte(data))
	cert, ok := public.(*gossh.Certificate)
	return ok && bytes.Equal(cert.Key.Marshal(), key.PublicKey().Marshal())
}

// hintError is an error with a hint.
type hintError struct{ text, hint string }

func (e *hintError) Error() string { return e.text }

// Hint returns what to do about it.
func (e *hintError) Hint() string { return e.hint }
