package report

import (
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Bin is one bar of a histogram: the logins that took From to To milliseconds.
type Bin struct {
	From  float64 `json:"from_ms"`
	To    float64 `json:"to_ms"`
	Count int64   `json:"count"`
}

// maxBins limits a histogram to what fits on a screen beside the tables.
const maxBins = 12

// scales are round numbers by which the bins of a histogram are divided, in each power of ten, the finest scale first.
var scales = [][]float64{
	{1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8},
	{1, 1.5, 2, 3, 5, 7},
	{1, 2, 5},
	{1},
}

// Histogram divides a histogram of microseconds into bins. The bins widen with the times, so that both the bulk of the
// logins and a few slow ones can be seen.
func Histogram(h *hdrhistogram.Histogram) []Bin {
	if h.TotalCount() == 0 {
		return []Bin{}
	}
	var bins []Bin
	for _, scale := range scales {
		if bins = emptyBins(float64(h.Min())/1e3, float64(h.Max())/1e3, scale); len(bins) <= maxBins {
			break
		}
	}
	i := 0
	for _, bar := range h.Distribution() {
		for i < len(bins)-1 && float64(bar.From)/1e3 >= bins[i].To {
			i++
		}
		bins[i].Count += bar.Count
	}
	return bins
}

// emptyBins returns the bins of a scale from low to high.
func emptyBins(low, high float64, scale []float64) (bins []Bin) {
	decade := math.Pow(10, math.Floor(math.Log10(low)))
	from := decade * scale[len(scale)-1] / 10
	for {
		for _, step := range scale {
			to := decade * step
			if to > low {
				bins = append(bins, Bin{From: from, To: to})
			}
			if from = to; to > high {
				return bins
			}
		}
		decade *= 10
	}
}

// histogram draws a bar for each bin. The longest bar is width columns wide.
func histogram(w io.Writer, bins []Bin, width int) {
	var most, total int64
	for _, bin := range bins {
		most, total = max(most, bin.Count), total+bin.Count
	}
	for _, bin := range bins {
		_, _ = fmt.Fprintf(w, "%7.4g - %-7.4g ms %8s %6.1f %%  %s\n", bin.From, bin.To,
			Count(bin.Count), 100*float64(bin.Count)/float64(total), bar(bin.Count, most, width))
	}
	_, _ = fmt.Fprintln(w)
}

// bar draws n of most, where most is width columns wide. Only 0 is drawn as nothing.
func bar(n, most int64, width int) string {
	if n == 0 {
		return ""
	}
	return strings.Repeat("█", max(1, int(int64(width)*n/most)))
}

// timeline draws one column for each interval, and one line for each figure.
func timeline(w io.Writer, intervals []Interval) {
	if len(intervals) < 2 {
		return
	}
	last := intervals[len(intervals)-1]
	end := fmt.Sprintf("%.3g s", last.Start+last.Width)
	_, _ = fmt.Fprintf(w, "%-24s0 s%*s\n", fmt.Sprintf("each column %.3g s", intervals[0].Width),
		max(len(intervals)-3, len(end)+1), end)
	columns(w, "logins/s", significant, intervals, func(i Interval) float64 { return float64(i.Logins) / i.Width })
	columns(w, "slowest", Milliseconds, intervals, func(i Interval) float64 { return i.Slowest })
	columns(w, "failed", significant, intervals, func(i Interval) float64 { return float64(i.Failed) })
	_, _ = fmt.Fprintln(w)
}

// heights are the lower parts of a block character.
var heights = []rune("▁▂▃▄▅▆▇█")

// columns draws each interval's value as a column, from 0 to the highest value. Only 0 is drawn as nothing.
func columns(w io.Writer, name string, write func(float64) string, intervals []Interval, value func(Interval) float64) {
	most, text := 0.0, ""
	for _, interval := range intervals {
		most = max(most, value(interval))
	}
	for _, interval := range intervals {
		switch v := value(interval); v {
		case 0:
			text += " "
		default:
			text += string(heights[min(int(v/most*float64(len(heights))), len(heights)-1)])
		}
	}
	if most > 0 {
		_, _ = fmt.Fprintf(w, "%-10s%9s max %s\n", name, write(most), strings.TrimRight(text, " "))
	}
}
