package maintenance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"foyer/middleware/content"
	"foyer/middleware/content/markdown"
	"foyer/middleware/watchfile"
)

// DefaultText is what visitors read unless there is another text.
const DefaultText = "This server is under maintenance until {until}. Please come back {left}."

// maxState is the largest state file, in bytes. It can have a text.
const maxState = 2 * markdown.MaxSize

// State is what the file of the switch holds. Without a file, maintenance is off.
type State struct {
	Text         string    `json:"text,omitempty"` // either this
	File         string    `json:"file,omitempty"` // or this, or none for the default text
	Until        time.Time `json:"until,omitzero"` // zero for no end
	ExceptGroups []string  `json:"except-groups,omitempty"`
}

// Rule returns the rule that says the state's page.
func (s State) Rule() content.Rule {
	status := 1
	rule := content.Rule{Text: s.Text, File: s.File, Until: s.Until, NotGroups: s.ExceptGroups, Exit: &status}
	if rule.Text == "" && rule.File == "" {
		rule.Text = DefaultText
	}
	return rule
}

// Settings returns the settings by which a rule is the page, and the banner before authentication. So the text can only have
// placeholders that are known then.
func Settings(groups map[string][]string, texts *content.Texts, rule content.Rule) content.Settings {
	banner := rule
	banner.NotGroups = nil // which are not known yet
	return content.Settings{Groups: groups, Texts: texts, Answers: []content.Rule{rule}, Banner: &banner}
}

// Read returns the state in the file at path, and whether there is one.
func Read(path string) (State, bool, error) {
	text, err := watchfile.ReadFile(path, maxState, watchfile.OthersWrite)
	if errors.Is(err, fs.ErrNotExist) {
		return State{}, false, nil
	}
	if err != nil {
		return State{}, false, err
	}
	state, err := parse(path, text)
	return state, err == nil, err
}

func parse(path, text string) (state State, err error) {
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&state); err != nil {
		return state, &watchfile.Error{Path: path, Err: fmt.Errorf("is not a maintenance state: %w", err), Fix: "run: foyer maintenance off"}
	}
	return state, nil
}

// Write writes the state to the file at path, which appears complete or not at all.
func Write(path string, state State) error {
	data, err := json.MarshalIndent(state, "", "  ")
	if err != nil {
		return err
	}
	e, name, err := watchfile.EditFile(path)
	if err != nil {
		return err
	}
	defer e.Close()
	_, old, err := e.Read(name, path, maxState)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return e.Create(name, string(data)+"\n")
	case err != nil:
		return err
	}
	return e.Replace(name, string(data)+"\n", old)
}

// Remove removes the file at path, and reports whether there was one.
func Remove(path string) (bool, error) {
	e, name, err := watchfile.EditFile(path)
	if err != nil {
		return false, err
	}
	defer e.Close()
	err = e.Remove(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
