package descriptors_test

import (
	"testing"

	"foyer/cmd/descriptors"
)

// The limit has been raised to the hard one by the time that it is asked for.
func TestLimit(t *testing.T) {
	if n := descriptors.Limit(); n < 256 {
		t.Errorf("%d descriptors", n)
	}
}
