// Package maintenance closes a server to its visitors for a while, without a restart: by a small file, the switch, which
// running servers see at once; by a switch that several servers share; and by date, as configured. It ends by itself.
package maintenance

import (
	"cmp"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"foyer/middleware/content"
	"foyer/middleware/share"
	"foyer/middleware/watchfile"
)

// Maintenance is whether a server is under maintenance, and what its visitors read then. It is safe for concurrent use.
type Maintenance struct {
	path   string
	groups map[string][]string
	texts  *content.Texts
	log    *slog.Logger
	dated  *content.Table // may be nil
	shared func() *share.Switch

	mu       sync.Mutex
	seen     watchfile.Version
	switched *content.Table // nil if the switch is off
	last     *share.Switch
	together *content.Table // nil if the shared switch is off
	on       bool           // as it was logged last
}

// Config configures [Open].
type Config struct {
	Path   string               // of the switch
	Groups map[string][]string  // the users of each group
	Dated  *content.Rule        // maintenance by date; may be nil
	Shared func() *share.Switch // returns the switch that several servers share, or nil; it may be nil itself
	Texts  *content.Texts
	Log    *slog.Logger
}

// Open returns the maintenance of a server. The switch may be off.
func Open(cfg Config) (*Maintenance, error) {
	m := &Maintenance{path: cfg.Path, groups: cfg.Groups, texts: cfg.Texts, log: cfg.Log, shared: cfg.Shared}
	if m.shared == nil {
		m.shared = func() *share.Switch { return nil }
	}
	if cfg.Dated != nil {
		var err error
		if m.dated, err = content.New(Settings(cfg.Groups, cfg.Texts, *cfg.Dated)); err != nil {
			return nil, err
		}
	}
	return m, m.read()
}

// Page returns the page if the visitor gets it.
func (m *Maintenance) Page(v *content.Visit) (page content.Match, found bool) {
	for _, table := range m.tables(v.Now) {
		if page, found = table.Answer(v); found {
			break
		}
	}
	return page, found
}

// Banner returns the page as it is said before authentication.
func (m *Maintenance) Banner(v *content.Visit) (banner content.Match, found bool) {
	for _, table := range m.tables(v.Now) {
		if banner, found = table.Banner(v); found {
			break
		}
	}
	return banner, found
}

// On reports whether the server is under maintenance.
func (m *Maintenance) On(now time.Time) bool {
	_, on := m.Banner(&content.Visit{Now: now})
	return on
}

// tables returns the tables of the switches and of the date. It costs one stat if nothing has changed.
func (m *Maintenance) tables(now time.Time) (tables []*content.Table) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.read(); err != nil {
		m.log.Error("file is invalid; keeping the last good version", "err", err)
	}
	if err := m.readShared(); err != nil {
		m.log.Error("shared maintenance is invalid; keeping the last good version", "err", err)
	}
	visit, on, shared := &content.Visit{Now: now}, false, false
	var until time.Time
	for _, table := range []*content.Table{m.switched, m.together, m.dated} {
		if table == nil {
			continue
		}
		tables = append(tables, table)
		if banner, found := table.Banner(visit); found && !on {
			on, until = true, banner.Rule.Until
			shared = table == m.together
		}
	}
	m.report(on, until, shared)
	return tables
}

func (m *Maintenance) report(on bool, until time.Time, shared bool) {
	if on == m.on {
		return
	}
	m.on = on
	if !on {
		m.log.Info("maintenance off")
		return
	}
	facts := []any{"path", m.path}
	if shared {
		facts = []any{"shared", true}
	}
	if !until.IsZero() {
		facts = append(facts, "until", until.Format(time.RFC3339))
	}
	m.log.Warn("maintenance on", facts...)
}

// readShared reads the shared switch if it has changed. It returns the error of one that is invalid here, once.
func (m *Maintenance) readShared() error {
	now := m.shared()
	if now == m.last {
		return nil
	}
	m.last = now
	if now == nil || !now.On {
		m.together = nil
		return nil
	}
	state := State{Text: now.Text, Until: now.Until, ExceptGroups: now.ExceptGroups}
	var err error
	m.together, err = m.table(state, m.together)
	return err
}

// table returns the table of a switch that is on. If it cannot be said here, as if it names a group that this server does not
// know, it is the last good one. Without one everybody gets the default text: a server that was closed must not stay open.
func (m *Maintenance) table(state State, last *content.Table) (*content.Table, error) {
	table, err := content.New(Settings(m.groups, m.texts, state.Rule()))
	if err == nil || last != nil {
		return cmp.Or(table, last), err
	}
	closed, failed := content.New(Settings(m.groups, m.texts, State{Until: state.Until}.Rule()))
	return closed, errors.Join(err, failed)
}

// read reads the switch if it has changed. It returns the error of a new version that is invalid, once.
func (m *Maintenance) read() error {
	if _, err := os.Stat(m.path); errors.Is(err, fs.ErrNotExist) {
		m.seen, m.switched = watchfile.Version{}, nil
		return nil
	}
	if m.seen.Unchanged(nil, m.path) {
		return nil
	}
	text, seen, err := watchfile.ReadVersion(nil, m.path, m.path, maxState)
	last := m.seen
	m.seen = seen
	if seen.Same(last) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	state, err := parse(m.path, text)
	if err != nil {
		return err
	}
	m.switched, err = m.table(state, m.switched)
	return err
}
