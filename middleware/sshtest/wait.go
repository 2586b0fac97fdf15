package sshtest

import (
	"testing"
	"time"
)

// Patience is how long a test waits for what has to happen.
const Patience = 30 * time.Second

// Receive returns the next value of c. The test fails where none comes.
func Receive[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(Patience):
		t.Fatal("nothing was sent on the channel")
		panic("unreachable")
	}
}

// Eventually waits until done returns true. The test fails with the message where it does not.
func Eventually(t testing.TB, message string, done func() bool) {
	t.Helper()
	if !Within(Patience, done) {
		t.Fatal(message)
	}
}

// Within waits until done returns true, and reports whether it does so within the limit.
func Within(limit time.Duration, done func() bool) bool {
	for deadline := time.Now().Add(limit); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}
