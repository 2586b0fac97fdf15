package markdown

import (
	"bufio"
	"errors"
	"fmt"
	stdhtml "html"
	"net/url"
	"slices"
	"strings"

	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/renderer/html"

	"foyer/middleware/content/placeholder"
)

func (l *layout) inline(parent ast.Node, s style, depth int) (pieces []piece) {
	if depth > 2*maxDepth {
		l.fail(parent.Pos(), errDepth)
		return nil
	}
	for n := parent.FirstChild(); n != nil; n = n.NextSibling() {
		switch n := n.(type) {
		case *ast.Text:
			pieces = append(pieces, piece{text: l.plain(n), style: s})
		case *ast.String:
			pieces = append(pieces, piece{text: clean(string(n.Value)), style: s})
		case *brace:
			pieces = append(pieces, piece{text: l.brace(n), style: s})
		case *ast.CodeSpan:
			pieces = append(pieces, l.codeSpan(n, s|asCode)...)
		case *ast.Emphasis:
			pieces = append(pieces, l.inline(n, s|[]style{italic, bold}[n.Level-1], depth+1)...)
		case *ast.Link:
			pieces = append(pieces, l.link(unescape(string(n.Destination)), l.inline(n, s|underlined, depth+1), n)...)
		case *ast.Image:
			pieces = append(pieces, l.link(unescape(string(n.Destination)), l.inline(n, s|underlined, depth+1), n)...)
		case *ast.AutoLink:
			pieces = append(pieces, l.autoLink(n, s|underlined)...)
		}
	}
	return pieces
}

// plain returns a text with the break behind it.
func (l *layout) plain(n *ast.Text) string {
	text := clean(unescape(string(n.Value(l.source))))
	switch {
	case n.HardLineBreak():
		return text + "\n"
	case n.SoftLineBreak():
		return text + " "
	}
	return text
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

func (l *layout) brace(n *brace) string {
	if n.name == "" {
		return "{"
	}
	return l.value(n.name, n.offset)
}

// literal returns a text without markup, at an offset of the source.
func (l *layout) literal(text string, offset int, s style) (pieces []piece) {
	for _, part := range l.parts(text, offset) {
		if part.Name != "" {
			part.Text = l.value(part.Name, offset)
		}
		pieces = append(pieces, piece{text: clean(part.Text), style: s})
	}
	return pieces
}

func (l *layout) parts(text string, offset int) []placeholder.Part {
	parts, err := placeholder.Parse(text)
	if problem, ok := errors.AsType[*placeholder.Error](err); ok {
		l.fail(offset, problem.Err)
	}
	return parts
}

// codeSpan has its backticks where no style shows that it is code.
func (l *layout) codeSpan(n *ast.CodeSpan, s style) (pieces []piece) {
	for child := n.FirstChild(); child != nil; child = child.NextSibling() {
		if t, ok := child.(*ast.Text); ok {
			pieces = append(pieces, l.literal(strings.ReplaceAll(string(t.Value(l.source)), "\n", " "), t.Segment.Start, s)...)
		}
	}
	if l.profile == Plain {
		tick := piece{text: "`", style: s}
		pieces = append(append([]piece{tick}, pieces...), tick)
	}
	return pieces
}

func (l *layout) autoLink(n *ast.AutoLink, s style) []piece {
	destination := string(n.URL(l.source))
	if n.AutoLinkType == ast.AutoLinkEmail {
		destination = "mailto:" + destination
	}
	return l.link(destination, l.literal(string(n.Label(l.source)), n.Pos(), s), n)
}

// link returns a text that leads to an address, which stands behind it where links cannot be followed.
func (l *layout) link(destination string, pieces []piece, n ast.Node) []piece {
	address := l.address(destination, n)
	var text strings.Builder
	for i := range pieces {
		pieces[i].address = address
		text.WriteString(pieces[i].text)
	}
	if l.profile == Links || address == "" || address == text.String() || address == "mailto:"+text.String() {
		return pieces
	}
	return append(pieces, piece{text: " (" + address + ")"})
}

// address returns an address in visible ASCII characters, or an empty text if it is not safe. A placeholder cannot change
// the scheme.
func (l *layout) address(destination string, n ast.Node) string {
	parts := l.parts(destination, n.Pos())
	if len(parts) == 0 {
		return ""
	}
	scheme, _, found := strings.Cut(parts[0].Text, ":")
	safe := found && slices.Contains([]string{"http", "https", "mailto", "ssh", "git", "sftp"}, strings.ToLower(scheme))
	var b strings.Builder
	for _, part := range parts {
		b.WriteString(percent(part.Text))
		if part.Name != "" {
			b.WriteString(url.PathEscape(l.value(part.Name, n.Pos())))
		}
	}
	if !safe || b.Len() > maxAddress {
		return ""
	}
	return b.String()
}

// percent encodes what is not visible ASCII or cannot be in an address.
func percent(text string) string {
	var b strings.Builder
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}", c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
