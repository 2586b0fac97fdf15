package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/term"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"foyer/cmd/cli"
	"foyer/cmd/foyer/settings"
	"foyer/middleware"
	"foyer/middleware/auth/passwords"
	"foyer/middleware/eventlog"
	"foyer/middleware/maintenance"
	"foyer/middleware/server"
	"foyer/middleware/share"
	"foyer/middleware/watchfile"
)

// Config holds all settings. The types in values.go parse and check them when they are set. Paths are relative to the working
// directory.
type Config struct {
	server.Config
	File       string         // the file of settings
	ProxyFrom  []netip.Prefix // networks of proxies that send PROXY headers
	Passwords  string         // file
	Guest      string         // file with the password of firstUser, or "" to print one
	Plaintext  bool           // accept plain-text passwords in Passwords
	Remember   time.Duration  // how long a verified password is remembered
	Keys       string         // directory
	UserCA     string         // file, or ""
	Revoked    string         // file, or ""
	Auth       []string       // accepted combinations of authentication methods
	Penalties  bool           // block sources that fail to authenticate too often
	FailLog    string         // file, "-" for stderr, or ""
	Open       bool           // let everybody in
	Algorithms string         // one of middleware.AlgorithmSets
	Message    string         // file, or "" for the simple message
	Greeting   string         // file, or "" for the default greeting
	PTY        string         // "refuse" or "accept"
	LogFile    string         // file, or "" for stderr
	LogFormat  string         // "auto", or one of eventlog.Formats
	ServerName string         // or "" for the host's name

	MaintenanceUnready bool   // /readyz fails during maintenance
	MaintenanceFile    string // the switch of "foyer maintenance"

	rules rules

	Share             share.URL // "" if nothing is shared
	ShareName         string    // of the servers that share
	SharePasswordFile string    // file, or ""
	ShareKeyFile      string    // file, or ""

	settings *settings.Set
	flags    *pflag.FlagSet // of the command line
	// fileRequired is whether the file of settings must exist, even by its default name.
	fileRequired bool
}

// The default files.
const (
	defaultFile = "foyer.toml"
	defaultKeys = "authorized_keys.d"
)

// environment begins the names of the environment variables.
const environment = "FOYER"

// newConfig returns the default settings.
func newConfig() *Config {
	c := &Config{
		File: defaultFile, Passwords: passwords.DefaultPath, Remember: passwords.DefaultRemember, Keys: defaultKeys,
		Auth: []string{"publickey", "password"}, Penalties: true, Algorithms: "default", PTY: "refuse", LogFormat: "auto",
		MaintenanceFile: "maintenance.json",
	}
	c.ShareName = "foyer"
	c.Listen, c.HostKeys = []string{":2022"}, "hostkeys"
	c.Networks.Bits4, c.Networks.Bits6 = 32, 64
	c.Sessions, c.SessionsEver, c.Rate = server.DefaultSessions, server.DefaultSessionsEver, eventlog.DefaultRate
	c.Deadlines = server.Deadlines{}.WithDefaults()
	c.settings = settings.New(environment, c.groups()...)
	c.settings.AddTables(ruleTables()...)
	return c
}

// groups is THE LIST of settings.
func (c *Config) groups() []settings.Group {
	return []settings.Group{
		{Heading: "listening", Settings: c.listening()},
		{Heading: "what is said", Settings: c.said()},
		{Heading: "who gets in", Table: "auth", Settings: c.access()},
		{Heading: "the log", Table: "log", Settings: c.logging()},
		{Heading: "penalties", Table: "penalties", Settings: c.penalties()},
		{Heading: "limits", Table: "limits", Settings: c.limits()},
		{Heading: "deadlines", Table: "deadlines", Settings: c.deadlines()},
		{Heading: "several servers", Table: "share", Settings: c.sharing()},
		{Heading: "metrics and health", Table: "metrics", Settings: c.http()},
	}
}

