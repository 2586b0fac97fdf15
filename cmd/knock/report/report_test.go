package report

import (
	"slices"
	"strings"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"
)

func histogramOf(milliseconds ...float64) *hdrhistogram.Histogram {
	h := hdrhistogram.New(1, 3_600_000_000, 3)
	for _, ms := range milliseconds {
		_ = h.RecordValue(int64(ms * 1e3))
	}
	return h
}

// The bins of a histogram have round limits, contain every value, and fit on a screen, whatever the values are.
func TestHistogram(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		want   []Bin
	}{
		{nil, []Bin{}},
		{[]float64{7}, []Bin{{6, 8, 1}}},
		{[]float64{5, 5.5, 6, 9.9}, []Bin{{5, 6, 2}, {6, 8, 1}, {8, 10, 1}}},
		{[]float64{0.2, 30000}, []Bin{{0.1, 1, 1}, {1, 10, 0}, {10, 100, 0}, {100, 1000, 0}, {1000, 10_000, 0},
			{10_000, 100_000, 1}}},
	} {
		if got := Histogram(histogramOf(tt.values...)); !slices.Equal(got, tt.want) {
			t.Errorf("the histogram of %v is %v, want %v", tt.values, got, tt.want)
		}
	}
	for low := 0.001; low < 1e6; low *= 3 {
		for high := low; high < 3.6e6; high *= 2 {
			bins := Histogram(histogramOf(low, high, high))
			var sum int64
			for _, bin := range bins {
				sum += bin.Count
			}
			if len(bins) > maxBins || sum != 3 {
				t.Errorf("from %g to %g: %d bins with %d values", low, high, len(bins), sum)
			}
		}
	}
}

func TestDrawHistogram(t *testing.T) {
	var w strings.Builder
	histogram(&w, []Bin{{5, 6, 1000}, {6, 8, 0}, {8, 10, 1}}, 10)
	want := "      5 - 6       ms    1,000   99.9 %  ██████████\n" +
		"      6 - 8       ms        0    0.0 %  \n" +
		"      8 - 10      ms        1    0.1 %  █\n\n"
	if w.String() != want {
		t.Errorf("got\n%swant\n%s", w.String(), want)
	}
}

func TestDrawTimeline(t *testing.T) {
	var w strings.Builder
	timeline(&w, []Interval{{0, 0.5, 10, 0, 8}, {0.5, 0.5, 0, 0, 0}, {1, 0.5, 5, 0, 16}, {1.5, 0.25, 2, 3, 4}})
	want := "each column 0.5 s       0 s 1.75 s\n" +
		"logins/s       20.0 max █ ▅▄\n" +
		"slowest     16.0 ms max ▅ █▃\n" +
		"failed         3.00 max    █\n\n"
	if w.String() != want {
		t.Errorf("got\n%swant\n%s", w.String(), want)
	}
	w.Reset()
	timeline(&w, []Interval{{0, 0.5, 10, 0, 8}})
	if w.Len() > 0 {
		t.Errorf("a timeline of one interval:\n%s", w.String())
	}
}

// A figure is compared with that of the first server in the same round.
func TestCompare(t *testing.T) {
	round := func(cpu, throughput float64) Round {
		return Round{CPU: &cpu, PerSecond: throughput, Seconds: 1, Logins: 1}
	}
	c := &Compare{Servers: []Compared{NewCompared("a", 8), NewCompared("b c", 8)}}
	c.Add([]Round{round(1, 100), round(2, 50)})
	c.Add([]Round{round(10, 10), round(20, 5)}) // a disturbance of both
	c.Add([]Round{round(1, 100), round(2, 50)})
	c.Add([]Round{round(1, 100), {PerSecond: 50, Failed: 1, Failures: []Failure{{"timed out", 1}}, Logins: 1, Seconds: 1}})
	b := c.Servers[1]
	if *b.CPURatio != (Quartiles{2, 2, 2}) || *b.ThroughputRatio != (Quartiles{0.5, 0.5, 0.5}) {
		t.Errorf("ratios %v and %v", b.CPURatio, b.ThroughputRatio)
	}
	if c.Rounds != 4 || b.Failed != 1 || !slices.Equal(b.Failures, []Failure{{"timed out", 1}}) {
		t.Errorf("%+v", b)
	}
	var w strings.Builder
	c.BenchAs(&w, "Login")
	lines := strings.Split(w.String(), "\n")
	if len(lines) != 9 || !strings.HasPrefix(lines[1], "BenchmarkLogin/server=b_c-") {
		t.Errorf("%q", lines)
	}
}

func TestQuartiles(t *testing.T) {
	for _, tt := range []struct {
		in   []float64
		want Quartiles
	}{
		{[]float64{7}, Quartiles{7, 7, 7}},
		{[]float64{2, 1}, Quartiles{1.25, 1.5, 1.75}},
		{[]float64{5, 1, 4, 2, 3}, Quartiles{2, 3, 4}},
	} {
		if got := QuartilesOf(tt.in); *got != tt.want {
			t.Errorf("the quartiles of %v are %+v, want %+v", tt.in, *got, tt.want)
		}
	}
	if got := QuartilesOf(nil); got != nil {
		t.Errorf("of nothing: %+v", got)
	}
}

func TestUnits(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{Milliseconds(0.0714), "0.0714 ms"}, {Milliseconds(1), "1.00 ms"}, {Milliseconds(12.34), "12.3 ms"},
		{Milliseconds(999.4), "999 ms"}, {Milliseconds(999.6), "1.00 s"}, {Milliseconds(61_000), "61.0 s"},
		{significant(0), "0.00"}, {significant(1234.5), "1,235"},
		{Count(999), "999"}, {Count(1000), "1,000"}, {Count(-1234567), "-1,234,567"}, {Count(-123), "-123"},
		{Plural(1, "login"), "1 login"}, {Plural(2000, "login"), "2,000 logins"},
		{Bytes(2048), "2 KiB"}, {Bytes(3 << 20), "3.0 MiB"}, {Bytes(-2048), "-2 KiB"},
	} {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
}

func TestPercentiles(t *testing.T) {
	var values []float64
	for i := range 1000 {
		values = append(values, float64(i+1))
	}
	got := PercentilesOf(histogramOf(values...))
	for _, tt := range []struct{ got, want float64 }{{got.P50, 500}, {got.P90, 900}, {got.P99, 990}, {got.Max, 1000}} {
		if tt.got < tt.want*0.999 || tt.got > tt.want*1.001 {
			t.Errorf("%g, want %g", tt.got, tt.want)
		}
	}
	if got.Count != 1000 {
		t.Errorf("%d values", got.Count)
	}
}
