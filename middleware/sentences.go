package middleware

import (
	"fmt"
	"slices"
	"time"

	"charm.land/ssh"

	"foyer/middleware/content"
	"foyer/middleware/refusal"
)

// Sentence is a fixed text of a layer that [Sentences] can replace.
type Sentence struct{ Name, Standard, About string }

// SentenceNames returns all fixed texts that can be replaced.
func SentenceNames() []Sentence {
	return []Sentence{
		{"greeting", DefaultGreeting, "to a person, before notices and answers"},
		{"pty-refused", ptyNotice, "to a person whose terminal is refused"},
		{"forwarding", noForwarding, "to a person who asks to forward ports, an agent or X11"},
		{"commands", refusal.Command.Sentence(), "to who runs a command"},
		{"files", refusal.Files.Sentence(), "to scp, sftp, rsync and their like"},
		{"repositories", refusal.Git.Sentence(), "to git"},
	}
}

// Sentences returns the layer that replaces fixed texts of the layers after it, each by its name. The texts have placeholders.
func Sentences(said *Content, replaced map[string]string) Layer {
	texts, invalid := parseSentences(replaced)
	return Layer{
		Name:   "sentences",
		Server: func(*ssh.Server) error { return invalid },
		Connect: func(c *Conn) (Moments, error) {
			c.sentence = func(sess ssh.Session, name string) (string, bool) {
				text, found := texts[name]
				if !found {
					return "", false
				}
				return text.For(said.Visit(sess), said.Table.Group(sess.User()), time.Time{}, content.View{}), true
			}
			return Moments{}, nil
		},
	}
}

func parseSentences(replaced map[string]string) (texts map[string]*content.Text, err error) {
	texts = make(map[string]*content.Text)
	for name, text := range replaced {
		if !slices.ContainsFunc(SentenceNames(), func(s Sentence) bool { return s.Name == name }) {
			return nil, fmt.Errorf("unknown sentence %q", name)
		}
		if texts[name], err = content.Plain(text); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return texts, nil
}

// sentence returns a fixed text, or what replaces it.
func sentence(sess ssh.Session, name, standard string) string {
	if c := ConnOf(sess.Context()); c != nil && c.sentence != nil {
		if text, found := c.sentence(sess, name); found {
			return text
		}
	}
	return standard
}
