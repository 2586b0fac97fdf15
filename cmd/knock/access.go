package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"foyer/cmd/cli"
	"foyer/cmd/prompt"
)

// passwordVariable is where a password may come from besides a file and a prompt. It never comes from the command
// line, which everybody on the machine can read.
const passwordVariable = "KNOCK_PASSWORD"

// authenticate gives the door's visitors a key, a password, or both where both were named. Without either a person is
// asked for a password.
func (s *settings) authenticate(d *door) error {
	if s.open || s.anonymous {
		return nil
	}
	if s.key != "" {
		signer, err := readKey(s.key)
		if err != nil {
			return err
		}
		d.config.Auth = append(d.config.Auth, gossh.PublicKeys(signer))
	}
	password, err := s.password(d.target.user)
	if err != nil || password == "" {
		return err
	}
	// Where sshd has PAM ask, its prompt is a question of keyboard-interactive (RFC 4256).
	answer := func(_, _ string, questions []string, _ []bool) ([]string, error) {
		return slices.Repeat([]string{password}, len(questions)), nil
	}
	d.config.Auth = append(d.config.Auth, gossh.Password(password), gossh.KeyboardInteractive(answer))
	return nil
}

// password returns the password, or "" where there is a key and no password was named beside it.
func (s *settings) password(user string) (string, error) {
	if s.passwordFile != "" {
		return readPassword(s.passwordFile)
	}
	if s.key != "" { // the environment is for all doors, and would let in at this one whose key does not
		return "", nil
	}
	if password := s.environment(passwordVariable); password != "" {
		return password, nil
	}
	password, err := s.prompt(user)
	if err == nil && password == "" {
		err = cli.Misuse("type one, or add --open where the door asks for none", "no password was typed")
	}
	return password, err
}

// readKey reads a private key once; the logins share it.
func readKey(path string) (gossh.Signer, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, cli.Usage(fmt.Errorf("read the key: %w", err))
	}
	signer, err := gossh.ParsePrivateKey(text)
	var locked *gossh.PassphraseMissingError
	switch {
	case errors.As(err, &locked):
		return nil, cli.Misuse("make one without: ssh-keygen -t ed25519 -N '' -f knock_key", "key %s has a passphrase", path)
	case err != nil:
		return nil, cli.Misuse("name the private key, not the .pub file", "read the key %s: %w", path, err)
	}
	return signer, nil
}

// readPassword returns the first line of a file.
func readPassword(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", cli.Usage(fmt.Errorf("read the password: %w", err))
	}
	defer func() { _ = f.Close() }()
	line, err := bufio.NewReader(io.LimitReader(f, 1<<16)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", cli.Usage(fmt.Errorf("read the password: %w", err))
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", cli.Usage(fmt.Errorf("the first line of %s is empty: there is no password in it", path))
	}
	return line, nil
}

// promptForPassword asks a person, without an echo.
func promptForPassword(user string) (string, error) {
	if !prompt.Possible() {
		return "", cli.Misuse("add --key FILE, --password-file FILE or --open, or set $"+passwordVariable,
			"no key and no password, and stdin is no terminal to ask on")
	}
	return prompt.Password(os.Stderr, fmt.Sprintf("Password for %s: ", user))
}

// identify sets how the host key is checked: on loopback not at all, unless a file is named, and elsewhere against
// the known hosts.
func (s *settings) identify(d *door, loopback bool) error {
	if s.insecure || loopback && s.knownHosts == "" {
		d.config.HostKeyCallback = gossh.InsecureIgnoreHostKey()
		return nil
	}
	path := s.knownHosts
	if path == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return fmt.Errorf("find known_hosts: %w", err)
		}
		path = filepath.Join(home, ".ssh", "known_hosts")
	}
	check, err := knownhosts.New(path)
	if err != nil {
		return cli.Misuse("name one with --known-hosts FILE; ssh-keyscan makes such lines", "read the known hosts: %w", err)
	}
	algorithms := knownAlgorithms(check, d)
	if len(algorithms) == 0 {
		return cli.Misuse("add it after you have compared it: ssh-keyscan -p "+fmt.Sprint(d.target.port)+" "+d.target.host,
			"the host key of %s is not in %s", d.target.address(), path)
	}
	d.config.HostKeyCallback = check
	if len(s.hostKeys) == 0 {
		d.config.HostKeyAlgorithms = algorithms
	}
	return nil
}

// knownAlgorithms returns the algorithms of the keys by which the door is known: of a server with several keys, one
// of these has to be asked for. The file tells them when it is shown a key that is nobody's.
func knownAlgorithms(check gossh.HostKeyCallback, d *door) (algorithms []string) {
	addr, err := net.ResolveTCPAddr("tcp", d.address)
	if err != nil {
		return nil
	}
	var unknown *knownhosts.KeyError
	if !errors.As(check(d.target.address(), addr, nobodysKey{}), &unknown) {
		return nil
	}
	for _, known := range unknown.Want {
		switch kind := known.Key.Type(); kind {
		case gossh.KeyAlgoRSA: // signs with SHA-2 (RFC 8332)
			algorithms = append(algorithms, gossh.KeyAlgoRSASHA256, gossh.KeyAlgoRSASHA512)
		default:
			algorithms = append(algorithms, kind)
		}
	}
	return algorithms
}

// nobodysKey is a public key that is in no file.
type nobodysKey struct{}

func (nobodysKey) Type() string                          { return "nobody" }
func (nobodysKey) Marshal() []byte                       { return nil }
func (nobodysKey) Verify([]byte, *gossh.Signature) error { return errors.New("nobody's key") }
