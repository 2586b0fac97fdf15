package main

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/creack/pty"

	"foyer/middleware/sshtest"
)

// At a terminal a line shows the progress, and it is erased afterwards.
func TestProgress(t *testing.T) {
	master, terminal, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	r := newRecord()
	r.add(result{})
	shown := sshtest.NewLog()
	done := make(chan struct{})
	go func() {
		_, _ = io.Copy(shown, master)
		close(done)
	}()
	stop := showProgress(terminal, r.progress)
	eventually(t, func() bool { return strings.Contains(shown.String(), "s  1 login  p99 ") })
	stop()
	eventually(t, func() bool { return strings.HasSuffix(shown.String(), "\r\x1b[K") })
	_ = terminal.Close()
	<-done
	_ = master.Close()
}

func TestNoProgressWithoutTerminal(t *testing.T) {
	var out bytes.Buffer
	showProgress(&out, func() string { return "status" })()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	showProgress(writer, func() string { return "status" })()
	_ = writer.Close()
	if text, _ := io.ReadAll(reader); out.Len() > 0 || len(text) > 0 {
		t.Errorf("%q, %q", out.String(), text)
	}
	_ = reader.Close()
}
