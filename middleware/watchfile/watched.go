package watchfile

import "sync"

// Watched is a parsed file that stays up to date. If a new version of the file is invalid, unreadable or missing, the
// last good version stays in use. It is safe for concurrent use.
type Watched[T any] struct {
	path  string
	limit int64
	parse func(path, data string) (T, error)
	warn  func(error)

	mu   sync.Mutex
	seen Version // the last version that was found, good or not
	good T       // the last good version
}

// Watch reads the file at path, which must be valid and have at most limit bytes. Later, warn receives the error of each
// version that is not used, once. It may be nil. Parse is never called concurrently; each value that it returns without
// an error replaces the one before.
func Watch[T any](path string, limit int64, parse func(path, data string) (T, error), warn func(error)) (*Watched[T], error) {
	if warn == nil {
		warn = func(error) {}
	}
	w := &Watched[T]{path: path, limit: limit, parse: parse, warn: warn}
	if _, err := w.reread(); err != nil {
		return nil, err
	}
	return w, nil
}

// Current returns the last good version, after a check for a new one. The check costs one stat if there is none.
func (w *Watched[T]) Current() T {
	good, err := w.reread()
	if err != nil {
		w.warn(err)
	}
	return good
}

// reread returns the last good version, after a check for a new one, and the error of a new version that is not good.
func (w *Watched[T]) reread() (T, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen.Unchanged(nil, w.path) {
		return w.good, nil
	}
	data, seen, err := ReadVersion(nil, w.path, w.path, w.limit)
	last := w.seen
	w.seen = seen
	if seen.Same(last) {
		return w.good, nil
	}
	if err != nil {
		return w.good, err
	}
	next, err := w.parse(w.path, data)
	if err == nil {
		w.good = next
	}
	return w.good, err
}
