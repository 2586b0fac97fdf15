package main

import (
	"fmt"
	"io"
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

// Config is all that an operator can set. Each setting is parsed and checked where it is given, by its type in values.go.
// Paths are relative to the working directory.
type Config struct {
	server.Config
	Passwords  string        // file
	Plaintext  bool          // secrets in Passwords may be plain text
	Remember   time.Duration // how long a verified password is remembered
	Keys       string        // directory
	UserCA     string        // file, or ""
	Revoked    string        // file, or ""
	Auth       []string      // combinations of methods that let in
	Penalties  bool          // sources that keep failing are refused
	FailLog    string        // file, "-" for stderr, or ""
	Open       bool          // everybody is let in
	Algorithms string        // "modern" or "compat"
	Message    string        // file, or "" for the simple message
	Greeting   string        // file, or "" for the default greeting
	PTY        string        // "refuse" or "accept"
	LogFormat  string        // "auto", or one of eventlog.Formats
}

// addFlags puts every setting of the server on fs, with its default.
func (c *Config) addFlags(fs *pflag.FlagSet) {
	c.Listen = ":2022"
	fs.Var(address{&c.Listen}, "listen", "address to listen on")
	c.addHostKeys(fs)
	c.addAccess(fs)
	c.addPenalties(fs)
	c.addLimits(fs)
	c.addDeadlines(fs)
	c.addWords(fs)
	c.addLog(fs)
}

func (c *Config) addHostKeys(fs *pflag.FlagSet) {
	fs.StringVar(&c.HostKeys, "hostkeys", "hostkeys", "directory of the host keys")
	c.Algorithms = "modern"
	fs.Var(choice{&c.Algorithms, []string{"modern", "compat"}}, "algorithms", "modern, or compat for old clients too")
}

func (c *Config) addPasswords(fs *pflag.FlagSet) {
	fs.StringVar(&c.Passwords, "passwords", passwords.DefaultPath, "file of the users and their passwords")
}

func (c *Config) addKeys(fs *pflag.FlagSet) {
	fs.StringVar(&c.Keys, "authorized-keys", "authorized_keys.d", "directory of the users' keys, with a file for each user in sshd's format")
}

func (c *Config) addAccess(fs *pflag.FlagSet) {
	c.addPasswords(fs)
	c.addKeys(fs)
	fs.BoolVar(&c.Plaintext, "plaintext-passwords", false, "accept passwords that are not hashed, with a warning")
	c.Remember = passwords.DefaultRemember
	fs.Var(duration{&c.Remember, 0}, "remember-passwords", "how long a verified password is remembered in memory; 0 for not at all")
	fs.StringVar(&c.UserCA, "user-ca", "", "file with the public keys of the authorities whose user certificates let in")
	fs.StringVar(&c.Revoked, "revoked", "", "file with revoked certificates or their keys; it does not concern authorized keys")
	fs.Var(newCombinations(&c.Auth, "publickey", "password"), "auth", "methods that let in: publickey, password, or publickey+password to ask for both")
	fs.BoolVar(&c.Open, "open", false, "let everybody in without a password")
}

func (c *Config) addPenalties(fs *pflag.FlagSet) {
	fs.BoolVar(&c.Penalties, "penalties", true, "refuse sources that keep failing for a while, as sshd's PerSourcePenalties")
	c.Networks.Bits4, c.Networks.Bits6 = 32, 64
	fs.Var(sourceBits{&c.Networks}, "penalty-sources", "bits of an IPv4 and an IPv6 address that make a source, for penalties and limits, as sshd's PerSourceNetBlockSize")
	fs.Var(networks{&c.Networks.Exempt}, "penalty-exempt", "networks exempt from penalties and per-source limits, such as 192.0.2.0/24")
	fs.StringVar(&c.FailLog, "fail-log", "", "file for failed logins in sshd's words, for fail2ban; rotate it with copytruncate; - for stderr")
}

func (c *Config) addLimits(fs *pflag.FlagSet) {
	fs.Var(count{&c.Connections, 0}, "max-connections", "connections at once (default: the descriptor limit less 64, at most 4096)")
	fs.Var(count{&c.PerSource, 0}, "max-connections-per-source", "connections at once from one source (default: half of them)")
	fs.Var(count{&c.Unauthenticated, 0}, "max-unauthenticated", "unauthenticated connections at once; above it the oldest is disconnected (default: half, at most 1024)")
	fs.Var(count{&c.UnauthenticatedPerSource, 0}, "max-unauthenticated-per-source", "unauthenticated connections at once from one source (default: half of those)")
	c.Sessions, c.SessionsEver = server.DefaultSessions, server.DefaultSessionsEver
	fs.Var(count{&c.Sessions, 1}, "max-sessions", "sessions at once on a connection, as sshd's MaxSessions")
	fs.Var(count{&c.SessionsEver, 1}, "max-sessions-ever", "sessions in all on a connection")
}

func (c *Config) addDeadlines(fs *pflag.FlagSet) {
	const least = time.Millisecond
	c.Deadlines = server.Deadlines{}.WithDefaults()
	fs.Var(duration{&c.Handshake, least}, "handshake-timeout", "how long a client may take until it is authenticated, as sshd's LoginGraceTime")
	fs.Var(duration{&c.Idle, least}, "idle-timeout", "how long a connection may be without a session")
	fs.Var(forever{duration{&c.Session, 0}}, "session-timeout", "how long a session may last; 0 for no limit")
	fs.Var(duration{&c.Unread, least}, "unread-timeout", "how long a client may leave output unread")
	fs.Var(duration{&c.Keepalive, time.Second}, "keepalive", "how often a client is asked whether it is there; it is gone after three unanswered times")
	fs.Var(duration{&c.Drain, least}, "drain-timeout", "how long sessions may go on once foyer is told to stop")
}

func (c *Config) addWords(fs *pflag.FlagSet) {
	fs.StringVar(&c.Message, "message", "", "file with the message (default \"This session is very simple.  Goodbye!\")")
	fs.StringVar(&c.Greeting, "greeting", "", "file with the greeting; {user} stands for the visitor, an empty file greets nobody")
	c.PTY = "refuse"
	fs.Var(choice{&c.PTY, []string{"refuse", "accept"}}, "pty", "answer to a request for a terminal: refuse or accept")
}

func (c *Config) addLog(fs *pflag.FlagSet) {
	fs.IntVar(&c.Rate, "log-rate", eventlog.DefaultRate, "lines a second that strangers, and that visitors who are in, may write to the log; -1 for no limit")
	fs.Var(level{&c.Level}, "log-level", "debug, info, warn or error")
	c.LogFormat = "auto"
	fs.Var(choice{&c.LogFormat, append([]string{"auto"}, eventlog.Formats...)}, "log-format", "text, logfmt or json; auto is text at a terminal and logfmt elsewhere")
}

// check reports settings that do not fit together.
func (c *Config) check() error {
	if c.UserCA == "" && c.Revoked != "" {
		return cli.Misuse("add --user-ca FILE", "a revocation list without authorities")
	}
	return nil
}

// useLog has the server log to w.
func (c *Config) useLog(w io.Writer) {
	c.Writer, c.Format = w, c.LogFormat
	if c.LogFormat == "auto" {
		c.Format = "logfmt"
		if file, ok := w.(*os.File); ok && term.IsTerminal(file.Fd()) {
			c.Format = "text"
		}
	}
}

// fromEnvironment sets each flag that was not given from the variable of its name: --log-level from FOYER_LOG_LEVEL.
// An empty variable counts as none, as compose files make them. Other variables that begin with FOYER_ are ignored:
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
