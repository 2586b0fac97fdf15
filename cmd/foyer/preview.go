package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"foyer/cmd/cli"
	"foyer/cmd/foyer/settings"
	"foyer/middleware/content"
	"foyer/middleware/eventlog/sanitize"
)

// previewed is the visit that a preview shows.
type previewed struct {
	user, request, command, term string
	groups                       []string
	groupsSet                    bool
	width                        int
	at, address, method, key     string
	explain, watch               bool

	now  time.Time
	from netip.Addr
}

func previewCommand(cfg *Config) *cobra.Command {
	v := &previewed{}
	cmd := &cobra.Command{
		Use:   "preview",
		Short: "Print what a visitor would see",
		Long: "Print what a visitor would see with these settings, by the code that serves, with stdout and stderr apart.\n" +
			"It needs no running server and changes nothing.",
		Example: "foyer preview --user alice --explain\nfoyer preview --command \"git-upload-pack 'old/site.git'\"\nfoyer preview --at 2026-12-06T02:00:00Z --request sftp",
		Args:    arguments,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		v.groupsSet = cmd.Flags().Changed("groups")
		if err := v.parse(time.Now()); err != nil {
			return err
		}
		show := func(w io.Writer) error {
			next := newConfig()
			next.File = cfg.File
			next.settings.Inherit(cfg.settings)
			if err := errors.Join(next.load(cmd.Flags(), os.Getenv)...); err != nil {
				return err
			}
			return v.show(cmd.Context(), next, w)
		}
		if err := errors.Join(cfg.load(cmd.Flags(), os.Getenv)...); err != nil && !v.watch {
			return err
		}
		if v.watch {
			return showAgain(cmd.Context(), cmd.OutOrStdout(), show)
		}
		return show(cmd.OutOrStdout())
	}
	v.addFlags(cmd)
	cfg.settings.AddFlags(cmd.Flags(), "pty", "message", "greeting", "server-name", "maintenance-file")
	return cmd
}

func (v *previewed) addFlags(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&v.user, "user", "guest", "`name` of the visitor")
	fs.StringSliceVar(&v.groups, "groups", nil, "`groups` that the visitor is in, instead of those in the file")
	fs.StringVar(&v.request, "request", "", "shell, exec or sftp (default: exec with --command, otherwise shell)")
	fs.StringVar(&v.command, "command", "", "`command` of the visitor")
	fs.StringVar(&v.term, "term", "xterm-256color", "`terminal` of the visitor; none for a program")
	fs.IntVar(&v.width, "width", 80, "`columns` of the terminal")
	fs.StringVar(&v.at, "at", "", "`time` of the visit, such as 2026-12-06T04:00:00Z (default: now)")
	fs.StringVar(&v.address, "address", "127.0.0.1", "`address` of the visitor")
	fs.StringVar(&v.method, "method", "password", "`method` with which the visitor has logged in")
	fs.StringVar(&v.key, "key", "", "`fingerprint` of the visitor's key")
	fs.BoolVar(&v.explain, "explain", false, "also say which rule is said, and why the others are not")
	fs.BoolVar(&v.watch, "watch", false, "print it again when it changes")
}

// parse parses the flags.
func (v *previewed) parse(now time.Time) (err error) {
	if v.request == "" {
		v.request = "shell"
		if v.command != "" {
			v.request = "exec"
		}
	}
	if !slices.Contains([]string{"shell", "exec", "sftp"}, v.request) || v.command != "" && v.request != "exec" {
		return cli.Misuse("use --request shell, sftp, or exec with --command", "--request: %q does not fit", v.request)
	}
	if v.from, err = netip.ParseAddr(v.address); err != nil {
		return cli.Usage(fmt.Errorf("--address: %q is not an address", v.address))
	}
	v.now = now
	if v.at != "" {
		if v.now, err = settings.ParseTime(v.at); err != nil {
			return cli.Usage(fmt.Errorf("--at: %w", err))
		}
	}
	if v.width < 1 || v.width > 1000 {
		return cli.Usage(fmt.Errorf("--width: %d is not a number from 1 to 1000", v.width))
	}
	return nil
}

