package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"gonum.org/v1/plot/vg"

	"foyer/middleware/sshtest"
)

// example is a measurement as it might have been.
func example(logins int, failures int) (*loginReport, *record) {
	r := newRecord()
	for i := range logins + failures {
		at := time.Duration(i) * 10 * time.Millisecond
		l := result{intended: r.began.Add(at)}
		for p := range l.took {
			l.took[p], l.reached[p] = time.Duration(p+1)*time.Duration(i%50+1)*100*time.Microsecond, true
		}
		if i >= logins {
			l.err = failed{"connect: connection refused"}
		}
		r.add(l)
	}
	d := &door{target: target{"guest", "localhost", 2022}}
	return newLoginReport(d, pace{visitors: 8}, &measurement{record: r, elapsed: time.Duration(logins+failures+1) * 10 * time.Millisecond}), r
}

// words returns the text of a picture, and an error where it is no XML.
func words(svg []byte) (list []string, err error) {
	decoder := xml.NewDecoder(bytes.NewReader(svg))
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		if text, isText := token.(xml.CharData); isText {
			list = append(list, string(bytes.TrimSpace(text)))
		}
	}
}

func TestPicture(t *testing.T) {
	for _, tt := range []struct {
		name             string
		logins, failures int
		want             []string
	}{
		{"many", 2000, 0, []string{"2,000 logins in 20.0 s, 100 a second; none failed", "p50  12.5 ms", "p99  25.0 ms", "max  25.0 ms",
			"whole login, ms", "logins", "connect", "key exchange", "seconds since the start", "logins a second", "Throughput"}},
		{"some fail", 100, 20, []string{"100 logins in 1.2 s, 82.6 a second; 20 failed", "Throughput, and failed logins in red"}},
		{"one", 1, 0, []string{"1 login in 0.0 s, 50.0 a second; none failed"}},
		{"none succeed", 0, 20, []string{"0 logins in 0.2 s, 0.00 a second; 20 failed"}},
		{"none at all", 0, 0, []string{"0 logins in 0.0 s, 0.00 a second; none failed"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var svg bytes.Buffer
			report, r := example(tt.logins, tt.failures)
			if err := picture(&svg, report, r); err != nil {
				t.Fatal(err)
			}
			got, err := words(svg.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			text := "\n"
			for _, word := range got {
				text += word + "\n"
			}
			for _, want := range tt.want {
				if !contains(text, "\n"+want+"\n") {
					t.Errorf("no %q in%s", want, text)
				}
			}
			if !contains(svg.String(), "Arial,Helvetica,sans-serif") || contains(svg.String(), "NaN", "Inf") {
				t.Error("fonts or numbers that nobody has")
			}
		})
	}
}

// TestMarks: an axis has some marks, and not too many.
func TestMarks(t *testing.T) {
	for _, span := range [][2]float64{{1, 2}, {0.05, 4000}, {3.9, 4.6}, {9, 11}, {0.001, 1e7}, {120, 700}} {
		if n := len(logMarks(span[0], span[1])); n < 1 || n > 10 {
			t.Errorf("%d marks from %g to %g", n, span[0], span[1])
		}
	}
	for _, most := range []float64{0.016, 1, 8, 59, 3600, 99_999} {
		if n := len(evenMarks(0, most, 12, 0)); n < 4 || n > 13 {
			t.Errorf("%d marks up to %g", n, most)
		}
	}
	for _, mark := range evenMarks(0, 1.4, 5, 1) {
		if mark.Value != 0 && mark.Value != 1 {
			t.Errorf("%g logins", mark.Value)
		}
	}
}

// brokenPipe fails the test if the picture is not there when the table is written, and takes nothing.
type brokenPipe struct {
	t    *testing.T
	path string
}

func (p brokenPipe) Write([]byte) (int, error) {
	if svg, err := os.ReadFile(p.path); err != nil || !contains(string(svg), "</svg>") {
		p.t.Errorf("%v in %d bytes", err, len(svg))
	}
	return 0, io.ErrClosedPipe
}

// TestPlotBeforeTable: knock dies of a pipe that nobody reads to the end, and the picture must not.
func TestPlotBeforeTable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logins.svg")
	root := newRoot()
	root.SetArgs([]string{new(fake).open(t).target(), "--open", "-n", "3", "--plot", path})
	root.SetOut(brokenPipe{t, path})
	root.SetErr(io.Discard)
	_ = root.Execute()
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

// TestProbe: before the measurement no picture is made, and none is lost.
func TestProbe(t *testing.T) {
	older, newer := write(t, "older.svg", "<svg/>"), filepath.Join(t.TempDir(), "newer.svg")
	if err := errors.Join(probe(""), probe(older), probe(newer)); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(older); err != nil || string(text) != "<svg/>" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := os.Stat(newer); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is a file: %v", err)
	}
}

// TestLinesBreak: where logins failed and none succeeded, no line says how long they took.
func TestLinesBreak(t *testing.T) {
	took := 1.0
	served := interval{P50: &took, P99: &took}
	same := func(v float64) vg.Length { return vg.Length(v) }
	p50, p99 := linesOf([]interval{{Failed: 1}, served, {}, served, {Failed: 2}, {}, served}, same, same)
	for _, lines := range [][][]vg.Point{p50, p99} {
		if len(lines) != 2 || len(lines[0]) != 2 || len(lines[1]) != 1 {
			t.Errorf("lines %v", lines)
		}
	}
}

// pipeline returns a named pipe, and a knock that will write a picture to it.
func pipeline(t *testing.T) (path string, cmd *exec.Cmd) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, exec.CommandContext(t.Context(), "knock", new(fake).open(t).target(), "--open", "-n", "3", "--plot", path)
}

// TestPlotToAPipe: who reads the picture from a pipe gets all of it.
func TestPlotToAPipe(t *testing.T) {
	path, cmd := pipeline(t)
	reader := exec.CommandContext(t.Context(), "cat", path)
	var svg bytes.Buffer
	reader.Stdout = &svg
	if err := errors.Join(reader.Start(), cmd.Run(), reader.Wait()); err != nil || !contains(svg.String(), "</svg>") {
		t.Errorf("%v in %d bytes", err, svg.Len())
	}
}

// TestPlotToAFullPipe: once the measurement is over, one signal ends knock.
func TestPlotToAFullPipe(t *testing.T) {
	path, cmd := pipeline(t)
	pipe, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(pipe) }()
	const setSize = 1031 // F_SETPIPE_SZ
	_, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(pipe), setSize, 4096)
	sshtest.Need(t, "F_SETPIPE_SZ", "run on Linux", errno == 0)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool {
		n, _ := syscall.Read(pipe, make([]byte, 1))
		return n > 0
	})
	_ = cmd.Process.Signal(syscall.SIGTERM)
	var ended *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &ended) || ended.ExitCode() != -1 {
		t.Errorf("it ended with %v", err)
	}
}

func TestPlot(t *testing.T) {
	f := new(fake).open(t)
	path := filepath.Join(t.TempDir(), "logins.svg")
	if got := knock(t, f.target(), "--open", "-n", "10", "--plot", path); got.status != 0 {
		t.Fatalf("status %d: %s", got.status, got.stderr)
	}
	svg, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := words(svg); err != nil || !contains(string(svg), f.target(), "10 logins in") {
		t.Errorf("%v in %d bytes", err, len(svg))
	}
}
