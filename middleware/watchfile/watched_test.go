//go:build !windows

package watchfile

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func parseUpper(path, data string) (string, error) {
	if strings.Contains(data, "bad") {
		return "", &Error{Path: path, Line: 1, Err: errors.New("bad")}
	}
	return strings.ToUpper(data), nil
}

func TestWatched(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	put := func(text string, mode os.FileMode, modified time.Time) {
		t.Helper()
		err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode), os.Chtimes(path, modified, modified))
		if err != nil {
			t.Fatal(err)
		}
	}
	longAgo := time.Now().Add(-time.Hour)
	if w, err := Watch(path, limit, parseUpper, nil); w != nil || !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("a missing file: %v, %v", w, err)
	}
	put("bad", 0o600, longAgo)
	if w, err := Watch(path, limit, parseUpper, nil); w != nil || err == nil || err.Error() != path+":1: bad" {
		t.Fatalf("an invalid file: %v, %v", w, err)
	}
	put("one", 0o640, longAgo)
	var warned []string
	w, err := Watch(path, limit, parseUpper, func(err error) { warned = append(warned, strings.TrimPrefix(err.Error(), path)) })
	if err != nil {
		t.Fatal(err)
	}
	check := func(want string, wantWarned ...string) {
		t.Helper()
		for range 3 {
			if got := w.Current(); got != want {
				t.Errorf("the file means %q, want %q", got, want)
			}
		}
		if !slices.Equal(warned, wantWarned) {
			t.Errorf("warned %q, want %q", warned, wantWarned)
		}
		warned = nil
	}
	check("ONE")
	put("two", 0o600, longAgo.Add(time.Minute))
	check("TWO")
	put("bad", 0o600, longAgo.Add(2*time.Minute))
	check("TWO", ":1: bad")
	put("bad", 0o600, time.Now()) // the same content is read again, and not reported
	check("TWO")
	put("three", 0o622, longAgo)
	check("TWO", ": others can write it (mode 0622)")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	check("TWO", ": no such file or directory")
	put(strings.Repeat("x", limit+1), 0o600, longAgo)
	check("TWO", ": is larger than 1 MiB")
	put("four", 0o600, longAgo)
	check("FOUR")
}

func TestWatchedConcurrently(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	if err := Create(path, "one"); err != nil {
		t.Fatal(err)
	}
	w, err := Watch(path, limit, parseUpper, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 100 {
				if got := w.Current(); got != "ONE" && got != "TWO" {
					t.Errorf("the file means %q", got)
				}
			}
		})
	}
	for range 10 {
		if err := replace(path, "two", info); err != nil {
			t.Fatal(err)
		}
	}
	all.Wait()
	if got := w.Current(); got != "TWO" {
		t.Errorf("the file means %q", got)
	}
}

// A panic of parse does not leave the lock behind.
func TestWatchedPanic(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	if err := Create(path, "one"); err != nil {
		t.Fatal(err)
	}
	w, err := Watch(path, limit, func(_, data string) (string, error) {
		if data == "panic" {
			panic(data)
		}
		return data, nil
	}, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("panic"), 0o600); err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was recovered")
			}
		}()
		w.Current()
	}()
	if got := w.Current(); got != "one" {
		t.Errorf("the file means %q", got)
	}
}
