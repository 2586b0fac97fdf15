package hostkeys

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	"foyer/middleware/watchfile"
)

// Watched is what a server makes of the keys in a directory. It stays up to date: see [watchfile.Watched]. It is safe for
// concurrent use.
type Watched[T any] struct {
	dir  string
	use  func([]Key) (T, error)
	warn func(error)

	mu      sync.Mutex
	seen    map[string]watchfile.Version // by path: of the directory, the keys and the certificates
	problem string                       // why the latest version is not good
	looked  time.Time                    // when the files were read last
	good    T                            // of the last good version
}

// Watch watches dir, where use has made first of the keys. Use is never called concurrently. Warn receives the error of
// each version that is not used, once.
func Watch[T any](dir string, first T, use func([]Key) (T, error), warn func(error)) *Watched[T] {
	return &Watched[T]{dir: dir, use: use, warn: warn, good: first}
}

// interval is how often files that are not good are read again though they have not changed, because the reason may be a
// directory above them. To read keys takes milliseconds, and each client has the server look.
const interval = time.Second

// Current returns what use has made of the last good version, after a check for a new one. The check costs one stat for the
// directory and one for each file, if there is none.
func (w *Watched[T]) Current() T {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.unchanged() && (w.problem == "" || time.Since(w.looked) < interval) {
		return w.good
	}
	w.looked = time.Now()
	seen := versions(w.dir) // first: a change during the reading must be noticed later
	next, err := w.load()
	w.seen = seen
	if err == nil {
		w.good, w.problem = next, ""
		return w.good
	}
	if text := err.Error(); text != w.problem {
		w.problem = text
		w.warn(err)
	}
	return w.good
}

func (w *Watched[T]) unchanged() bool {
	for path, version := range w.seen {
		if !version.Unchanged(nil, path) {
			return false
		}
	}
	return len(w.seen) > 0
}

func (w *Watched[T]) load() (none T, err error) {
	keys, err := Load(w.dir)
	if err == nil && len(keys) == 0 {
		err = newError(w.dir, errors.New("has no host key any more"))
	}
	if err != nil {
		return none, err
	}
	return w.use(keys)
}

// versions returns the versions of the files in dir that [Load] reads.
func versions(dir string) map[string]watchfile.Version {
	paths := []string{dir}
	names, _ := list(dir)
	for _, name := range names {
		path := filepath.Join(dir, name)
		paths = append(paths, path)
		if _, err := os.Stat(path + certificateSuffix); err == nil {
			paths = append(paths, path+certificateSuffix)
		}
	}
	seen := map[string]watchfile.Version{}
	for _, path := range paths {
		seen[path] = watchfile.StatVersion(path)
	}
	return seen
}
