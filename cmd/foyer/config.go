package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/term"
	"github.com/spf13/pflag"

	"foyer/cmd/cli"
	"foyer/middleware"
	"foyer/middleware/auth/passwords"
	"foyer/middleware/eventlog"
	"foyer/middleware/server"
	"foyer/middleware/watchfile"
)

// Config holds all settings. The types in values.go parse and check what is more than a string or a number, when it is set. Paths are relative to
// the working directory.
type Config struct {
	server.Config
	Passwords  string        // file
	Plaintext  bool          // accept plain-text passwords in Passwords
	Remember   time.Duration // how long a verified password is remembered
	Keys       string        // directory
	UserCA     string        // file, or ""
	Revoked    string        // file, or ""
	Auth       []string      // accepted combinations of authentication methods
	Penalties  bool          // block sources that fail to authenticate too often
	FailLog    string        // file, "-" for stderr, or ""
	Open       bool          // let everybody in
	Algorithms string        // one of middleware.AlgorithmSets
	Message    string        // file, or "" for the simple message
	Greeting   string        // file, or "" for the default greeting
	PTY        string        // "refuse" or "accept"
	LogFormat  string        // "auto", or one of eventlog.Formats
}

// addFlags adds all settings of the server to fs, with their defaults.
func (c *Config) addFlags(fs *pflag.FlagSet) {
	cli.Group(fs, "listening", c.addListen)
	cli.Group(fs, "who gets in", c.addAccess)
	cli.Group(fs, "what is said", c.addTexts)
	cli.Group(fs, "the log", c.addLog)
	cli.Group(fs, "limits", c.addLimits)
	cli.Group(fs, "penalties", c.addPenalties)
	cli.Group(fs, "deadlines", c.addDeadlines)
}

func (c *Config) addListen(fs *pflag.FlagSet) {
	c.Listen = ":2022"
	fs.Var(address{&c.Listen}, "listen", "address to listen on")
	c.addHostKeys(fs)
}

func (c *Config) addHostKeys(fs *pflag.FlagSet) {
	fs.StringVar(&c.HostKeys, "hostkeys", "hostkeys", "`directory` of the host keys")
	c.Algorithms = "default"
	fs.Var(choice{&c.Algorithms, middleware.AlgorithmSets}, "algorithms", "compat serves old clients too; see foyer help algorithms")
}

func (c *Config) addPasswords(fs *pflag.FlagSet) {
	fs.StringVar(&c.Passwords, "passwords", passwords.DefaultPath, "`file` with the users and their passwords")
}

func (c *Config) addPlaintext(fs *pflag.FlagSet) {
	fs.BoolVar(&c.Plaintext, "plaintext-passwords", false, "accept plain-text passwords in the file, with a warning")
}

func (c *Config) addKeys(fs *pflag.FlagSet) {
	fs.StringVar(&c.Keys, "authorized-keys", defaultKeys, "`directory` with the users' keys, one file in sshd's format for each user")
}

const defaultKeys = "authorized_keys.d"

