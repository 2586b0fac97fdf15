package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"charm.land/log/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/term"
	"github.com/spf13/pflag"

	"foyer/cmd/cli"
	"foyer/middleware"
	"foyer/middleware/auth/passwords"
	"foyer/middleware/eventlog"
	"foyer/middleware/watchfile"
)

// Config is all that an operator can set. Defaults stand in addFlags; the environment is read by fromEnvironment,
// and a flag wins over it; Validate has the last word. Paths are relative to the working directory.
type Config struct {
	Listen     string        // TCP address
	HostKeys   string        // directory
	Passwords  string        // file
	Plaintext  bool          // secrets in Passwords may be plain text
	Remember   time.Duration // how long a verified password is remembered
	Keys       string        // directory
	UserCA     string        // file, or ""
	Revoked    string        // file, or ""
	Auth       []string      // the ways in
	Penalties  bool          // sources that keep failing are refused
	Exempt     []string      // networks that never are
	SourceBits string        // how many bits of an address make a source, for IPv4 and IPv6
	FailLog    string        // file, "-" for stderr, or ""
	Open       bool          // everybody is let in
	Algorithms string        // "modern" or "compat"
	Limits
	Deadlines
	Message   string // file, or "" for the simple message
	Greeting  string // file, or "" for the default greeting
	PTY       string // "refuse" or "accept"
	LogRate   int    // lines a second
	LogLevel  string
	LogFormat string
}

// addFlags puts every setting of the server on fs, with its default.
func (c *Config) addFlags(fs *pflag.FlagSet) {
	fs.StringVar(&c.Listen, "listen", ":2022", "address to listen on")
	c.addHostKeys(fs)
	c.addPasswords(fs)
	fs.BoolVar(&c.Plaintext, "plaintext-passwords", false, "take secrets that are not hashes as they are, with a warning")
	fs.DurationVar(&c.Remember, "remember-passwords", passwords.DefaultRemember, "how long a verified password is remembered in memory; 0 for not at all")
	c.addKeys(fs)
	fs.StringVar(&c.UserCA, "user-ca", "", "file with the public keys of authorities whose user certificates let in")
	fs.StringVar(&c.Revoked, "revoked", "", "file with the certificates, or their keys, that let nobody in any more; authorized keys are not among them")
	fs.StringSliceVar(&c.Auth, "auth", []string{"publickey", "password"}, "the ways in: publickey, password, or publickey+password for both")
	fs.BoolVar(&c.Penalties, "penalties", true, "refuse sources that keep failing for a while, as sshd's PerSourcePenalties")
	fs.StringVar(&c.SourceBits, "penalty-sources", "32:64", "bits of an IPv4 and an IPv6 address that make a source, for penalties and limits, as sshd's PerSourceNetBlockSize")
	fs.StringSliceVar(&c.Exempt, "penalty-exempt", nil, "networks that are no source and never refused, such as 192.0.2.0/24, or a proxy's")
	fs.StringVar(&c.FailLog, "fail-log", "", "file to which failed logins are written in sshd's words, for fail2ban; it stays open: rotate it with copytruncate; - for stderr")
	fs.BoolVar(&c.Open, "open", false, "let everybody in without a password")
	c.Algorithms = "modern"
	fs.Var(&choice{&c.Algorithms, []string{"modern", "compat"}}, "algorithms", "modern, or compat for old clients too")
	c.Limits.addFlags(fs)
	c.Deadlines.addFlags(fs)
	fs.StringVar(&c.Message, "message", "", "file with the message (default \"This session is very simple.  Goodbye!\")")
	fs.StringVar(&c.Greeting, "greeting", "", "file with the greeting; {user} stands for the visitor, an empty file greets nobody")
	c.PTY = "refuse"
	fs.Var(&choice{&c.PTY, []string{"refuse", "accept"}}, "pty", "answer to a request for a terminal: refuse or accept")
	fs.IntVar(&c.LogRate, "log-rate", eventlog.Rate, "lines a second that strangers, and that those who are in, may write to the log; -1 for no bound")
	c.LogLevel = "info"
	fs.Var(&choice{&c.LogLevel, []string{"debug", "info", "warn", "error"}}, "log-level", "debug, info, warn or error")
	c.LogFormat = "auto"
	fs.Var(&choice{&c.LogFormat, []string{"auto", "text", "logfmt", "json"}}, "log-format", "text, logfmt or json; auto is text at a terminal, and logfmt elsewhere")
}

func (c *Config) addHostKeys(fs *pflag.FlagSet) {
	fs.StringVar(&c.HostKeys, "hostkeys", "hostkeys", "directory of the host keys")
}

func (c *Config) addPasswords(fs *pflag.FlagSet) {
	fs.StringVar(&c.Passwords, "passwords", passwords.DefaultPath, "file of the users and their passwords")
}

func (c *Config) addKeys(fs *pflag.FlagSet) {
	fs.StringVar(&c.Keys, "authorized-keys", "authorized_keys.d", "directory of the users' keys, a file for each in sshd's format")
}

