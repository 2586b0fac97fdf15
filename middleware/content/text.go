package content

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"foyer/middleware/content/markdown"
	"foyer/middleware/content/placeholder"
	"foyer/middleware/watchfile"
)

// Texts are the files with texts of one directory, and the layouts of those in Markdown. It is safe for concurrent use,
// except Open.
type Texts struct {
	dir   string
	warn  func(error)
	open  map[string]*Text
	cache markdown.Cache
}

// NewTexts returns the texts of a directory. Warn receives a [*watchfile.Error] for each new version of a file that is not
// used. It may be nil.
func NewTexts(dir string, warn func(error)) *Texts {
	return &Texts{dir: dir, warn: warn, open: make(map[string]*Text)}
}

// Text is a text with placeholders: a fixed one, or that of a file, which is read again when it changes. A file whose name
// ends in .md is Markdown, any other one is plain text.
type Text struct {
	cache *markdown.Cache
	fixed version
	file  *watchfile.Watched[version] // nil for a fixed text
}

// version is a text that was parsed.
type version struct {
	parts []placeholder.Part
	page  *markdown.Page // nil for plain text
	names []string       // of the placeholders
	size  int            // in bytes
}

// View is how Markdown is shown. The zero View is that for programs.
type View struct {
	Width   int // in columns; 0 if it is not known
	Profile markdown.Profile
}

// Plain returns a fixed text. Its error is a [*placeholder.Error].
func Plain(text string) (*Text, error) {
	fixed, err := parse("", text)
	if err != nil {
		return nil, err
	}
	return &Text{fixed: fixed}, nil
}

// Open returns the text of a file. Its error is a [*watchfile.Error].
func (t *Texts) Open(name string) (*Text, error) {
	path := name
	if !filepath.IsAbs(path) {
		path = filepath.Join(t.dir, path)
	}
	if known, ok := t.open[path]; ok {
		return known, nil
	}
	file, err := watchfile.Watch(path, markdown.MaxSize, parse, t.warn)
	if err != nil {
		return nil, err
	}
	t.open[path] = &Text{cache: &t.cache, file: file}
	return t.open[path], nil
}

func parse(path, text string) (version, error) {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	err := printable(text)
	var v version
	if err == nil && strings.EqualFold(filepath.Ext(path), ".md") {
		v.page, err = markdown.Parse(text)
	} else if err == nil {
		v.parts, err = placeholder.Parse(strings.TrimRight(text, "\n"))
	}
	if err != nil {
		return v, locate(path, err)
	}
	v.names, v.size = placeholder.NamesOf(v.parts), len(text)
	if v.page != nil {
		v.names = v.page.Names()
	}
	return v, nil
}

// locate returns an error in the text of a file with its line.
func locate(path string, err error) error {
	problem, ok := errors.AsType[*placeholder.Error](err)
	switch {
	case path == "":
		return err
	case ok:
		return &watchfile.Error{Path: path, Line: problem.Line, Err: problem.Err}
	}
	return &watchfile.Error{Path: path, Err: err}
}

// printable returns an error if text is not UTF-8 or has a control character: it could be an escape sequence.
func printable(text string) error {
	line := 1
	for i, r := range text {
		_, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return &placeholder.Error{Line: line, Err: errors.New("is not UTF-8")}
		case r == '\n':
			line++
		case unicode.IsControl(r) && r != '\t':
			return &placeholder.Error{Line: line, Err: fmt.Errorf("has the control character %U", r)}
		}
	}
	return nil
}

func (t *Text) current() version {
	if t.file == nil {
		return t.fixed
	}
	return t.file.Current()
}

// For returns the text as a visitor sees it, without a line end at its end. Group and until are the values of these
// placeholders; until may be zero. Lines end in a line feed.
func (t *Text) For(v *Visit, group string, until time.Time, view View) string {
	now := t.current()
	values := &values{v, group, until}
	if now.page == nil {
		return placeholder.Replace(now.parts, values)
	}
	if view.Width <= 0 {
		view.Width = markdown.ProgramWidth
	}
	return t.cache.Layout(now.page, view.Width, view.Profile, values)
}
