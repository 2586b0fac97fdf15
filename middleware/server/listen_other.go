//go:build !linux

package server

import (
	"net"
	"syscall"
)

// listenConfig has the kernel end connections whose client does not answer its keepalives. For a client that reads
// nothing the session channel has a deadline, which takes twice as long as Linux's.
func listenConfig(d Deadlines) net.ListenConfig {
	return net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: d.Keepalive, Interval: d.Keepalive, Count: 3}}
}

// setDeadlines does nothing: only new listeners have other deadlines.
func setDeadlines(syscall.RawConn, Deadlines) error { return nil }
