package main

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"foyer/middleware/eventlog/sanitize"
)

// failed is the reason why a login failed. It is the same text for the same reason, without ports or times, so that
// failures can be counted by it.
type failed struct{ reason string }

func (f failed) Error() string { return f.reason }

// failure returns the reason of an error in a phase, or the server's own words if it sent a disconnect message.
func failure(p phase, err error) error {
	if words := disconnectMessage(err); words != "" {
		return failed{"the server said: " + sanitized(words)}
	}
	if p == wholeLogin {
		return failed{reason(err)}
	}
	return failed{p.String() + ": " + reason(err)}
}

// noReply is x/crypto's error if the connection ends while a channel is opened.
const noReply = "unexpected packet in response to channel open: <nil>"

// reason returns the text of an error without the addresses that package net adds.
func reason(err error) string {
	var (
		errno   syscall.Errno
		timeout net.Error
	)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		return "timed out"
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, net.ErrClosed), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		strings.HasSuffix(err.Error(), noReply):
		return "connection closed by the server"
	}
	return sanitized(strings.TrimPrefix(strings.TrimPrefix(err.Error(), "ssh: handshake failed: "), "ssh: "))
}

// sanitized makes a server's text safe to print, and limits its length.
func sanitized(text string) string { return sanitize.String(strings.TrimSpace(text), 160) }

// disconnectMessage returns the text of an SSH_MSG_DISCONNECT, or "". x/crypto has no type for it.
func disconnectMessage(err error) string {
	_, text, _ := strings.Cut(err.Error(), "ssh: disconnect, reason ")
	_, quoted, _ := strings.Cut(text, ": ")
	message, _ := strconv.Unquote(quoted)
	return message
}
