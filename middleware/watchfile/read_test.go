package watchfile

import (
	"os"
	"path/filepath"
	"testing"
)

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, []byte("12345"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path      string
		limit     int64
		forbidden os.FileMode
		want      string // the error, or "" for none
	}{
		{path, 5, 0, ""},
		{path, 5, OthersWrite, ""},
		{path, 5, OthersUse, ": others can read or write it (mode 0644)"},
		{path, 4, 0, ": is larger than 0 KiB"},
		{dir, 5, 0, ": is a directory"},
		{path + "s", 5, 0, ": no such file or directory"},
	} {
		data, err := ReadFile(tt.path, tt.limit, tt.forbidden)
		if tt.want == "" && (err != nil || data != "12345") || tt.want != "" && (err == nil || err.Error() != tt.path+tt.want) {
			t.Errorf("%s: read %q, %v; want %q", tt.path, data, err, tt.want)
		}
	}
}