func (c *Config) listening() []settings.Setting {
	return []settings.Setting{
		{Name: "listen", Value: newList(&c.Listen, "address", parseAddress, asIs), Everyday: true,
			Help: "address to listen on, or unix:PATH for a socket; may be given several times"},
		{Name: "proxy-from", Value: newList(&c.ProxyFrom, "networks", parseNetwork, netip.Prefix.String), Example: "192.0.2.7/32",
			Help: "networks of balancers, such as 192.0.2.7/32, whose connections must begin with a PROXY header; nobody else's may"},
		{Name: "hostkeys", Value: path{&c.HostKeys, "directory"}, Everyday: true, Help: "directory of the host keys"},
		{Name: "algorithms", Value: choice{&c.Algorithms, middleware.AlgorithmSets},
			Help: "set of cryptographic algorithms; compat serves old clients too; see foyer help algorithms"},
	}
}

func (c *Config) said() []settings.Setting {
	return []settings.Setting{
		{Name: "message", Value: path{&c.Message, "file"}, Example: "message.txt", Everyday: true,
			Help: "file with the message (default \"This session is very simple.  Goodbye!\")"},
		{Name: "greeting", Value: path{&c.Greeting, "file"}, Example: "greeting.txt", Everyday: true,
			Help: "file with the greeting; {user} is the visitor's name; an empty file disables it"},
		{Name: "pty", Value: choice{&c.PTY, []string{"refuse", "accept"}}, Everyday: true, Help: "answer to a request for a terminal"},
		{Name: "server-name", Value: path{&c.ServerName, "name"}, Example: "git.example.org",
			Help: "what {server} in a text stands for (default: the host's name)"},
		{Name: "maintenance-file", Value: path{&c.MaintenanceFile, "file"}, Help: "file with which foyer maintenance closes the server"},
		{Name: "maintenance-unready", Value: toggle{&c.MaintenanceUnready}, Help: "answer /readyz with a failure during maintenance"},
	}
}

func (c *Config) access() []settings.Setting {
	return []settings.Setting{
		{Name: "auth", Value: newList(&c.Auth, "methods", parseCombination, asIs), Everyday: true,
			Help: "accepted methods: publickey, password, keyboard-interactive, or publickey+password to require both"},
		{Name: "passwords", Value: path{&c.Passwords, "file"}, Everyday: true, Help: "file with the users and their passwords"},
		{Name: "guest-password-file", Value: path{&c.Guest, "file"}, Example: "/run/secrets/guest-password",
			Help: "file with the password of guest, the user that a first start creates (default: it prints one)"},
		{Name: "authorized-keys", Value: path{&c.Keys, "directory"}, Everyday: true,
			Help: "directory with the users' keys, one file in sshd's format for each user"},
		{Name: "user-ca", Value: path{&c.UserCA, "file"}, Example: "user_ca.pub",
			Help: "file with public keys of authorities whose user certificates are accepted"},
		{Name: "revoked", Value: path{&c.Revoked, "file"}, Example: "revoked_keys",
			Help: "file with revoked certificates or their keys; does not apply to authorized keys"},
		{Name: "open", Value: toggle{&c.Open}, Everyday: true, Help: "let everybody in without a password"},
		{Name: "plaintext-passwords", Value: toggle{&c.Plaintext}, Help: "accept plain-text passwords in the file, with a warning"},
		{Name: "remember-passwords", Value: duration{&c.Remember, 0, year},
			Help: "how long a verified password is kept in memory as a MAC; 0 to disable"},
	}
}

func (c *Config) logging() []settings.Setting {
	return []settings.Setting{
		{Name: "log", Value: path{&c.LogFile, "file"}, Example: "foyer.log", Everyday: true,
			Help: "file to log to, instead of stderr; opened again on SIGHUP, after it was rotated"},
		{Name: "log-level", Value: level{&c.Level}, Everyday: true, Help: "the least level of a line"},
		{Name: "log-format", Value: choice{&c.LogFormat, append([]string{"auto"}, eventlog.Formats...)}, Restart: true,
			Help: "format of the log; auto is text on a terminal and logfmt otherwise"},
		{Name: "log-rate", Value: count{&c.Rate, -1, 1_000_000},
			Help: "log lines a second, counted apart for unauthenticated and authenticated connections; -1 for no limit"},
		{Name: "fail-log", Value: path{&c.FailLog, "file"}, Example: "fail.log",
			Help: "file for failed logins in sshd's log format, for fail2ban; opened again on SIGHUP; - for stderr"},
	}
}

