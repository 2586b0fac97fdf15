package markdown

import (
	"bufio"
	"fmt"
	stdhtml "html"
	"net/url"
	"slices"
	"strings"

	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/renderer/html"

	"foyer/middleware/content/placeholder"
)

// style is a set of ways to show a text.
type style uint8

const (
	bold style = 1 << iota
	italic
	underlined
	asCode
	asHeading
)

// profiles is a set of profiles.
type profiles uint8

func all(ps ...Profile) (set profiles) {
	for _, p := range ps {
		set |= 1 << p
	}
	return set
}

// span is a piece of text in one style.
type span struct {
	placeholder.Part
	style style
	link  *address // where the text leads
	shown *address // stands in place of the text
	only  profiles // the profiles that show it; 0 for all
}

func (c *compiler) inline(parent ast.Node, s style, depth int) (spans []span) {
	if depth > 2*maxDepth {
		c.fail(parent.Pos(), errDepth)
		return nil
	}
	for n := parent.FirstChild(); n != nil; n = n.NextSibling() {
		switch n := n.(type) {
		case *ast.Text:
			spans = append(spans, plainText(n, c.source, s)...)
		case *ast.String:
			spans = append(spans, literal(string(n.Value), s))
		case *brace:
			spans = append(spans, c.brace(n, s))
		case *ast.CodeSpan:
			spans = append(spans, c.codeSpan(n, s|asCode)...)
		case *ast.Emphasis:
			emphasis := [...]style{italic, bold}[n.Level-1]
			spans = append(spans, c.inline(n, s|emphasis, depth+1)...)
		case *ast.Link:
			spans = append(spans, c.link(string(n.Destination), c.inline(n, s|underlined, depth+1), n)...)
		case *ast.Image:
			spans = append(spans, c.link(string(n.Destination), c.inline(n, s|underlined, depth+1), n)...)
		case *ast.AutoLink:
			spans = append(spans, c.autoLink(n, s|underlined)...)
		}
	}
	return spans
}

func literal(text string, s style) span {
	return span{Part: placeholder.Part{Text: clean(text)}, style: s}
}

func plainText(n *ast.Text, source []byte, s style) []span {
	spans := []span{literal(unescape(string(n.Value(source))), s)}
	switch {
	case n.HardLineBreak():
		spans = append(spans, literal("\n", s))
	case n.SoftLineBreak():
		spans = append(spans, literal(" ", s))
	}
	return spans
}

// unescape resolves backslashes and entities. goldmark does so only when it writes HTML, which is undone here.
func unescape(text string) string {
	if !strings.ContainsAny(text, `\&`) {
		return text
	}
	var b strings.Builder
	w := bufio.NewWriter(&b)
	html.DefaultWriter.Write(w, []byte(text))
	_ = w.Flush()
	return stdhtml.UnescapeString(b.String())
}

func (c *compiler) brace(n *brace, s style) span {
	if n.name == "" {
		return literal("{", s)
	}
	if err := placeholder.Check(n.name); err != nil {
		c.fail(n.offset, err)
	}
	c.use(n.name)
	return span{Part: placeholder.Part{Name: n.name}, style: s}
}

// codeSpan has its backticks where no style shows that it is code.
func (c *compiler) codeSpan(n *ast.CodeSpan, s style) []span {
	tick := span{Part: placeholder.Part{Text: "`"}, style: s, only: all(Plain)}
	spans := []span{tick}
	for child := n.FirstChild(); child != nil; child = child.NextSibling() {
		if t, ok := child.(*ast.Text); ok {
			for _, part := range c.parts(strings.ReplaceAll(string(t.Value(c.source)), "\n", " "), t.Segment.Start) {
				spans = append(spans, span{Part: part, style: s})
			}
		}
	}
	return append(spans, tick)
}

func (c *compiler) autoLink(n *ast.AutoLink, s style) []span {
	label := string(n.Label(c.source))
	spans := []span{}
	for _, part := range c.parts(label, n.Pos()) {
		spans = append(spans, span{Part: part, style: s})
	}
	return c.link(string(n.URL(c.source)), spans, n)
}

// link returns the spans of a text that leads to an address, which stands behind it where links cannot be followed.
func (c *compiler) link(destination string, spans []span, n ast.Node) []span {
	to := c.address(unescape(destination), n)
	if to == nil {
		return spans
	}
	var text strings.Builder
	for i := range spans {
		spans[i].link = to
		text.WriteString(spans[i].Text)
		if name := spans[i].Name; name != "" {
			text.WriteString("{" + name + "}")
		}
	}
	if destination == text.String() || destination == "mailto:"+text.String() {
		return spans
	}
	without := all(Plain, ANSI)
	return append(spans, span{Part: placeholder.Part{Text: " ("}, only: without}, span{shown: to, only: without},
		span{Part: placeholder.Part{Text: ")"}, only: without})
}

// address is where a link leads.
type address struct{ parts []placeholder.Part }

// address returns nil if the address is not safe. A placeholder cannot change the scheme.
func (c *compiler) address(destination string, n ast.Node) *address {
	parts := c.parts(destination, n.Pos())
	if len(parts) == 0 {
		return nil
	}
	scheme, _, found := strings.Cut(parts[0].Text, ":")
	if !found || !slices.Contains([]string{"http", "https", "mailto", "ssh", "git", "sftp"}, strings.ToLower(scheme)) {
		return nil
	}
	return &address{parts}
}

// text returns the address in visible ASCII characters, or an empty text if it is too long.
func (a *address) text(values placeholder.Values) string {
	if a == nil {
		return ""
	}
	var b strings.Builder
	for _, part := range a.parts {
		for i := range len(part.Text) {
			if c := part.Text[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}", c) >= 0 {
				fmt.Fprintf(&b, "%%%02X", c)
			} else {
				b.WriteByte(c)
			}
		}
		if part.Name != "" {
			b.WriteString(url.PathEscape(values.Value(part.Name)))
		}
	}
	if b.Len() > maxAddress {
		return ""
	}
	return b.String()
}
