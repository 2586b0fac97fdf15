package content_test

import (
	"fmt"
	"time"

	"foyer/middleware/content"
)

func ExampleTable_Answer() {
	exit := 1
	table, err := content.New(content.Settings{
		Groups: map[string][]string{"staff": {"ada"}},
		Answers: []content.Rule{
			{Command: []string{"git-*-pack '*old/*'"}, Text: "This repository moved to git.example.org.", Exit: &exit},
			{Groups: []string{"staff"}, Text: "Hi {user}, of {group}!"},
		},
		Notices: []content.Rule{{Text: "Maintenance {left}.", Until: time.Date(2026, 12, 6, 4, 0, 0, 0, time.UTC)}},
		Texts:   content.NewTexts(".", nil),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	visit := &content.Visit{User: "ada", Request: "shell", Now: time.Date(2026, 12, 6, 1, 0, 0, 0, time.UTC)}
	for _, notice := range table.Notices(visit) {
		fmt.Println(notice.Text(visit, content.View{}))
	}
	if answer, found := table.Answer(visit); found {
		fmt.Println(answer.Text(visit, content.View{}))
	}
	// Output:
	// Maintenance in 3 hours.
	// Hi ada, of staff!
}
