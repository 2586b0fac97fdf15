package settings

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/charmbracelet/x/ansi"
	"github.com/spf13/pflag"
)

// Print writes the settings as a valid file, each with its origin.
func (s *Set) Print(w io.Writer) {
	for i, group := range s.groups {
		heading(w, i, group)
		for _, setting := range group.Settings {
			value := s.values[setting.Name]
			origin := value.origin
			if origin == "" {
				origin = "default"
			}
			fmt.Fprintf(w, "%s = %s # %s\n", value.Name, value.literal(value.Value.String()), origin)
		}
	}
	for _, entry := range s.entries {
		entry.print(w)
	}
}

// Example writes a file that explains each setting. All of them are commented out.
func (s *Set) Example(w io.Writer) {
	for i, group := range s.groups {
		heading(w, i, group)
		for _, setting := range group.Settings {
			value := s.values[setting.Name]
			example := value.original
			if value.Example != "" {
				example = value.Example
			}
			fmt.Fprintf(w, "\n# %s\n", comment(value.about()))
			fmt.Fprintf(w, "#%s = %s\n", value.Name, value.literal(example))
		}
	}
	for _, table := range s.tables {
		table.example(w)
	}
}

func comment(text string) string {
	return strings.ReplaceAll(ansi.Wordwrap(text, 100, ""), "\n", "\n# ")
}

// about returns what a setting does, as a sentence.
func (v *value) about() string {
	text := strings.ToUpper(v.Help[:1]) + v.Help[1:] + "."
	if v.Restart {
		text += " Needs a restart."
	}
	return text
}

func heading(w io.Writer, i int, group Group) {
	if i > 0 {
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "# %s\n", strings.ToUpper(group.Heading[:1])+group.Heading[1:])
	if group.Table != "" {
		fmt.Fprintf(w, "[%s]\n", group.Table)
	}
}

// literal returns a value in TOML's form.
func (v *value) literal(text string) string {
	switch v.kind() {
	case Integer, Boolean:
		return text
	case Strings:
		return quoteAll(split(text))
	}
	return quote(text)
}

func quoteAll(texts []string) string {
	var quoted []string
	for _, text := range texts {
		quoted = append(quoted, quote(text))
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// quote returns a TOML string. JSON's escapes are valid in it.
func quote(text string) string {
	var quoted strings.Builder
	encoder := json.NewEncoder(&quoted)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text) // a string is always encoded
	return strings.ReplaceAll(strings.TrimSuffix(quoted.String(), "\n"), "\x7f", `\u007f`)
}

// Schema writes a JSON Schema of the file, with which editors complete and check it.
func (s *Set) Schema(w io.Writer, title string) error {
	top := map[string]any{}
	for _, group := range s.groups {
		properties := top
		if group.Table != "" {
			properties = map[string]any{}
			top[group.Table] = object(properties, group.Heading)
		}
		for _, setting := range group.Settings {
			properties[setting.Name] = s.values[setting.Name].schema()
		}
	}
	for _, table := range s.tables {
		top[table.Name] = table.schema()
	}
	schema := object(top, title)
	schema["$schema"] = "http://json-schema.org/draft-07/schema#"
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(schema)
}

func object(properties map[string]any, description string) map[string]any {
	return map[string]any{
		"type": "object", "description": description, "properties": properties, "additionalProperties": false,
	}
}

func (v *value) schema() map[string]any {
	schema := map[string]any{"description": v.about()}
	switch value := v.Value.(type) {
	case pflag.SliceValue:
		schema["type"] = []string{"string", "array"}
		schema["items"] = map[string]any{"type": "string"}
		schema["default"] = split(v.original)
	case Ranged:
		least, most := value.Range()
		schema["type"], schema["minimum"], schema["maximum"] = "integer", least, most
		schema["default"], _ = strconv.Atoi(v.original)
	default:
		schema["type"], schema["default"] = "string", v.original
		if v.kind() == Boolean {
			schema["type"], schema["default"] = "boolean", v.original == "true"
		}
		if choice, ok := value.(interface{ Choices() []string }); ok {
			schema["enum"] = choice.Choices()
		}
	}
	return schema
}
