//go:build !windows

package server

import (
	"os"
	"syscall"
)

// reportSignals make the server log what is open.
var reportSignals = []os.Signal{syscall.SIGUSR1}

// raise ends the process by a signal that nobody catches any more.
func raise(sig os.Signal) { _ = syscall.Kill(os.Getpid(), sig.(syscall.Signal)) }
