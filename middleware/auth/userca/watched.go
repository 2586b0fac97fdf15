package userca

import (
	"sync"

	"foyer/middleware/auth/keyfile"
	"foyer/middleware/watchfile"
)

// watched is a file that stays up to date. A version that cannot be used changes nothing: the last good one stands.
type watched[T any] struct {
	path  string
	parse func(path, data string) (T, error)
	warn  func(error)

	mu   sync.Mutex
	seen watchfile.Version // what was last found at path, good or not
	good T                 // the last version that could be used
}

// watch reads the file at path, which must be good to start with.
func watch[T any](path string, parse func(path, data string) (T, error), warn func(error)) (*watched[T], error) {
	w := &watched[T]{path: path, parse: parse, warn: warn}
	if err := w.reread(); err != nil {
		return nil, err
	}
	return w, nil
}

// current returns the meaning of the file now.
func (w *watched[T]) current() T {
	w.mu.Lock()
	err := w.reread()
	good := w.good
	w.mu.Unlock()
	if err != nil {
		w.warn(err)
	}
	return good
}

// reread looks for a better version than the last good one, and returns the error of one that is broken and has not
// been reported yet.
func (w *watched[T]) reread() error {
	if w.seen.Unchanged(watchfile.Disk{}, w.path) {
		return nil
	}
	data, seen, err := watchfile.ReadVersion(watchfile.Disk{}, w.path, w.path, keyfile.MaxFile)
	last := w.seen
	w.seen = seen
	if seen.Same(last) {
		return nil
	}
	if err != nil {
		return err
	}
	next, err := w.parse(w.path, data)
	if err == nil {
		w.good = next
	}
	return err
}