func (c *Config) penalties() []settings.Setting {
	return []settings.Setting{
		{Name: "penalties", Value: toggle{&c.Penalties},
			Help: "block sources for a while if they fail to authenticate too often, as sshd's PerSourcePenalties"},
		{Name: "penalty-sources", Value: sourceBits{&c.Networks},
			Help: "bits of an IPv4 and of an IPv6 address that identify a source, for penalties and limits, as sshd's PerSourceNetBlockSize"},
		{Name: "penalty-exempt", Value: newList(&c.Networks.Exempt, "networks", parseNetwork, netip.Prefix.String),
			Example: "192.0.2.0/24", Everyday: true, Help: "networks exempt from penalties and per-source limits, such as 192.0.2.0/24"},
	}
}

func (c *Config) sharing() []settings.Setting {
	return []settings.Setting{
		{Name: "share", Value: shareURL{&c.Share}, Example: "redis://localhost:6379", Restart: true, Everyday: true,
			Help: "Valkey or Redis in which servers share penalties, as redis://USER@HOST:PORT/DATABASE, or rediss:// for TLS; ?addr=HOST:PORT " +
				"names another node of a cluster, and with ?master_set=NAME the addresses are those of sentinels"},
		{Name: "share-name", Value: shareName{&c.ShareName}, Restart: true, Help: "name of the servers that share; keys begin with foyer:NAME:"},
		{Name: "share-password-file", Value: path{&c.SharePasswordFile, "file"}, Example: "share-password", Restart: true,
			Help: "file with the password for --share; read at each connection"},
		{Name: "share-key-file", Value: path{&c.ShareKeyFile, "file"}, Example: "share-key", Restart: true,
			Help: "file with a secret of 16 bytes or more, the same on all servers, with which addresses are hashed before they are shared"},
	}
}

// The highest limits of settings. They are far above what anybody needs, and keep a slip of the hand from being used.
const (
	maxCount = 1_000_000
	day      = 24 * time.Hour
	year     = 365 * day
)

func (c *Config) limits() []settings.Setting {
	return []settings.Setting{
		{Name: "max-connections", Value: count{&c.Connections, 0, maxCount}, Everyday: true,
			Help: "connections at once (default: 64 less than the file descriptor limit, at most 4096)"},
		{Name: "max-connections-per-source", Value: count{&c.PerSource, 0, maxCount},
			Help: "connections at once from one source (default: half of them)"},
		{Name: "max-unauthenticated", Value: count{&c.Unauthenticated, 0, maxCount},
			Help: "unauthenticated connections at once; above it the one on which least was spent is disconnected (default: half, at most 1024)"},
		{Name: "max-unauthenticated-per-source", Value: count{&c.UnauthenticatedPerSource, 0, maxCount},
			Help: "unauthenticated connections at once from one source (default: half of those)"},
		{Name: "max-sessions", Value: count{&c.Sessions, 1, maxCount}, Help: "sessions at once on a connection, as sshd's MaxSessions"},
		{Name: "max-sessions-ever", Value: count{&c.SessionsEver, 1, maxCount}, Help: "sessions in total on a connection"},
	}
}

func (c *Config) http() []settings.Setting {
	return []settings.Setting{
		{Name: "http", Value: httpAddress{&c.HTTP.Address}, Example: ":9090", Restart: true, Everyday: true,
			Help: "address of an HTTP listener with /metrics for Prometheus, /livez and /readyz; :9090 is on loopback"},
		{Name: "pprof", Value: toggle{&c.HTTP.Pprof}, Restart: true, Help: "also serve Go's profiles there, below /debug/pprof/"},
	}
}

