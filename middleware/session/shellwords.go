package session

import "strings"

// splitWords splits a command as a POSIX shell does, with quotes and backslashes but without expansion, in linear time.
// It returns nothing for a command that ends inside a quote.
func splitWords(command string) []string {
	var list []string
	for {
		command = strings.TrimLeft(command, " \t\n")
		if rest, ok := strings.CutPrefix(command, "\\\n"); ok { // a line continuation
			command = rest
			continue
		}
		if command == "" {
			return list
		}
		word, rest, ok := firstWord(command)
		if !ok {
			return nil
		}
		list = append(list, word)
		command = rest
	}
}

func firstWord(s string) (word, rest string, ok bool) {
	var b strings.Builder
	for s != "" {
		switch c := s[0]; c {
		case ' ', '\t', '\n':
			return b.String(), s, true
		case '\'':
			quoted, after, closed := strings.Cut(s[1:], "'")
			if !closed {
				return "", "", false
			}
			b.WriteString(quoted)
			s = after
		case '"':
			if s, ok = doubleQuoted(&b, s[1:]); !ok {
				return "", "", false
			}
		case '\\':
			if len(s) == 1 {
				return "", "", false
			}
			if s[1] != '\n' {
				b.WriteByte(s[1])
			}
			s = s[2:]
		default:
			b.WriteByte(c)
			s = s[1:]
		}
	}
	return b.String(), "", true
}

// doubleQuoted writes the text before the closing quote to b. Inside double quotes a backslash only escapes the
// characters that are special there.
func doubleQuoted(b *strings.Builder, s string) (rest string, ok bool) {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return s[i+1:], true
		case c == '\\' && i+1 < len(s) && strings.IndexByte("$`\"\\\n", s[i+1]) >= 0:
			i++
			if s[i] != '\n' {
				b.WriteByte(s[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}
