package watchfile

import (
	"io/fs"
	"sync"
)

// Watched is a parsed file that stays up to date. If a new version of the file is invalid, unreadable or missing, the
// last good version stays in use. It is safe for concurrent use.
type Watched[T any] struct {
	path      string
	limit     int64
	forbidden fs.FileMode
	parse     func(path, data string) (T, error)
	warn      func(error)

	mu   sync.Mutex
	seen Version // the last version that was found, good or not
	err  error   // why that is not good
	good T       // the last good version
}

// Watch reads the file at path, which must be valid and have at most limit bytes. Later, warn receives the error of each
// version that is not used, once. It may be nil. Parse is never called concurrently; each value that it returns without
// an error replaces the one before.
func Watch[T any](path string, limit int64, parse func(path, data string) (T, error), warn func(error)) (*Watched[T], error) {
	return watch(&Watched[T]{path: path, limit: limit, forbidden: OthersWrite, parse: parse, warn: warn})
}

// WatchText is [Watch] for a text that visitors read. Anybody may own the file and be able to write it.
func WatchText(path string, limit int64, warn func(error)) (*Watched[string], error) {
	parse := func(_, data string) (string, error) { return data, nil }
	return watch(&Watched[string]{path: path, limit: limit, parse: parse, warn: warn})
}

func watch[T any](w *Watched[T]) (*Watched[T], error) {
	if w.warn == nil {
		w.warn = func(error) {}
	}
	if _, _, err := w.reread(); err != nil {
		return nil, err
	}
	return w, nil
}

// Current returns the last good version, after a check for a new one. The check costs one stat if there is none.
func (w *Watched[T]) Current() T {
	good, _ := w.Latest()
	return good
}

// Latest is [Watched.Current] for a file whose last good version must not be used any more if the latest one is not good:
// it also returns the error of that.
func (w *Watched[T]) Latest() (T, error) {
	good, isNew, err := w.reread()
	if isNew && err != nil {
		w.warn(err)
	}
	return good, err
}

// reread checks for a new version. It returns the last good one and the error of the latest one, if that is not good.
func (w *Watched[T]) reread() (good T, isNew bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen.Unchanged(nil, w.path) {
		return w.good, false, w.err
	}
	data, seen, err := readVersion(nil, w.path, w.path, w.limit, w.forbidden)
	last := w.seen
	w.seen = seen
	if seen.Same(last) {
		return w.good, false, w.err
	}
	next := w.good
	if err == nil {
		next, err = w.parse(w.path, data)
	}
	if err == nil {
		w.good = next
	}
	w.err = err
	return w.good, true, err
}
