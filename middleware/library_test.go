package middleware

import "testing"

// The libraries look inside as foyer needs them to. After an update that breaks this, look at library.go.
func TestLibrary(t *testing.T) {
	if _, err := libraryLayout(); err != nil {
		t.Fatal(err)
	}
}
