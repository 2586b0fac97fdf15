//go:build !linux

package main

import (
	"errors"
	"time"
)

// cpuClock is Linux's: there is no /proc elsewhere either.
func cpuClock(int) (time.Duration, error) { return 0, errors.ErrUnsupported }