// fromEnvironment sets each flag that was not given from the variable of its name: --log-level from FOYER_LOG_LEVEL.
// An empty variable counts as none, as compose files make them. Other variables that begin with FOYER_ are left alone:
// Kubernetes makes some for a service of that name.
func fromEnvironment(fs *pflag.FlagSet, getenv func(string) string) error {
	var problem error
	fs.VisitAll(func(f *pflag.Flag) {
		name := "FOYER_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value := getenv(name)
		if value == "" || f.Changed || problem != nil || slices.Contains([]string{"help", "version"}, f.Name) {
			return
		}
		if err := fs.Set(f.Name, value); err != nil {
			problem = cli.Usage(fmt.Errorf("environment variable %s: %w", name, cli.Unfit(err)))
		}
	})
	return problem
}

// Validate reports the first setting that cannot be.
func (c *Config) Validate() error {
	_, port, err := net.SplitHostPort(c.Listen)
	if err == nil {
		if _, notNumber := strconv.ParseUint(port, 10, 16); notNumber != nil {
			err = fmt.Errorf("port %q is not a number up to 65535", port)
		}
	}
	if err != nil {
		return cli.Misuse("say host:port or :port, as in --listen :2022", "listen address %q: %w", c.Listen, bare(err))
	}
	if _, err := c.exempt(); err != nil {
		return cli.Misuse("say networks like 192.0.2.0/24,2001:db8::/32", "penalty-exempt: %w", err)
	}
	if bits4, bits6 := c.sources(); bits4 < 1 || bits4 > 32 || bits6 < 1 || bits6 > 128 {
		return cli.Misuse("say bits of IPv4:IPv6, as in --penalty-sources 32:64", "penalty-sources: %q", c.SourceBits)
	}
	for _, method := range strings.Split(strings.Join(c.Auth, "+"), "+") {
		if method != "password" && method != "publickey" {
			return cli.Misuse("say --auth publickey,password, or publickey+password to ask for both", "auth: unknown method %q", method)
		}
	}
	if err := cmp.Or(c.Limits.validate(), c.Deadlines.validate()); err != nil {
		return err
	}
	if c.UserCA == "" && c.Revoked != "" {
		return cli.Misuse("add --user-ca FILE", "a revocation list without authorities")
	}
	return nil
}

// sources returns how many bits of an address make a source, and 0 where that cannot be read.
func (c *Config) sources() (bits4, bits6 int) {
	four, six, _ := strings.Cut(c.SourceBits, ":")
	bits4, _ = strconv.Atoi(four)
	bits6, _ = strconv.Atoi(six)
	return bits4, bits6
}

// exempt returns the networks that pay no penalties.
func (c *Config) exempt() (networks []netip.Prefix, err error) {
	for _, text := range c.Exempt {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("%q is no network", text)
		}
		networks = append(networks, network)
	}
	return networks, nil
}

// bare returns what is wrong with an address without the address.
func bare(err error) error {
	var addr *net.AddrError
	if errors.As(err, &addr) {
		return errors.New(addr.Err)
	}
	return err
}

// logger returns the log that w takes, and the page that its lines can wait on, if it is not for people. Text is: it
// costs ten times what logfmt does.
func (c *Config) logger(w io.Writer) (*log.Logger, *eventlog.Page) {
	level, _ := log.ParseLevel(c.LogLevel) // choice lets no other one in
	options := log.Options{Level: level, ReportTimestamp: true}
	format := c.LogFormat
	if format == "auto" {
		format = "logfmt"
		if file, ok := w.(*os.File); ok && term.IsTerminal(file.Fd()) {
			format = "text"
		}
	}
	if format == "text" {
		options.TimeFormat = "15:04:05"
		return log.NewWithOptions(w, options), nil
	}
	options.Formatter, options.TimeFormat = log.LogfmtFormatter, "2006-01-02T15:04:05.000Z07:00"
	if format == "json" {
		options.Formatter = log.JSONFormatter
	}
	page := eventlog.NewPage(w)
	logger := log.NewWithOptions(page, options)
	// These formats have no colours. To look for some in order to take them out costs a fifth of each line, and nobody
	// else's can be there: both escape control characters, after package clean has taken them out.
	logger.SetColorProfile(colorprofile.TrueColor)
	return logger, page
}

// message returns what a shell is answered with.
func (c *Config) message() (string, error) {
	if c.Message == "" {
		return middleware.SimpleMessage, nil
	}
	return readText("message", c.Message)
}

// greeting returns what a person is greeted with.
func (c *Config) greeting() (string, error) {
	if c.Greeting == "" {
		return middleware.DefaultGreeting, nil
	}
	return readText("greeting", c.Greeting)
}

// maxText bounds a message or a greeting, which stay in memory and are sent to every visitor.
const maxText = 1 << 20

// readText reads a file that an operator wrote.
func readText(what, path string) (string, error) {
	text, err := watchfile.ReadFile(path, maxText, 0)
	if err != nil {
		return "", fmt.Errorf("read the %s: %w", what, err)
	}
	return text, nil
}

// choice is a flag that takes one of a few words.
type choice struct {
	value *string
	of    []string
}

func (c *choice) String() string { return *c.value }
func (c *choice) Type() string   { return "string" }

func (c *choice) Set(word string) error {
	if !slices.Contains(c.of, word) {
		return fmt.Errorf("%q is not one of %s", word, strings.Join(c.of, ", "))
	}
	*c.value = word
	return nil
}
