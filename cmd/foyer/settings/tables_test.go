//go:build !windows

package settings_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"foyer/cmd/cli"
	"foyer/cmd/foyer/settings"
)

// newHouse returns a program with tables that are not settings.
func newHouse() door {
	d := newDoor()
	d.AddTables(
		settings.Table{Name: "rooms", Help: "Rooms", Keys: []settings.Key{{Kind: settings.Strings, Example: `attic = ["a"]`, Help: "who"}}},
		settings.Table{Name: "guest", Help: "Guests", Several: true, Keys: []settings.Key{
			{Name: "name", Kind: settings.String, Example: `name = "a"`, Help: "the name"},
			{Name: "from", Kind: settings.Time, Example: `from = 2026-12-06T04:00:00Z`, Help: "the day"},
			{Name: "age", Kind: settings.Integer, Example: `age = 3`, Help: "the age"},
			{Name: "known", Kind: settings.Boolean, Example: `known = true`, Help: "or not"},
			{Name: "likes", Kind: settings.Strings, Example: `likes = "tea"`, Help: "things"},
		}})
	return d
}

func TestTables(t *testing.T) {
	const file = `
wood = "pine"

[[guest]]
name = "bob"
from = 2026-12-06 04:00:00+01:00
age = 4
known = true
likes = ["tea", 'cake']

[rooms]
hall = "ada"
"the attic" = ["bob"]

[[guest]]

[use]
knocks = 4
`
	d := newHouse()
	if problems := d.load(t, file, nil); len(problems) > 0 {
		t.Fatal(problems)
	}
	guests, rooms := d.Entries("guest"), d.Entries("rooms")
	if len(guests) != 2 || len(rooms) != 1 {
		t.Fatalf("%d guests, %d rooms", len(guests), len(rooms))
	}
	name, _ := settings.Value[string](guests[0], "name")
	from, _ := settings.Value[time.Time](guests[0], "from")
	age, _ := settings.Value[int64](guests[0], "age")
	known, _ := settings.Value[bool](guests[0], "known")
	if _, set := settings.Value[string](guests[1], "name"); set {
		t.Error("the second guest has a name")
	}
	if name != "bob" || !from.Equal(time.Date(2026, 12, 6, 3, 0, 0, 0, time.UTC)) || age != 4 || !known ||
		!slices.Equal(guests[0].Strings("likes"), []string{"tea", "cake"}) {
		t.Errorf("read as %q %s %d %t %q", name, from, age, known, guests[0].Strings("likes"))
	}
	if names := rooms[0].Names(); !slices.Equal(names, []string{"hall", "the attic"}) || rooms[0].Strings("hall")[0] != "ada" {
		t.Errorf("rooms %q", names)
	}
	for entry, want := range map[string]string{guests[0].At("name"): "5:8", guests[0].At("none"): "4:3", guests[1].At(""): "15:3"} {
		if !strings.HasSuffix(entry, "door.toml:"+want) {
			t.Errorf("at %s, want %s", entry, want)
		}
	}
	var printed bytes.Buffer
	d.Print(&printed)
	again := newHouse()
	if problems := again.load(t, printed.String(), nil); len(problems) > 0 {
		t.Fatalf("%v\n%s", problems, &printed)
	}
	if changed := d.ChangedTables(again.Set); len(changed) > 0 {
		t.Errorf("changed: %q\n%s", changed, &printed)
	}
	if changed := d.ChangedTables(newHouse().Set); !slices.Equal(changed, []string{"rooms", "guest"}) {
		t.Errorf("changed: %q", changed)
	}
}

// A table may be written with dots, or in one line.
func TestTableForms(t *testing.T) {
	for _, file := range []string{"rooms.hall = \"ada\"", "rooms = {hall = \"ada\"}", "[rooms]\nhall = [\"ada\"]"} {
		d := newHouse()
		if problems := d.load(t, file, nil); len(problems) > 0 || len(d.Entries("rooms")) != 1 || d.Entries("rooms")[0].Strings("hall")[0] != "ada" {
			t.Errorf("%s: %v", file, problems)
		}
	}
}

func TestTableProblems(t *testing.T) {
	for file, want := range map[string][2]string{
		"[[guest]]\nnmae = \"a\"":               {`2:1: unknown key "nmae" in [[guest]]`, "did you mean name?"},
		"[[guest]]\nxyzzyx = 1":                 {`2:1: unknown key "xyzzyx" in [[guest]]`, "it has: name, from, age, known, likes"},
		"[[guest]]\nname.first = \"a\"":         {`2:1: unknown key "name.first" in [[guest]]`, "did you mean name?"},
		"[[guest]]\nname = 1":                   {"2:8: name must be a string", ""},
		"[[guest]]\nage = \"1\"":                {"2:7: age must be an integer", ""},
		"[[guest]]\nknown = \"no\"":             {"2:9: known must be true or false", ""},
		"[[guest]]\nlikes = [1]":                {"2:1: likes must be a string or an array of strings", ""},
		"[[guest]]\nfrom = 2026-12-06T04:00:00": {"2:8: from must be a time with its offset from UTC", "in UTC: 2026-12-06T04:00:00Z"},
		"[[guest]]\nfrom = 2026-12-06":          {"2:8: from must be a time with its offset from UTC", "in UTC: 2026-12-06T00:00:00Z"},
		"[[guest]]\nfrom = 04:00:00":            {"2:8: from must be a time with its offset from UTC", "in UTC: 2026-12-06T04:00:00Z"},
		"[[guest]]\nfrom = \"today\"":           {"2:8: from must be a time with its offset from UTC", ""},
		"[guest]\nname = \"a\"":                 {"1:2: write [[guest]]", ""},
		"[[rooms]]":                             {"1:3: write [rooms]", ""},
		"[rooms.attic]":                         {"1:2: write [rooms]", ""},
		"guest = [{name = \"a\"}]":              {"1:1: guest is a table: write [[guest]]", ""},
		"rooms = 1":                             {"1:1: rooms is a table: write [rooms]", ""},
		"[rooms]\nattic = true":                 {"2:9: attic must be a string or an array of strings", ""},
		"[[gest]]\nname = \"a\"":                {`2:1: unknown setting "gest.name"`, "did you mean [[guest]]?"},
	} {
		problems := newHouse().load(t, file, nil)
		if len(problems) == 0 || !strings.HasSuffix(problems[0].Error(), "door.toml:"+want[0]) || cli.Hint(problems[0]) != want[1] {
			t.Errorf("%s:\n%v\nwant %s", file, problems, want)
		}
	}
}
