package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"foyer/middleware/eventlog/sanitize"
)

// maxReason bounds what is kept of the words of a server.
const maxReason = 160

// failed is why a login did not succeed, in words that do not differ from one such login to the next: no ports, no
// times. The server's own words are cleaned.
type failed struct{ reason string }

func (f failed) Error() string { return f.reason }

// failure names the phase in which a login failed, and why.
func failure(p phase, err error) error {
	var known failed
	if errors.As(err, &known) {
		return known
	}
	if p == wholeLogin {
		return failed{reason(err)}
	}
	return failed{p.String() + ": " + reason(err)}
}

// unanswered is how x/crypto says that the connection ended before a channel was opened: there is no packet.
const unanswered = "unexpected packet in response to channel open: <nil>"

// reason is the core of an error, without the addresses that package net puts around it.
func reason(err error) string {
	var (
		errno    syscall.Errno
		refused  *gossh.OpenChannelError
		unsuited *gossh.AlgorithmNegotiationError
		unknown  *knownhosts.KeyError
	)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), timedOut(err):
		return "timed out"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE): // the server's own look otherwise
		return "knock has no descriptors left: raise ulimit -n"
	case errors.As(err, &errno):
		return errno.Error()
	case errors.As(err, &unsuited):
		has := sanitize.String(strings.Join(unsuited.RequestedAlgorithms, ", "), maxReason)
		return fmt.Sprintf("no common algorithm for %s: the server has %s", unsuited.What, has)
	case errors.As(err, &unknown):
		return "the host key is not the one in the known hosts"
	case errors.As(err, &refused):
		return "the session was refused: " + sanitize.String(refused.Message, maxReason)
	case hungUp(err):
		return "the server hung up"
	}
	text := err.Error()
	for _, prefix := range []string{"ssh: handshake failed: ", "ssh: ", "knownhosts: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return sanitize.String(text, maxReason)
}

// hungUp reports whether the server has closed the connection, or the library after it had.
func hungUp(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || strings.HasSuffix(err.Error(), unanswered)
}

// goodbye returns the words of the SSH_MSG_DISCONNECT that a handshake ended with, or "". The library has no type for it.
func goodbye(err error) string {
	_, said, _ := strings.Cut(err.Error(), "ssh: disconnect, reason ")
	_, quoted, _ := strings.Cut(said, ": ")
	words, _ := strconv.Unquote(quoted)
	return words
}

func timedOut(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// tally counts failures by their reason.
type tally map[string]int64

// maxReasons bounds how many reasons are told apart: a server can find new words for every login.
const maxReasons = 50

const otherReasons = "other reasons"

func (t tally) add(reason string, n int64) {
	if _, known := t[reason]; !known && len(t) >= maxReasons {
		reason = otherReasons
	}
	t[reason] += n
}

// String is for errors that end a measurement.
func (t tally) String() string {
	var parts []string
	for _, f := range t.sorted() {
		parts = append(parts, fmt.Sprintf("%s (%s)", f.Reason, count(f.Count)))
	}
	return strings.Join(parts, ", ")
}
