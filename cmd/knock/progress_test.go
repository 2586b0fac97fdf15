package main

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"foyer/middleware/sshtest"
)

// TestProgress: a person at a terminal sees how far it is, and afterwards nothing of it.
func TestProgress(t *testing.T) {
	master, terminal, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := pty.Setsize(terminal, &pty.Winsize{Rows: 24, Cols: 40}); err != nil {
		t.Fatal(err)
	}
	r := newRecord()
	r.add(result{intended: time.Now()})
	shown := sshtest.NewLog()
	over := make(chan struct{})
	go func() {
		_, _ = io.Copy(shown, master)
		close(over)
	}()
	line := startProgress(terminal, pace{duration: time.Minute}.progress(r))
	until(t, func() bool { return contains(shown.String(), "\r", "s of 1m0s  1 logins", "…") })
	line.stop()
	until(t, func() bool { return strings.HasSuffix(shown.String(), "\r\x1b[K") })
	_ = terminal.Close()
	<-over
	_ = master.Close()
}

func TestProgressElsewhere(t *testing.T) {
	var out bytes.Buffer
	line := startProgress(&out, func() string { return "told" })
	line.stop()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	line = startProgress(writer, func() string { return "told" })
	line.stop()
	_ = writer.Close()
	if text, _ := io.ReadAll(reader); out.Len() > 0 || len(text) > 0 {
		t.Errorf("%q, %q", out.String(), text)
	}
	_ = reader.Close()
}
