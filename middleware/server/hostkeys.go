package server

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/hostkeys"
	"foyer/middleware"
)

// watchHostKeys has the connections of stack use the keys in dir, now those that are loaded, as its layers restrict them.
func watchHostKeys(stack *middleware.Stack, dir string, loaded []hostkeys.Key, logger *slog.Logger) error {
	described := describe(loaded)
	use := func(keys []hostkeys.Key) (middleware.HostKeys, error) {
		usable, err := usable(stack, keys)
		if description := describe(keys); err == nil && described != description {
			described = description
			logger.Info("host keys changed", "keys", description)
			warnOf(logger, keys)
		}
		return usable, err
	}
	first, err := use(loaded)
	stack.HostKeys = hostkeys.Watch(dir, first, use, func(err error) {
		facts := []any{"err", err}
		var hint interface{ Hint() string }
		if errors.As(err, &hint) {
			facts = append(facts, "hint", hint.Hint())
		}
		logger.Error("host keys are invalid; keeping the last good ones", facts...)
	}).Current
	return err
}

func usable(stack *middleware.Stack, keys []hostkeys.Key) (usable middleware.HostKeys, err error) {
	var srv ssh.Server
	_ = HostKeys(keys)(&srv)
	if usable.Used, err = stack.AllowedHostKeys(srv.HostSigners); err != nil {
		return usable, err
	}
	for _, key := range keys {
		if key.State == hostkeys.InUse {
			continue
		}
		if allowed, err := stack.AllowedHostKeys([]ssh.Signer{key.Signer}); err == nil {
			usable.Other = append(usable.Other, allowed...)
		}
	}
	return usable, nil
}

// warnOf logs the problems of keys.
func warnOf(logger *slog.Logger, keys []hostkeys.Key) {
	for _, key := range keys {
		event := "host certificate ignored"
		if key.State == hostkeys.Previous {
			event = "host key not replaced"
		}
		if key.Problem != nil {
			logger.Warn(event, "err", key.Problem, "hint", key.Problem.Hint())
		}
	}
}

func describe(keys []hostkeys.Key) string {
	var facts []string
	for _, key := range keys {
		fact := fmt.Sprintf("%s %s %s", key.Type(), key.Fingerprint(), key.State)
		switch {
		case key.Problem != nil:
			fact += " with a problem"
		case key.Certificate != nil:
			fact += " with certificate " + gossh.FingerprintSHA256(key.Certificate.PublicKey())
		}
		facts = append(facts, fact)
	}
	return strings.Join(facts, ", ")
}
