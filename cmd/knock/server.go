package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/spf13/pflag"
	gossh "golang.org/x/crypto/ssh"

	"foyer/cmd/cli"
	"foyer/cmd/knock/report"
)

// server is a server to measure: everything that its logins share is read and checked.
type server struct {
	name        string // in a comparison
	target      target
	address     netip.AddrPort // the one that accepted a connection when knock started
	config      gossh.ClientConfig
	timeout     time.Duration // for a whole login
	concurrency int           // logins at a time
	expected    []byte        // stdout must equal it, unless it is nil
	meter       meter         // of the server's process, or nil
}

// settings are the flags that describe a server.
type settings struct {
	key, passwordFile, hostKey string
	noAuth                     bool
	kex, ciphers               []string
	expect                     string
	owned                      bool
	timeout                    time.Duration
	pid, concurrency           int
	prompt                     func(user string) (string, error)
}

// The algorithms that OpenSSH 10 prefers, in its order. Most clients use them; x/crypto would choose others.
var (
	usualHostKeys = []string{gossh.KeyAlgoED25519, gossh.KeyAlgoECDSA256, gossh.KeyAlgoRSASHA512, gossh.KeyAlgoRSASHA256}
	usualCiphers  = []string{
		gossh.CipherChaCha20Poly1305, gossh.CipherAES128GCM, gossh.CipherAES256GCM, gossh.CipherAES128CTR,
	}
)

func newSettings() *settings {
	return &settings{
		ciphers: usualCiphers, timeout: 30 * time.Second, concurrency: 8, prompt: promptForPassword,
	}
}

// addFlags adds the flags. The current settings are the defaults.
func (s *settings) addFlags(fs *pflag.FlagSet) {
	fs.IntVarP(&s.concurrency, "concurrency", "c", s.concurrency, "logins at a time")
	fs.StringVar(&s.key, "key", s.key, "file with the private key to log in with")
	fs.StringVar(&s.passwordFile, "password-file", s.passwordFile, "file whose first line is the password")
	fs.BoolVar(&s.noAuth, "open", s.noAuth, "use neither a key nor a password; the server lets everybody in")
	fs.IntVar(&s.pid, "pid", s.pid, "process ID of the server: measure the CPU and memory of it and its descendants")
	fs.StringVar(&s.expect, "expect", s.expect, "file that stdout must equal, or the login has failed")
	fs.DurationVar(&s.timeout, "timeout", s.timeout, "how long a login may take, from its intended start")
	fs.StringSliceVar(&s.kex, "kex", s.kex, "key exchange methods to offer, in this order")
	fs.StringSliceVar(&s.ciphers, "cipher", s.ciphers, "ciphers to offer, in this order")
	fs.StringVar(&s.hostKey, "host-key", s.hostKey, "fingerprint of the host key, SHA256:...; not required on loopback")
	fs.BoolVar(&s.owned, "i-own-this-host", s.owned, "allow an address that is not loopback")
}

// open prepares a server. It asks for a password only if everything else is valid.
func (s *settings) open(ctx context.Context, text string) (*server, error) {
	if s.timeout <= 0 || s.concurrency < 1 {
		return nil, cli.Misuse("give positive values", "timeout %s, concurrency %d", s.timeout, s.concurrency)
	}
	srv := &server{timeout: s.timeout, concurrency: s.concurrency}
	var err error
	if srv.target, err = parseTarget(text); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	srv.config = gossh.ClientConfig{
		Config: gossh.Config{KeyExchanges: s.kex, Ciphers: s.ciphers}, HostKeyAlgorithms: usualHostKeys,
		User: srv.target.user, ClientVersion: "SSH-2.0-knock",
	}
	if srv.address, err = srv.target.locate(ctx, s.owned); err != nil {
		return nil, err
	}
	for _, step := range []func(*server) error{s.readExpected, s.setMeter, s.setHostKey, s.setCredentials} {
		if err := step(srv); err != nil {
			return nil, err
		}
	}
	return srv, nil
}

func (s *settings) readExpected(srv *server) (err error) {
	if s.expect != "" {
		if srv.expected, err = os.ReadFile(s.expect); err != nil {
			return cli.Usage(fmt.Errorf("read the expected output: %w", err))
		}
	}
	return nil
}

func (s *settings) setMeter(srv *server) error {
	if s.pid == 0 {
		return nil
	}
	srv.meter = newProcessMeter(s.pid)
	if _, err := srv.meter.cpu(); err != nil {
		return cli.Usage(err)
	}
	_, err := srv.meter.memory()
	return err
}

func (srv *server) report(info serverInfo) report.Server {
	return report.Server{
		Target: sanitized(srv.target.user + "@" + srv.target.address), Address: srv.address.String(),
		Version: sanitized(info.version), Kex: info.algorithms.KeyExchange,
		HostKey: info.algorithms.HostKey, Cipher: info.algorithms.Read.Cipher,
	}
}
