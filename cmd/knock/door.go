package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spf13/pflag"
	gossh "golang.org/x/crypto/ssh"

	"foyer/cmd/cli"
	"foyer/cmd/knock/cpuclock"
)

// door is a server that is ready to be knocked on: all that its visitors share is read, parsed and checked.
type door struct {
	name     string // in a comparison
	target   target
	address  string // the one that its name stood for when knock started
	config   gossh.ClientConfig
	timeout  time.Duration // for a whole login
	expected *[]byte       // what stdout has to be, or nil
	meter    meter         // of the server's process, or nil
}

// settings are the flags that describe a door.
type settings struct {
	key, passwordFile      string
	open                   bool
	anonymous              bool // nobody logs in
	kex, ciphers, hostKeys []string
	knownHosts, expect     string
	insecure, mine         bool
	timeout                time.Duration
	pid                    processID
	cgroup                 string
	environment            func(string) string // os.Getenv, but in tests
	prompt                 func(user string) (string, error)
	look                   lookup
}

func newSettings() *settings {
	return &settings{environment: os.Getenv, prompt: promptForPassword, look: resolve}
}

// addAccess puts the flags on fs that say how to get in.
func (s *settings) addAccess(fs *pflag.FlagSet) {
	fs.StringVar(&s.key, "key", "", "file with the private key to log in with, as OpenSSH writes it")
	fs.StringVar(&s.passwordFile, "password-file", "", "file whose first line is the password (or $KNOCK_PASSWORD, or you are asked)")
	fs.BoolVar(&s.open, "open", false, "offer neither a key nor a password: the door lets everybody in")
}

// addShared puts the flags on fs that doors of one comparison share.
func (s *settings) addShared(fs *pflag.FlagSet) {
	s.addAccess(fs)
	fs.StringSliceVar(&s.kex, "kex", nil, "key exchange methods to offer, in this order")
	fs.StringSliceVar(&s.ciphers, "cipher", nil, "ciphers to offer")
	fs.StringSliceVar(&s.hostKeys, "hostkey-algorithm", nil, "host key algorithms to accept")
	fs.StringVar(&s.knownHosts, "known-hosts", "", "check the host key against this file (default ~/.ssh/known_hosts; on loopback it is not checked)")
	fs.BoolVar(&s.insecure, "insecure", false, "do not check the host key anywhere")
	fs.BoolVar(&s.mine, "i-own-this-host", false, "knock on an address that is not loopback")
	fs.DurationVar(&s.timeout, "timeout", 30*time.Second, "how long one login may take, from its intended start")
}

// addExpect puts the flag on fs that says what a login should read.
func (s *settings) addExpect(fs *pflag.FlagSet) {
	fs.StringVar(&s.expect, "expect", "", "file with the bytes that stdout has to be, or the login has not succeeded")
}

// addMeter puts the flags on fs that say what to measure on the server's side.
func (s *settings) addMeter(fs *pflag.FlagSet) {
	fs.Var(&s.pid, "pid", "the server's process: measure the CPU and memory of it and all below it")
	fs.StringVar(&s.cgroup, "cgroup", "", "the server's cgroup (v2): measure the CPU and memory of all in it")
}

// processID is the number of a process, once it is set: 0 is none, and what would be measured of it is nothing.
type processID int

// Set implements [pflag.Value].
func (p *processID) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return fmt.Errorf("%q is no number of a process", text)
	}
	*p = processID(n)
	return nil
}

// String implements [pflag.Value].
func (p *processID) String() string { return strconv.Itoa(int(*p)) }

// Type implements [pflag.Value].
func (p *processID) Type() string { return "process" }

// door makes a door of a target. It asks for a password only when all else is known to be well.
func (s *settings) door(ctx context.Context, text string) (*door, error) {
	d := &door{timeout: s.timeout}
	if s.timeout <= 0 {
		return nil, cli.Misuse("say how long one login may take, as in --timeout 30s", "timeout %s", s.timeout)
	}
	var err error
	if d.target, err = parseTarget(text); err != nil {
		return nil, err
	}
	loopback, err := s.find(ctx, d)
	if err != nil {
		return nil, err
	}
	for _, step := range []func(*door) error{s.choose, s.expectation, s.measure} {
		if err := step(d); err != nil {
			return nil, err
		}
	}
	if err := s.identify(d, loopback); err != nil {
		return nil, err
	}
	return d, s.authenticate(d)
}

// find decides which address the visitors go to, and whether it is one to go to at all.
func (s *settings) find(ctx context.Context, d *door) (loopback bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	addrs, loopback, err := d.target.locate(ctx, s.look)
	if err != nil {
		return false, err
	}
	if !loopback && !s.mine {
		return false, d.target.refuse(addrs)
	}
	d.address = reach(ctx, addrs, s.timeout).String()
	return loopback, nil
}

func (s *settings) expectation(d *door) error {
	if s.expect == "" {
		return nil
	}
	text, err := os.ReadFile(s.expect)
	if err != nil {
		return cli.Usage(fmt.Errorf("read what to expect: %w", err))
	}
	d.expected = &text
	return nil
}

func (s *settings) measure(d *door) error {
	switch {
	case s.pid != 0 && s.cgroup != "":
		return cli.Misuse("leave out one of them", "--pid and --cgroup measure the same thing")
	case s.pid != 0:
		d.meter = processTree{root: int(s.pid), proc: "/proc", clock: cpuclock.Of}
	case s.cgroup != "":
		d.meter = cgroup{dir: s.cgroup}
	default:
		return nil
	}
	if _, err := d.meter.cpu(); err != nil {
		return cli.Usage(err)
	}
	_, err := d.meter.memory()
	return err
}
