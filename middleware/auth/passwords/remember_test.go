//go:build !windows

package passwords

import (
	"context"
	"errors"
	"foyer/middleware/fairqueue"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// countingFile is a file that counts the full checks of its only password.
type countingFile struct {
	*testing.T
	f      *File
	checks int
}

func newCountingFile(t *testing.T, while time.Duration) *countingFile {
	m := &countingFile{T: t, f: open(t, newFile(t, "ada:"+cheapArgon), Options{Remember: while})}
	m.count()
	return m
}

// count counts the checks of the current version of the file.
func (m *countingFile) count() {
	e := m.f.table.Current().entries[0]
	e.secret = secret{"stub", stub(func(password string) bool {
		m.checks++
		return password == "open sesame"
	})}
	m.f.table.Current().entries[0], m.f.table.Current().byName[e.name] = e, e
}

// login tries a password, and checks the error and whether there was a full check.
func (m *countingFile) login(user, password string, want error, full bool) {
	m.Helper()
	m.checks = 0
	if err := m.f.VerifyFrom(context.Background(), netip.Addr{}, user, password); !errors.Is(err, want) {
		m.Errorf("%s, %s: %v, want %v", user, password, err, want)
	}
	if checked := m.checks == 1; checked != full {
		m.Errorf("%s, %s: %d full checks, want one: %t", user, password, m.checks, full)
	}
}

func TestRemember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newCountingFile(t, time.Minute)
		for range 2 { // a failure is not remembered, and changes nothing for a correct password
			m.login("ada", "open barley", ErrWrong, true)
			m.login("nobody", "open sesame", ErrWrong, true)
		}
		m.login("ada", "open sesame", nil, true)
		for range 2 {
			m.login("ada", "open sesame", nil, false)
			m.login("ada", "open barley", ErrWrong, true)
			m.login("nobody", "open sesame", ErrWrong, true)
			m.login("adao", "pen sesame", ErrWrong, true)
			m.login("", "adaopen sesame", ErrWrong, true)
			m.login("ada", "", ErrWrong, false)
		}
		time.Sleep(time.Minute - 1) // of synctest's clock
		m.login("ada", "open sesame", nil, false)
		time.Sleep(2 * time.Nanosecond) // the minute counts from the full check
		synctest.Wait()
		if n := len(m.f.table.Current().logins.proof); n != 0 {
			t.Errorf("%d logins are remembered too long", n)
		}
		m.login("ada", "open sesame", nil, true)
		m.login("ada", "open sesame", nil, false)
		time.Sleep(time.Minute) // so that no timer outlives the test
	})
}

func TestRememberIsOffByDefault(t *testing.T) {
	m := newCountingFile(t, 0)
	for range 3 {
		m.login("ada", "open sesame", nil, true)
	}
	if m.f.table.Current().logins.proof != nil {
		t.Error("a login is remembered")
	}
}

// A remembered password needs no place in the queue. Every other one does.
func TestRememberedWhileBusy(t *testing.T) {
	m := newCountingFile(t, time.Minute)
	m.login("ada", "open sesame", nil, true)
	m.f.queue = fairqueue.New(0, 0)
	m.login("ada", "open sesame", nil, false)
	m.login("ada", "open barley", ErrBusy, false)
}

func TestRememberedUntilTheFileChanges(t *testing.T) {
	m := newCountingFile(t, time.Minute)
	m.login("ada", "open sesame", nil, true)
	old := m.f.table.Current()

	later := longAgo.Add(time.Hour)
	rewrite(t, m.f.path, "ada:"+cheapArgon, later) // touched, not changed
	m.login("ada", "open sesame", nil, false)
	rewrite(t, m.f.path, "ada:$x", later.Add(time.Hour)) // invalid: the last good version stays in use
	m.login("ada", "open sesame", nil, false)

	rewrite(t, m.f.path, "ada:"+cheapArgon+"\n# changed\n", later)
	m.f.Users()
	m.count()
	if n := len(old.logins.proof); n != 0 {
		t.Errorf("%d logins of the old version are remembered", n)
	}
	m.login("ada", "open sesame", nil, true)
	m.login("ada", "open sesame", nil, false)

	rewrite(t, m.f.path, "ada:"+cheapBcrypt[:59]+"j", later) // another password
	m.login("ada", "open sesame", ErrWrong, false)
	rewrite(t, m.f.path, "", later)
	m.login("ada", "open sesame", ErrWrong, false)
}

// At most one password is remembered for each user.
func TestRememberedAreBounded(t *testing.T) {
	f := open(t, newFile(t, "ada:one\nbob:two\n"), Options{Plaintext: true, Remember: time.Minute})
	race(300, func(i int) {
		f.Verify([]string{"ada", "bob", "nobody"}[i%3], []string{"one", "two", "three"}[i/3%3])
	})
	if n := len(f.table.Current().logins.proof); n != 2 {
		t.Errorf("%d logins are remembered, want 2", n)
	}
}

func TestMAC(t *testing.T) {
	f, other := open(t, newFile(t, ""), Options{}), open(t, newFile(t, ""), Options{})
	longest := []string{"login", strings.Repeat("n", maxName), strings.Repeat("p", maxPassword)}
	seen := map[proof][]string{}
	for _, parts := range [][]string{nil, {""}, {"", ""}, {"a", "b"}, {"ab"}, {"ab", ""}, {"", "ab"}, {"a\x00\x01b"}, longest} {
		p := f.mac(parts...)
		if p != f.mac(parts...) || p == other.mac(parts...) {
			t.Errorf("%.20q: differs on the second call, or not with another key", parts)
		}
		if twin, ok := seen[p]; ok {
			t.Errorf("%.20q and %.20q have the same MAC", parts, twin)
		}
		seen[p] = parts
	}
}

// An unknown name always costs the same secret, and other names cost others.
func TestDecoyOfAName(t *testing.T) {
	f := open(t, newFile(t, "ada:one\nbob:two\n"), Options{Plaintext: true})
	var costs string
	for i, name := range []string{"ada", "bob"} {
		f.table.Current().entries[i].secret = secret{name, stub(func(string) bool { costs += name[:1]; return true })}
	}
	both := ""
	for i := range 64 {
		costs = ""
		for range 3 {
			f.Verify("nobody"+strings.Repeat("!", i), "guess")
		}
		if costs != "aaa" && costs != "bbb" {
			t.Fatalf("one name costs %s", costs)
		}
		both += costs
	}
	if !strings.Contains(both, "a") || !strings.Contains(both, "b") { // the probability of this is 2^-63
		t.Errorf("64 names cost the same user's: %s", both)
	}
}
