//go:build !linux

package cpuclock

import (
	"errors"
	"time"
)

// Of is Linux's: there is no /proc elsewhere either.
func Of(int) (time.Duration, error) { return 0, errors.ErrUnsupported }
