//go:build !windows

package main

import (
	"errors"
	"net"
	"os"
	"syscall"
)

// socketPair returns both ends of a connection.
func socketPair() (here, there net.Conn, err error) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, err
	}
	ends := [2]net.Conn{}
	for i, descriptor := range pair {
		file := os.NewFile(uintptr(descriptor), "")
		end, failed := net.FileConn(file)
		ends[i], err = end, errors.Join(err, failed, file.Close())
	}
	return ends[0], ends[1], err
}
