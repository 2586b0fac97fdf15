package markdown

import (
	"errors"
	"regexp"
	"strings"
	"sync"
	"testing"
	"unicode"

	"github.com/charmbracelet/x/ansi"
	"github.com/yuin/goldmark/ast"

	"foyer/middleware/content/placeholder"
)

// values are those of a visitor who tries to write markup.
type values map[string]string

func (v values) Value(name string) string { return v[name] }

var visitor = values{"user": "*ada* [x](http://evil)", "server": "example.org", "key": "a/b ?"}

func page(t *testing.T, source string) *Page {
	t.Helper()
	p, err := Parse(source)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestLayoutPlain(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"empty", "", ""},
		{"headings", "# Title\n\nPart\n---\n\n### Small", "Title\n=====\n\nPart\n----\n\nSmall"},
		{"emphasis", "an *important* and **urgent** word", "an important and\nurgent word"},
		{"wrapped", "one two three four five six seven eight", "one two three four\nfive six seven eight"},
		{"a long word", strings.Repeat("x", 25) + " y", strings.Repeat("x", 20) + "\nxxxxx y"},
		{"wide characters", "漢字かな漢字かな漢字かな", "漢字かな漢字かな漢字\nかな"},
		{"wide behind narrow", "a 漢字かな漢字かな漢字かな", "a 漢字かな漢字かな漢\n字かな"},
		{"wide next to narrow", "x aaaaaaaaaaaaaaaaa漢", "x aaaaaaaaaaaaaaaaa\n漢"},
		{"combining characters", strings.Repeat("e\u0301", 20) + " x", strings.Repeat("e\u0301", 20) + "\nx"},
		{"emoji", strings.Repeat("👩‍👩‍👧", 11), strings.Repeat("👩‍👩‍👧", 10) + "\n👩‍👩‍👧"},
		{"breaks", "one  \ntwo\\\nthree\nfour", "one\ntwo\nthree four"},
		{"code span", "run `git clone`", "run `git clone`"},
		{"code", "```sh\n\tgit clone {server}:a\n  b\n```", "        git clone example.org:a\n      b"},
		{"indented code", "    a  b", "    a  b"},
		{"quote", "> one two three four five\n>\n> > six", "> one two three four\n> five\n>\n> > six"},
		{"tight list", "- a\n- b\n  - c\n", "- a\n- b\n  - c"},
		{"loose list", "- a\n\n- b", "- a\n\n- b"},
		{"ordered list", "9. a\n10. b\n    c", "9.  a\n10. b c"},
		{"wrapped item", "1. one two three four five six", "1. one two three\n   four five six"},
		{"empty item", "-\n- a", "-\n- a"},
		{"code in an item", "- a\n\n      b", "- a\n\n      b"},
		{"thematic break", "a\n\n***", "a\n\n--------------------"},
		{"link", "[docs](https://example.org/a)", "docs\n(https://example.org\n/a)"},
		{"autolink", "<https://a.org>", "https://a.org"},
		{"mail", "<ada@example.org>", "ada@example.org"},
		{"reference", "[docs]\n\n[docs]: ssh://a", "docs (ssh://a)"},
		{"unsafe link", "[docs](javascript:alert) [file](/etc/passwd)", "docs file"},
		{"long address", "[a](ssh://" + strings.Repeat("b", maxAddress) + ")", "a"},
		{"image", "![logo](https://a/b)", "logo (https://a/b)"},
		{"spaces in an address", "[a](<ssh://b c\u00e9>)", "a\n(ssh://b%20c%C3%A9)"},
		{"html", "ssh <user>@host &lt;b&gt;\n\n<div>a</div>", "ssh <user>@host <b>\n\n<div>a</div>"},
		{"escapes", `\*a\* &amp;amp; \&amp;`, "*a* &amp; &amp;"},
		{"control characters", "a&#27;[2J&#x9b;b&#7;", "a[2Jb"},
		{"table", "| A | Long |\n|--:|:-:|\n| 1 | x |\n| 22 | yyy |", " A | Long\n---+-----\n 1 |  x\n22 | yyy"},
		{"wrapped table", "| A | Text |\n|---|---|\n| 1 | one two three four |", "A | Text\n--+-----------------\n1 | one two three\n  | four"},
		{"narrow table", "|a|b|c|d|\n|-|-|-|-|\n|1|2|3|4|\n|5|||8|", "a: 1\nb: 2\nc: 3\nd: 4\n\na: 5\nb:\nc:\nd: 8"},
		{"placeholder", "Hi {user}!", "Hi *ada*\n[x](http://evil)!"},
		{"placeholder in code", "`ssh {server}`", "`ssh example.org`"},
		{"placeholder in an address", "[a](ssh://b/{key})", "a\n(ssh://b/a%2Fb%20%3F\n)"},
		{"placeholder as an address", "[a]({server})", "a"},
		{"braces", `{{user} {{ } { "a": 1 } \{user}`, "{user} { } { \"a\": 1\n} {user}"},
		{"placeholder in emphasis", "**{server}**", "example.org"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := page(t, tt.in).Layout(20, Plain, visitor); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestLayoutStyled(t *testing.T) {
	for _, tt := range []struct {
		name    string
		profile Profile
		in      string
		want    string
	}{
		{"heading", ANSI, "# A", "\x1b[1;35mA\x1b[m"},
		{"emphasis", ANSI, "*a* **b *c***", "\x1b[3ma\x1b[m \x1b[1mb\x1b[m \x1b[1;3mc\x1b[m"},
		{"one style", ANSI, "**a b**", "\x1b[1ma b\x1b[m"},
		{"a style on two lines", ANSI, "**one two three four five**", "\x1b[1mone two three four\x1b[m\n\x1b[1mfive\x1b[m"},
		{"code", ANSI, "`a`\n\n    b", "\x1b[36ma\x1b[m\n\n    \x1b[36mb\x1b[m"},
		{"link without links", ANSI, "[a](ssh://b)", "\x1b[4ma\x1b[m (ssh://b)"},
		{"link", Links, "[a](ssh://b)", "\x1b]8;;ssh://b\x07\x1b[4ma\x1b[m\x1b]8;;\x07"},
		{"link that would end itself", Links, "[a](<ssh://b\u009c&#7;;x>)", "\x1b]8;;ssh://b%C2%9C%07;x\x07\x1b[4ma\x1b[m\x1b]8;;\x07"},
		{"mail", Links, "<a@b.org>", "\x1b]8;;mailto:a@b.org\x07\x1b[4ma@b.org\x1b[m\x1b]8;;\x07"},
		{"list", ANSI, "- a", "• a"},
		{"quote", ANSI, "> a", "│ a"},
		{"table", ANSI, "|a|b|\n|-|-|\n|c|d|", "\x1b[1ma\x1b[m │ \x1b[1mb\x1b[m\n──┼──\nc │ d"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := page(t, tt.in).Layout(20, tt.profile, visitor); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		line     int
		want     string
	}{
		{"unknown placeholder", "a\n\nb {usr}", 3, "unknown placeholder {usr}"},
		{"in code", "```\na\n{usr}\n```", 3, "unknown placeholder {usr}"},
		{"in an address", "a\n[b](ssh://{usr})", 2, "unknown placeholder {usr}"},
		{"quotes", "a\n\n" + strings.Repeat(">", 17) + "b", 3, "nested too deeply"},
		{"more quotes", strings.Repeat("> ", 1000) + "b", 1, "nested too deeply"},
		{"lists", strings.Repeat("- ", 17) + "b", 1, "nested too deeply"},
		{"emphasis", "a" + strings.Repeat("*a ", 40) + strings.Repeat("a* ", 40), 1, "nested too deeply"},
		{"lines", strings.Repeat("\n", maxLines) + "x", maxLines + 1, "more than 5000 lines"},
		{"brackets", "a\n" + strings.Repeat("[", maxSpecial+1), 2, "more than 4096 characters"},
		{"line", "a\n" + strings.Repeat("x", maxLine+1), 2, "more than 8192 bytes"},
		{"columns", "a\n" + strings.Repeat("|-", 17) + "|", 2, "more than 16 columns"},
		{"cells", "|a|b|\n|-|-|\n" + strings.Repeat("|c\n", 1000), 1002, "more than 2000 cells"},
		{"size", strings.Repeat("x", MaxSize+1), 0, "is larger than 256 KiB"},
		{"layout of values", strings.Repeat("{user}{user}\n", 4000), 0, "is larger than 1024 KiB when it is laid out"},
		{"layout", strings.Repeat("[a] [b]\n", 1000) + "\n\n[a]: http://" + strings.Repeat("x", 2000) + "\n[b]: ssh://" + strings.Repeat("x", 2000), 0, "is larger than 1024 KiB when it is laid out"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse(tt.in)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
			problem, ok := errors.AsType[*placeholder.Error](err)
			if tt.line == 0 && ok || tt.line > 0 && (!ok || problem.Line != tt.line) {
				t.Errorf("error %v, want line %d", err, tt.line)
			}
		})
	}
}

// A thematic break of many characters is not a list of lists, and a row of dashes is not either.
func TestParseRules(t *testing.T) {
	for _, source := range []string{strings.Repeat("- ", 60), strings.Repeat("*", 60), strings.Repeat("-", 60) + "|---", "a|b\n" + strings.Repeat("-", 60) + "|---"} {
		page(t, source)
	}
}

// Values that are longer than expected, or a width at which a table needs more room, cannot make a huge layout.
func TestLayoutIsCut(t *testing.T) {
	p := page(t, strings.Repeat("{key}\n\n", 400))
	if got := len(p.Layout(80, Links, values{"key": strings.Repeat("x", 10000)})); got > maxLayout || got < maxLayout/2 {
		t.Errorf("%d bytes", got)
	}
}

func TestCache(t *testing.T) {
	var c Cache
	fixed, shared, own := page(t, "a"), page(t, "{server}"), page(t, "{user}")
	for _, tt := range []struct {
		page   *Page
		width  int
		values values
		want   string
		kept   int
	}{
		{fixed, 80, visitor, "a", 1},
		{fixed, 80, values{"user": "b"}, "a", 1},
		{fixed, 70, visitor, "a", 2},
		{fixed, 1, visitor, "a", 3},
		{fixed, MinWidth, visitor, "a", 3},
		{shared, 80, visitor, "example.org", 4},
		{shared, 80, values{"server": "b"}, "b", 5},
		{own, 80, values{"user": "b"}, "b", 5},
		{own, 80, values{"user": "c"}, "c", 5},
	} {
		if got := c.Layout(tt.page, tt.width, Plain, tt.values); got != tt.want || len(c.layouts) != tt.kept {
			t.Errorf("got %q, want %q; keeps %d layouts, want %d", got, tt.want, len(c.layouts), tt.kept)
		}
	}
}

// A page is laid out for several visitors at once; the race detector looks at it.
func TestLayoutConcurrently(t *testing.T) {
	p := page(t, "# a\n\n- `b` {user}\n\n|c|\n|-|\n|<https://d>|\n\n    e")
	var all sync.WaitGroup
	want := p.Layout(80, Links, visitor)
	for range 8 {
		all.Go(func() {
			if got := p.Layout(80, Links, visitor); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
	all.Wait()
}

func TestCacheIsBounded(t *testing.T) {
	var c Cache
	large := page(t, strings.Repeat("word\n\n", 2000))
	for i := range 3 * cacheLayouts {
		c.Layout([]*Page{page(t, "a"), large}[i%2], 20+i%50, Profile(i%3), visitor)
		sum := 0
		for _, text := range c.layouts {
			sum += len(text)
		}
		if sum != c.bytes || sum > cacheBytes || len(c.layouts) > cacheLayouts {
			t.Fatalf("%d layouts, %d bytes, counted %d", len(c.layouts), sum, c.bytes)
		}
	}
	if len(c.layouts) < 100 {
		t.Errorf("only %d layouts are kept", len(c.layouts))
	}
}

// No page and no value writes a control character, and no line of a paragraph is wider than the terminal.
func FuzzLayout(f *testing.F) {
	for _, source := range []string{
		"# a\n\n*b* **c** `d` {user} {{ [e](ssh://f) ![g](http://h)\n\n> i\n\n- j\n  1. k\n\n|l|m|\n|-|:-:|\n|n|o|",
		"a&#27;]8;;x&#7;", "漢字 👩‍👩‍👧 e\u0301", "[a](<ssh://b\u009c;x>)", "\\{user} {usr}", "```\n\t{key}\n```", strings.Repeat("> - ", 20),
	} {
		f.Add(source, 20, "ada\x1b[2J")
	}
	f.Fuzz(func(t *testing.T, source string, width int, user string) {
		p, err := Parse(source)
		if err != nil {
			return
		}
		for _, profile := range []Profile{Plain, ANSI, Links} {
			text := p.Layout(width, profile, values{"user": user, "key": user})
			if bad := strings.IndexFunc(withoutOwn(text), func(r rune) bool { return unicode.IsControl(r) && r != '\n' }); bad >= 0 && utf8Valid(source, user) {
				t.Fatalf("%d %q: control character in %q", profile, source, text)
			}
			l := newLayout(p, profile, values{"user": user, "key": user})
			for n := p.document.FirstChild(); n != nil; n = n.NextSibling() {
				if n.Kind() != ast.KindParagraph {
					continue
				}
				for _, line := range l.block(n, MinWidth, 0) {
					if got := ansi.StringWidth(line.text); got > MinWidth && utf8Valid(source, user) {
						t.Fatalf("%q: line %q is %d wide", source, line.text, got)
					}
				}
			}
		}
	})
}

func utf8Valid(texts ...string) bool {
	return strings.ToValidUTF8(strings.Join(texts, ""), "") == strings.Join(texts, "")
}

var ownSequences = regexp.MustCompile("\x1b\\[[0-9;]*m|\x1b\\]8;;[!-~]*\x07")

// withoutOwn removes the renderer's own escape sequences.
func withoutOwn(text string) string {
	return ownSequences.ReplaceAllString(text, "")
}
