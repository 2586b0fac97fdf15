package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A new layer compiles, passes its test, is seen by a visitor (that is what its test asserts) and is in the list.
func TestCreate(t *testing.T) {
	root := copyOf(t, "../..")
	created, err := create(root, "hello")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(created, " "); got != "middleware/hello.go middleware/hello_test.go cmd/foyer/layers.go" {
		t.Errorf("created %s", got)
	}
	if out := goCommand(t, root, "test", "-v", "-run", "Hello", "./middleware"); !strings.Contains(out, "--- PASS: TestHello/a_person") {
		t.Errorf("its test did not run:\n%s", out)
	}
	goCommand(t, root, "vet", "./middleware", "./cmd/foyer")
	text, err := os.ReadFile(filepath.Join(root, list))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "\t\tmiddleware.Hello(),\n\t\tmiddleware.Message(texts.message),\n\t}\n") {
		t.Errorf("hello does not stand before the handler:\n%s", text)
	}
	if _, err := create(root, "hello"); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("a second hello: %v", err)
	}
}

func TestCreateRefuses(t *testing.T) {
	for _, tt := range []struct{ name, want string }{
		{"", "not a valid name"}, {"Hello", "not a valid name"}, {"two words", "not a valid name"}, {"../up", "not a valid name"}, {"x_test", "not a valid name"},
		{"greeting", "already"}, {"stack", "already"}, {"layer", "already"},
	} {
		if _, err := create("../..", tt.name); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("create(%q) = %v, want an error with %q", tt.name, err, tt.want)
		}
	}
	if _, err := create(t.TempDir(), "hello"); err == nil || !strings.Contains(err.Error(), "top directory of the repository") {
		t.Errorf("elsewhere: %v", err)
	}
}

// copyOf copies what a build needs of the repository at root.
func copyOf(t *testing.T, root string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"cmd", "middleware"} {
		if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(filepath.Join(root, name))); err != nil {
			t.Fatal(err)
		}
	}
	// Its source and no more: keys that lie there are nobody's to copy.
	sources, _ := filepath.Glob(filepath.Join(root, "hostkeys/*.go"))
	if err := os.Mkdir(filepath.Join(dir, "hostkeys"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, source := range sources {
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "hostkeys", filepath.Base(source)), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func goCommand(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}
