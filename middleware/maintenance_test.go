package middleware_test

import (
	"path/filepath"
	"strings"
	"testing"

	"foyer/middleware"
	"foyer/middleware/content"
	"foyer/middleware/maintenance"
	"foyer/middleware/sshtest"
)

// While the switch is on, each tool shows the page and fails. An open session goes on.
func TestMaintenance(t *testing.T) {
	path := filepath.Join(t.TempDir(), "maintenance.json")
	m, err := maintenance.Open(maintenance.Config{
		Path: path, Groups: map[string][]string{"staff": {"alice"}}, Texts: content.NewTexts(".", nil), Log: sshtest.NewLog().Logger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	waiting := middleware.Handler("waiting", whoami)
	srv := sshtest.Serve(t, middleware.Open(), middleware.Maintenance(said(t, content.Settings{}), m), waiting)
	expect(t, srv.Visit(t, sshtest.Visit{}), sshtest.Result{Stdout: "guest"})
	if err := maintenance.Write(path, maintenance.State{Text: "Back at four.", ExceptGroups: []string{"staff"}}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		visit sshtest.Visit
		want  sshtest.Result
	}{
		{sshtest.Visit{User: "alice"}, sshtest.Result{Stdout: "alice"}},
		{sshtest.Visit{}, sshtest.Result{Stdout: "Back at four.\n", Status: 1}},
		{sshtest.Visit{Command: "ls"}, sshtest.Result{Stderr: "Back at four.\n", Status: 1}},
		{sshtest.Visit{Command: "git-upload-pack a"}, sshtest.Result{Stdout: "0015ERR Back at four.", Status: 1}},
		{sshtest.Visit{Command: "scp -f a"}, sshtest.Result{Stdout: "\x02Back at four.\n", Status: 1}},
	} {
		expect(t, srv.Visit(t, tt.visit), tt.want)
	}
	raw := srv.DialRaw(t)
	if in, err := raw.Attempt("guest", "ssh-connection", "none", nil); !in {
		t.Fatal(err)
	}
	if _, err := maintenance.Remove(path); err != nil {
		t.Fatal(err)
	}
	if got := srv.Visit(t, sshtest.Visit{}); !strings.HasPrefix(got.Stdout, "guest") {
		t.Errorf("after the end: %+v", got)
	}
}