// keysProblem returns err, the error of the directory of keys, unless that is the default one, which may be missing.
func (c *Config) keysProblem(err error) error {
	if c.Keys == defaultKeys && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (c *Config) addAccess(fs *pflag.FlagSet) {
	c.addPasswords(fs)
	c.addKeys(fs)
	c.addPlaintext(fs)
	c.Remember = passwords.DefaultRemember
	fs.Var(duration{&c.Remember, 0}, "remember-passwords", "how long a verified password is kept in memory as a MAC; 0 to disable")
	fs.StringVar(&c.UserCA, "user-ca", "", "`file` with public keys of authorities whose user certificates are accepted")
	fs.StringVar(&c.Revoked, "revoked", "", "`file` with revoked certificates or their keys; does not apply to authorized keys")
	fs.Var(newCombinations(&c.Auth, "publickey", "password"), "auth", "accepted methods: publickey, password, keyboard-interactive, or publickey+password to require both")
	fs.BoolVar(&c.Open, "open", false, "let everybody in without a password")
}

func (c *Config) addPenalties(fs *pflag.FlagSet) {
	fs.BoolVar(&c.Penalties, "penalties", true, "block sources for a while if they fail to authenticate too often, as sshd's PerSourcePenalties")
	c.Networks.Bits4, c.Networks.Bits6 = 32, 64
	fs.Var(sourceBits{&c.Networks}, "penalty-sources", "bits of an IPv4 and of an IPv6 address that identify a source, for penalties and limits, as sshd's PerSourceNetBlockSize")
	fs.Var(networks{&c.Networks.Exempt}, "penalty-exempt", "networks exempt from penalties and per-source limits, such as 192.0.2.0/24")
	fs.StringVar(&c.FailLog, "fail-log", "", "`file` for failed logins in sshd's log format, for fail2ban; rotate it with copytruncate; - for stderr")
}

func (c *Config) addLimits(fs *pflag.FlagSet) {
	fs.Var(count{&c.Connections, 0}, "max-connections", "connections at once (default: 64 less than the file descriptor limit, at most 4096)")
	fs.Var(count{&c.PerSource, 0}, "max-connections-per-source", "connections at once from one source (default: half of them)")
	fs.Var(count{&c.Unauthenticated, 0}, "max-unauthenticated", "unauthenticated connections at once; above it the one on which least was spent is disconnected (default: half, at most 1024)")
	fs.Var(count{&c.UnauthenticatedPerSource, 0}, "max-unauthenticated-per-source", "unauthenticated connections at once from one source (default: half of those)")
	c.Sessions, c.SessionsEver = server.DefaultSessions, server.DefaultSessionsEver
	fs.Var(count{&c.Sessions, 1}, "max-sessions", "sessions at once on a connection, as sshd's MaxSessions")
	fs.Var(count{&c.SessionsEver, 1}, "max-sessions-ever", "sessions in total on a connection")
}

func (c *Config) addDeadlines(fs *pflag.FlagSet) {
	const least = time.Millisecond
	c.Deadlines = server.Deadlines{}.WithDefaults()
	fs.Var(duration{&c.Handshake, least}, "handshake-timeout", "how long a client may take to authenticate, as sshd's LoginGraceTime")
	fs.Var(duration{&c.Idle, least}, "idle-timeout", "how long a connection may be without a session")
	fs.Var(optionalLimit{duration{&c.Session, 0}}, "session-timeout", "how long a session may last; 0 for no limit")
	fs.Var(duration{&c.Unread, least}, "unread-timeout", "how long a client may leave output unread")
	fs.Var(duration{&c.Keepalive, time.Second}, "keepalive", "interval between keepalives; a connection is closed after three unanswered intervals")
	fs.Var(duration{&c.Drain, least}, "drain-timeout", "how long sessions may continue after foyer is told to stop")
}

func (c *Config) addTexts(fs *pflag.FlagSet) {
	fs.StringVar(&c.Message, "message", "", "`file` with the message (default \"This session is very simple.  Goodbye!\")")
	fs.StringVar(&c.Greeting, "greeting", "", "`file` with the greeting; {user} is the visitor's name; an empty file disables it")
	c.PTY = "refuse"
	fs.Var(choice{&c.PTY, []string{"refuse", "accept"}}, "pty", "answer to a request for a terminal")
}

func (c *Config) addLog(fs *pflag.FlagSet) {
	fs.IntVar(&c.Rate, "log-rate", eventlog.DefaultRate, "log `lines` a second, counted apart for unauthenticated and authenticated connections; -1 for no limit")
	fs.Var(level{&c.Level}, "log-level", "the least level of a line")
	c.LogFormat = "auto"
	fs.Var(choice{&c.LogFormat, append([]string{"auto"}, eventlog.Formats...)}, "log-format", "auto is text on a terminal and logfmt otherwise")
}

// check returns an error for settings that contradict each other.
func (c *Config) check() error {
	if c.UserCA == "" && c.Revoked != "" {
		return cli.Misuse("add --user-ca FILE", "--revoked requires --user-ca")
	}
	return nil
}

// offers reports whether a method is a part of what --auth accepts.
func (c *Config) offers(method string) bool {
	return slices.ContainsFunc(c.Auth, func(combination string) bool {
		return slices.Contains(strings.Split(combination, "+"), method)
	})
}

// useLog makes the server log to w.
func (c *Config) useLog(w io.Writer) {
	c.Writer, c.Format = w, c.LogFormat
	if c.LogFormat == "auto" {
		c.Format = "logfmt"
		if file, ok := w.(*os.File); ok && term.IsTerminal(file.Fd()) {
			c.Format = "text"
		}
	}
}

// environment begins the names of the environment variables.
const environment = "FOYER"

// fromEnvironment sets each flag that is not on the command line from its environment variable: --log-level from
// FOYER_LOG_LEVEL. Empty variables are ignored, because compose files create them. Other variables that begin with
// FOYER_ are ignored too, because Kubernetes creates some for a service of that name.
func fromEnvironment(fs *pflag.FlagSet, getenv func(string) string) error {
	var problem error
	fs.VisitAll(func(f *pflag.Flag) {
		name := cli.Variable(environment, f.Name)
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

// message returns the message.
func (c *Config) message() (string, error) {
	if c.Message == "" {
		return middleware.SimpleMessage, nil
	}
	return readText("message", c.Message, maxMessage)
}

// greeting returns the greeting.
func (c *Config) greeting() (string, error) {
	if c.Greeting == "" {
		return middleware.DefaultGreeting, nil
	}
	return readText("greeting", c.Greeting, maxGreeting)
}

// The largest message and greeting, in bytes. All visitors share the message. A greeting is laid out for each of them.
const (
	maxMessage  = 1 << 20
	maxGreeting = 16 << 10
)

// readText reads a text file of the operator.
func readText(what, path string, limit int64) (string, error) {
	text, err := watchfile.ReadFile(path, limit, 0)
	if err != nil {
		return "", fmt.Errorf("read the %s: %w", what, err)
	}
	return text, nil
}
