package main

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"foyer/cmd/cli"
	"foyer/cmd/prompt"
)

// passwordVariable can hold the password. No flag can, because everybody on the machine can read the command line.
const passwordVariable = "KNOCK_PASSWORD"

// setCredentials sets a key, a password, or both if both were given. If neither was, it asks for a password.
func (s *settings) setCredentials(srv *server) error {
	if s.noAuth {
		return nil
	}
	if s.key != "" {
		signer, err := readKey(s.key)
		if err != nil {
			return err
		}
		srv.config.Auth = append(srv.config.Auth, gossh.PublicKeys(signer))
	}
	password, err := s.password(srv.target.user)
	if err != nil || password == "" {
		return err
	}
	// sshd with PAM asks for the password by keyboard-interactive (RFC 4256).
	answer := func(_, _ string, questions []string, _ []bool) ([]string, error) {
		return slices.Repeat([]string{password}, len(questions)), nil
	}
	srv.config.Auth = append(srv.config.Auth, gossh.Password(password), gossh.KeyboardInteractive(answer))
	return nil
}

// password returns the password, or "" if only a key is used.
func (s *settings) password(user string) (string, error) {
	if s.passwordFile != "" {
		text, err := os.ReadFile(s.passwordFile)
		if err != nil {
			return "", cli.Usage(fmt.Errorf("read the password: %w", err))
		}
		line, _, _ := strings.Cut(string(text), "\n")
		if line = strings.TrimRight(line, "\r"); line == "" {
			return "", cli.Usage(fmt.Errorf("read the password: the first line of %s is empty", s.passwordFile))
		}
		return line, nil
	}
	if s.key != "" { // with $KNOCK_PASSWORD, a key that the server refuses would not be noticed
		return "", nil
	}
	if password := os.Getenv(passwordVariable); password != "" {
		return password, nil
	}
	password, err := s.prompt(user)
	if err == nil && password == "" {
		err = cli.Misuse("enter one, or add --open if the server needs none", "the password is empty")
	}
	return password, err
}

func readKey(path string) (gossh.Signer, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, cli.Usage(fmt.Errorf("read the key: %w", err))
	}
	signer, err := gossh.ParsePrivateKey(text)
	if err != nil {
		return nil, cli.Misuse("give a private key without a passphrase", "read the key %s: %w", path, err)
	}
	return signer, nil
}

func promptForPassword(user string) (string, error) {
	if !prompt.Possible() {
		return "", cli.Misuse("add --key FILE, --password-file FILE or --open, or set $"+passwordVariable,
			"no key and no password were given, and stdin is not a terminal")
	}
	return prompt.Password(os.Stderr, "Password for "+user+": ")
}

// setHostKey checks the host key against its fingerprint, which is required for an address that is not loopback.
func (s *settings) setHostKey(srv *server) error {
	srv.config.HostKeyCallback = func(_ string, _ net.Addr, key gossh.PublicKey) error {
		if found := gossh.FingerprintSHA256(key); s.hostKey != "" && found != s.hostKey {
			return fmt.Errorf("the host key is %s, not the one of --host-key", found)
		}
		return nil
	}
	if s.hostKey == "" && !srv.address.Addr().Unmap().IsLoopback() {
		return cli.Misuse("add --host-key SHA256:..., which ssh-keygen -l -f prints on the server",
			"the host key of %s is not known", srv.target.address)
	}
	return nil
}
