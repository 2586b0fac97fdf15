package main

import "github.com/coreos/go-systemd/v22/daemon"

// reloading is a state that systemd, which is not on Windows, does not hear.
func reloading() string { return daemon.SdNotifyReloading }
