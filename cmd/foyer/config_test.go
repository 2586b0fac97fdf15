package main

import (
	"bufio"
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/creack/pty"
)

// The log is for people at a terminal, and for programs everywhere else.
func TestLogFormat(t *testing.T) {
	person, terminal, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = person.Close(), terminal.Close() }()
	file, err := os.CreateTemp(t.TempDir(), "log")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		format string
		file   *os.File
		logfmt bool
	}{
		{"auto", terminal, false}, {"auto", file, true}, {"text", file, false}, {"logfmt", terminal, true},
	} {
		cfg := &Config{LogFormat: tt.format, LogLevel: "info"}
		logger, _ := cfg.logger(tt.file)
		logger.Info("hello")
		line := firstLine(t, tt.file, person)
		if got := strings.Contains(line, "level=info msg=hello"); got != tt.logfmt {
			t.Errorf("%s to %s: %q", tt.format, tt.file.Name(), line)
		}
	}
	var out bytes.Buffer
	logger, _ := (&Config{LogFormat: "auto", LogLevel: "info"}).logger(&out)
	if logger.Info("hello"); !strings.Contains(out.String(), "msg=hello") {
		t.Errorf("to a buffer: %q", &out)
	}
}

// firstLine returns what was written to a file, or what a person reads of what was written to their terminal.
func firstLine(t *testing.T, written, person *os.File) string {
	t.Helper()
	if info, err := written.Stat(); err != nil || !info.Mode().IsRegular() {
		line, err := bufio.NewReader(person).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return line
	}
	text, err := os.ReadFile(written.Name())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(written.Name(), 0); err != nil {
		t.Fatal(err)
	}
	return string(text)
}
