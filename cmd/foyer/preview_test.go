package main

import (
	"context"
	"errors"
	"io"
	"testing"
)

// A preview that watches prints again only what has changed, and errors too.
func TestPreviewWatches(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	shown := []string{"one\n", "one\n", "", "two\n"}
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- showAgain(ctx, w, func(w io.Writer) error {
			text := shown[0]
			if len(shown) > 1 {
				shown = shown[1:]
			}
			if text == "" {
				return errors.New("broken")
			}
			_, err := io.WriteString(w, text)
			return err
		})
		_ = w.Close()
	}()
	want := "one\nerror: broken\ntwo\n"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}
	stop()
	if rest, err := io.ReadAll(r); len(rest) > 0 || err != nil {
		t.Errorf("%q, %v", rest, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
