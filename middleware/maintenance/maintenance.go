// Package maintenance closes a server to its visitors for a while, without a restart: by a small file, the switch, which
// running servers see at once, and by date, as configured. It ends by itself.
package maintenance

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"foyer/middleware/content"
	"foyer/middleware/watchfile"
)

// Maintenance is whether a server is under maintenance, and what its visitors read then. It is safe for concurrent use.
type Maintenance struct {
	path   string
	groups map[string][]string
	texts  *content.Texts
	log    *slog.Logger
	dated  *content.Table // may be nil

	mu       sync.Mutex
	seen     watchfile.Version
	switched *content.Table // nil if the switch is off
	on       bool           // as it was logged last
}

// Config configures [Open].
type Config struct {
	Path   string              // of the switch
	Groups map[string][]string // the users of each group
	Dated  *content.Rule       // maintenance by date; may be nil
	Texts  *content.Texts
	Log    *slog.Logger
}

// Open returns the maintenance of a server. The switch may be off.
func Open(cfg Config) (*Maintenance, error) {
	m := &Maintenance{path: cfg.Path, groups: cfg.Groups, texts: cfg.Texts, log: cfg.Log}
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

// tables returns the tables of the switch and of the date. It costs one stat if nothing has changed.
func (m *Maintenance) tables(now time.Time) (tables []*content.Table) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.read(); err != nil {
		m.log.Error("file is invalid; keeping the last good version", "err", err)
	}
	visit, on := &content.Visit{Now: now}, false
	var until time.Time
	for _, table := range []*content.Table{m.switched, m.dated} {
		if table == nil {
			continue
		}
		tables = append(tables, table)
		if banner, found := table.Banner(visit); found && !on {
			on, until = true, banner.Rule.Until
		}
	}
	m.report(on, until)
	return tables
}

func (m *Maintenance) report(on bool, until time.Time) {
	if on == m.on {
		return
	}
	m.on = on
	switch {
	case !on:
		m.log.Info("maintenance off")
	case until.IsZero():
		m.log.Warn("maintenance on", "path", m.path)
	default:
		m.log.Warn("maintenance on", "path", m.path, "until", until.Format(time.RFC3339))
	}
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
	table, err := content.New(Settings(m.groups, m.texts, state.Rule()))
	if err == nil {
		m.switched = table
	}
	return err
}
