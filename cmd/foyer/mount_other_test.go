//go:build !linux && !windows

package main

import "errors"

func mountMemory(string, int) (unmount func() error, err error) { return nil, errors.ErrUnsupported }