// show prints what the visitor sees.
func (v *previewed) show(ctx context.Context, cfg *Config, w io.Writer) error {
	if err := v.join(cfg); err != nil {
		return err
	}
	texts, err := v.texts(cfg)
	if err != nil {
		return err
	}
	var known content.Visit
	texts.said.Adjust = func(of *content.Visit) {
		of.Now, of.Address = v.now, v.from
		if of.Request != "" { // not a banner
			of.Method, of.Key = v.method, v.key
			known = *of
		} else {
			known = content.Visit{User: v.user, Now: v.now, Address: v.from}
		}
	}
	seen, err := v.pay(ctx, cfg, texts)
	if err != nil {
		return fmt.Errorf("preview: %w", err)
	}
	seen.print(w)
	if v.explain {
		explain(w, texts, &known)
	}
	return nil
}

// join puts the visitor into the groups of the flags.
func (v *previewed) join(cfg *Config) error {
	if !v.groupsSet {
		return nil
	}
	groups := map[string][]string{}
	for name, users := range cfg.rules.Groups {
		groups[name] = slices.DeleteFunc(slices.Clone(users), func(user string) bool { return user == v.user })
	}
	for _, name := range v.groups {
		if _, known := groups[name]; !known {
			return cli.Usage(fmt.Errorf("--groups: unknown group %q", name))
		}
		groups[name] = append(groups[name], v.user)
	}
	cfg.rules.Groups = groups
	return nil
}

// texts opens everything that is said. The pager is left out, because it waits for keys.
func (v *previewed) texts(cfg *Config) (t texts, err error) {
	silent := slog.New(slog.DiscardHandler)
	if t, err = openTexts(cfg, silent); err != nil {
		return t, err
	}
	if t.said, err = openRules(cfg, silent); err != nil {
		return t, err
	}
	t.maintenance, err = openMaintenance(cfg, silent, nil)
	t.unpaged = true
	return t, err
}

// seen is what a visitor sees.
type seen struct {
	banner, stdout, stderr string
	status                 int
}

func (s seen) print(w io.Writer) {
	for _, part := range []struct{ name, text string }{{"banner", s.banner}, {"stderr", s.stderr}, {"stdout", s.stdout}} {
		if part.text != "" {
			fmt.Fprintf(w, "--- %s\n%s\n", part.name, strings.TrimRight(strings.ReplaceAll(part.text, "\r\n", "\n"), "\n"))
		}
	}
	fmt.Fprintf(w, "--- exit status %d\n", s.status)
}

// explain says what each rule has to do with the visit.
func explain(w io.Writer, texts texts, known *content.Visit) {
	_, closed := texts.maintenance.Page(known)
	_, answered := texts.said.Table.Answer(known)
	switch {
	case closed:
		fmt.Fprintln(w, "maintenance: is said instead of an answer")
	case !answered:
		fmt.Fprintln(w, "message: is said, because no answer fits")
	}
	for _, verdict := range texts.said.Table.Explain(known) {
		kind, why := "answer", "is said"
		if verdict.Notice {
			kind = "notice"
		}
		switch {
		case verdict.Key != "":
			why = fmt.Sprintf("is not said: %s does not hold (%s)", verdict.Key, verdict.At)
		case verdict.Notice && !known.Terminal:
			why = "is not said: the client asks for no terminal"
		case closed && !verdict.Notice:
			why = "is not said: the maintenance is"
		case !verdict.Said:
			why = "is not said: an earlier one is"
		}
		fmt.Fprintf(w, "%s %s: %s\n", kind, sanitize.String(verdict.Rule.At(""), 256), why)
	}
}

// watchInterval is how often a preview looks for changes.
const watchInterval = 500 * time.Millisecond

// showAgain prints what show prints, and again when it changes, until ctx is done.
func showAgain(ctx context.Context, w io.Writer, show func(io.Writer) error) error {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for last := ""; ; {
		var now bytes.Buffer
		if err := show(&now); err != nil {
			now.Reset()
			fmt.Fprintln(&now, "error:", err)
		}
		if now.String() != last {
			last = now.String()
			if _, err := io.WriteString(w, last); err != nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return nil
			}
			return ctx.Err()
		}
	}
}
