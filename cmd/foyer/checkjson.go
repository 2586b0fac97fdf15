package main

import (
	"encoding/json"
	"errors"
	"io"

	"foyer/cmd/foyer/settings"
	"foyer/middleware/auth/keyfile"
	"foyer/middleware/eventlog/sanitize"
	"foyer/middleware/watchfile"
)

// The report as JSON.
type (
	jsonReport struct {
		Users    []jsonUser    `json:"users"`
		Problems []jsonProblem `json:"problems"`
		Warnings []jsonProblem `json:"warnings"`
	}
	jsonUser struct {
		Name    string   `json:"name"`
		Methods string   `json:"methods"`
		Keys    []string `json:"keys,omitempty"` // fingerprints
	}
	jsonProblem struct {
		Text   string `json:"text"`
		Hint   string `json:"hint,omitempty"`
		File   string `json:"file,omitempty"`
		Line   int    `json:"line,omitempty"`
		Column int    `json:"column,omitempty"`
	}
)

func (r *report) printJSON(cfg *Config, w io.Writer) error {
	report := jsonReport{Users: []jsonUser{}, Problems: jsonProblems(r.problems), Warnings: jsonProblems(r.warnings)}
	for _, name := range r.names {
		user := jsonUser{Name: sanitize.String(name, keyfile.MaxLine), Methods: r.methods(cfg, name)}
		for _, key := range r.keys[name] {
			user.Keys = append(user.Keys, key.Fingerprint)
		}
		report.Users = append(report.Users, user)
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(report)
}

func jsonProblems(all []error) []jsonProblem {
	problems := make([]jsonProblem, len(all))
	for i, err := range all {
		problems[i] = jsonProblem{Text: err.Error(), Hint: hintFor(err)}
		if file, ok := errors.AsType[*watchfile.Error](err); ok {
			problems[i].File, problems[i].Line = file.Path, file.Line
		}
		if line, ok := errors.AsType[*settings.Problem](err); ok {
			problems[i].File, problems[i].Line, problems[i].Column = line.Path, line.Line, line.Column
		}
	}
	return problems
}
