package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// The settings of the README's stories are those that the scripts serve, or a part of them.
func TestReadmeSettings(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```toml\n(.*?)```").FindAllStringSubmatch(string(readme), -1)
	stories := []string{"githost", "maintenance", "landing"}
	if len(blocks) < len(stories) {
		t.Fatalf("%d blocks of settings", len(blocks))
	}
	for i, story := range stories {
		script, err := os.ReadFile("testdata/script/" + story + ".txtar")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(script), blocks[i][1]) {
			t.Errorf("%s.txtar does not have the README's\n%s", story, blocks[i][1])
		}
	}
}
