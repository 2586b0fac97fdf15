package main

import (
	"errors"
	"time"
)

// Windows has no /proc, so that nothing is measured there.

func cpuClock(int) (time.Duration, error) { return 0, errors.ErrUnsupported }

func (process) pss() (int64, error) { return 0, errors.ErrUnsupported }