func (c *Config) deadlines() []settings.Setting {
	const least = time.Millisecond
	return []settings.Setting{
		{Name: "handshake-timeout", Value: duration{&c.Handshake, least, day}, Help: "how long a client may take to authenticate, as sshd's LoginGraceTime"},
		{Name: "idle-timeout", Value: duration{&c.Idle, least, year}, Help: "how long a connection may be without a session"},
		{Name: "session-timeout", Value: optionalLimit{duration{&c.Session, 0, year}}, Everyday: true, Help: "how long a session may last; 0 for no limit"},
		{Name: "unread-timeout", Value: duration{&c.Unread, least, day}, Help: "how long a client may leave output unread"},
		{Name: "keepalive", Value: duration{&c.Keepalive, time.Second, day},
			Help: "interval between keepalives; a connection is closed after three unanswered intervals"},
		{Name: "drain-delay", Value: duration{&c.DrainDelay, 0, time.Hour},
			Help: "how long to go on accepting visitors after foyer is told to stop, while /readyz fails and balancers choose another server"},
		{Name: "drain-timeout", Value: duration{&c.Drain, least, day}, Help: "how long sessions may continue after foyer is told to stop"},
	}
}

// load reads the environment and the file, and returns all problems.
func (c *Config) load(fs *pflag.FlagSet, getenv func(string) string) (problems []error) {
	c.flags = fs
	required := fs.Changed("config") || c.fileRequired
	if file := getenv(cli.Variable(environment, "config")); file != "" && !required {
		c.File, required = file, true
	}
	problems = c.settings.Load(fs, getenv, c.File, required)
	problems = append(problems, c.readRules()...)
	if c.UserCA == "" && c.Revoked != "" {
		problems = append(problems, cli.Misuse("add --user-ca FILE", "--revoked requires --user-ca"))
	}
	if c.HTTP.Address == "" && c.HTTP.Pprof {
		problems = append(problems, cli.Misuse("add --http ADDRESS", "--pprof requires --http"))
	}
	if c.Share == "" && (c.SharePasswordFile != "" || c.ShareKeyFile != "") {
		problems = append(problems, cli.Misuse("add --share URL", "--share-password-file and --share-key-file require --share"))
	}
	for name, empty := range map[string]bool{"listen": len(c.Listen) == 0, "auth": len(c.Auth) == 0} {
		if empty {
			problems = append(problems, cli.Usage(fmt.Errorf("%s is empty", name)))
		}
	}
	return problems
}

// loaded returns the function of a command that reads the settings first, and fails if they are invalid.
func (c *Config) loaded(run func(*cobra.Command, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := errors.Join(c.load(cmd.Flags(), os.Getenv)...); err != nil {
			return err
		}
		return run(cmd, args)
	}
}

// keysProblem returns err, the error of the directory of keys, unless that is the default one, which may be missing.
func (c *Config) keysProblem(err error) error {
	if c.Keys == defaultKeys && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
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

// texts are the texts for visitors.
type texts struct {
	message, greeting middleware.Text
	said              *middleware.Content
	maintenance       *maintenance.Maintenance
	unpaged           bool // without the pager
	unready           bool // /readyz fails during maintenance
}

// The largest message and greeting, in bytes. All visitors share the message. A greeting is laid out for each of them.
const (
	maxMessage  = 1 << 20
	maxGreeting = 16 << 10
)

// openTexts reads the texts. Their files are read again when they change.
func openTexts(cfg *Config, logger *slog.Logger) (t texts, err error) {
	open := func(what, path, standard string, limit int64) (middleware.Text, error) {
		if path == "" {
			return middleware.Fixed(standard), nil
		}
		text, err := watchfile.WatchText(path, limit, func(err error) {
			logger.Error("file is invalid; keeping the last good version", problem(err)...)
		})
		if err != nil {
			return nil, fmt.Errorf("read the %s: %w", what, err)
		}
		return text, nil
	}
	var failed error
	t.message, err = open("message", cfg.Message, middleware.SimpleMessage, maxMessage)
	t.greeting, failed = open("greeting", cfg.Greeting, middleware.DefaultGreeting, maxGreeting)
	return t, errors.Join(err, failed)
}
