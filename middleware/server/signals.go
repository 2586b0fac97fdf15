//go:build !windows

package server

import (
	"os"
	"os/signal"
	"syscall"
)

// notifyReport relays the signal that asks for a report.
func notifyReport(c chan<- os.Signal) { signal.Notify(c, syscall.SIGUSR1) }

// raise sends the process a signal that it no longer handles, and so ends it.
func raise(sig os.Signal) { _ = syscall.Kill(os.Getpid(), sig.(syscall.Signal)) }
