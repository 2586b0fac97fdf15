package main

import (
	"cmp"
	"image/color"
	"math"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// painter draws into a panel, with functions from values to places in it.
type painter func(c draw.Canvas, x, y func(float64) vg.Length)

// Plot implements [plot.Plotter].
func (paint painter) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	paint(c, x, y)
}

// bar is a rectangle between two values on each axis.
func bar(c draw.Canvas, shade color.Color, left, bottom, right, top vg.Length) {
	c.FillPolygon(shade, []vg.Point{{X: left, Y: bottom}, {X: right, Y: bottom}, {X: right, Y: top}, {X: left, Y: top}})
}

// column is what a histogram has between two latencies.
type column struct {
	from, to float64 // milliseconds
	logins   int64
}

// columnsPerDecade is how many columns a histogram has between 1 and 10 ms, at most: where there are few logins or
// they differ little, the columns are as wide as shows a shape.
const columnsPerDecade = 24

// columns counts what HDR tells in its much finer steps.
func columns(h *hdrhistogram.Histogram) (list []column) {
	counts := map[int]int64{}
	for _, step := range h.Distribution() {
		if step.Count > 0 {
			middle := math.Sqrt(float64(max(step.From, 1))*float64(step.To)) / 1e3
			counts[int(math.Floor(math.Log10(middle)*columnsPerDecade))] += step.Count
		}
	}
	for i, logins := range counts {
		edge := func(i int) float64 { return math.Pow(10, float64(i)/columnsPerDecade) }
		list = append(list, column{edge(i), edge(i + 1), logins})
	}
	slices.SortFunc(list, func(a, b column) int { return cmp.Compare(a.from, b.from) })
	return list
}

// mark is a percentile in the histogram.
type mark struct {
	name  string
	at    float64
	shade color.Color
}

func histogramPanel(r *record) *plot.Plot {
	p := panel("whole login, ms", "logins")
	list, whole := columns(r.histograms[wholeLogin]), percentilesOf(r.histograms[wholeLogin])
	if len(list) == 0 {
		list = []column{{1, 10, 0}}
	}
	p.X.Min, p.X.Max = list[0].from, list[len(list)-1].to*1.1
	logAxis(&p.X)
	var most int64
	for _, one := range list {
		most = max(most, one.logins)
	}
	marks := []mark{{"p50", whole.P50, ink}, {"p90", whole.P90, ink}, {"p99", whole.P99, amber}, {"max", whole.Max, crimson}}
	// The percentiles stand one above the other over the columns.
	p.Y.Min, p.Y.Max = 0, max(1, float64(most)*1.35)
	countAxis(&p.Y)
	p.Add(grid(false, true), painter(func(c draw.Canvas, x, y func(float64) vg.Length) {
		for _, one := range list {
			bar(c, blue, x(one.from)+0.5, y(0), x(one.to)-0.5, y(float64(one.logins)))
		}
		if whole.Count > 0 {
			paintMarks(c, marks, x, y(0))
		}
	}))
	return p
}

// paintMarks draws a line for each percentile, with its value at its upper end.
func paintMarks(c draw.Canvas, marks []mark, x func(float64) vg.Length, bottom vg.Length) {
	place := func(i int, at float64) vg.Point {
		return vg.Point{X: min(max(x(at), c.Min.X), c.Max.X), Y: c.Max.Y - vg.Length(i)*14 - 1}
	}
	for i, one := range marks {
		top := place(i, one.at)
		c.StrokeLine2(draw.LineStyle{Color: one.shade, Width: 1, Dashes: []vg.Length{3, 2}}, top.X, bottom, top.X, top.Y)
	}
	for i, one := range marks {
		label(c, place(i, one.at), one.shade, one.name+"  "+ms(one.at))
	}
}

// label writes beside a line, on the side where there is room.
func label(c draw.Canvas, at vg.Point, shade color.Color, words string) {
	style := typeface(10.5, shade, true)
	left, long := at.X+4, style.Width(words)
	if left+long > c.Max.X {
		left = at.X - 4 - long
	}
	style.YAlign = draw.YTop
	bar(c, color.White, left-1, at.Y-12, left+long+1, at.Y)
	c.FillText(style, vg.Point{X: left, Y: at.Y}, words)
}

func phasesPanel(l latencyReport) *plot.Plot {
	p := panel("ms; the dot is p50, thick goes to p90, thin to p99", "")
	rows := l.rows()
	p.X.Min, p.X.Max = math.Inf(1), math.Inf(-1)
	names := make([]string, phases)
	for i, row := range rows {
		names[phases-1-i] = phase(i).String()
		if row.Count > 0 {
			p.X.Min, p.X.Max = min(p.X.Min, row.P50/1.5), max(p.X.Max, row.P99*1.2)
		}
	}
	logAxis(&p.X)
	nameAxis(&p.Y, names)
	p.Add(grid(true, false), painter(func(c draw.Canvas, x, y func(float64) vg.Length) {
		for i, row := range rows {
			if row.Count > 0 {
				paintRange(c, row, x, y(float64(phases-1-i)))
			}
		}
	}))
	return p
}

// paintRange draws a phase: half of the logins are at the dot or before it, nine of ten within the thick line, and
// all but one in a hundred within the thin one.
func paintRange(c draw.Canvas, row percentiles, x func(float64) vg.Length, y vg.Length) {
	p50, p90, p99 := x(row.P50), x(row.P90), x(row.P99)
	c.StrokeLine2(draw.LineStyle{Color: pale, Width: 2.5}, p50, y, p99, y)
	c.StrokeLine2(draw.LineStyle{Color: blue, Width: 7}, p50, y, p90, y)
	c.DrawGlyphNoClip(draw.GlyphStyle{Color: ink, Radius: 4.5, Shape: draw.CircleGlyph{}}, vg.Point{X: p50, Y: y})
	style := typeface(10, ink, false)
	style.XAlign, style.YAlign = draw.XCenter, draw.YBottom
	c.FillText(style, vg.Point{X: p50, Y: y + 7}, ms(row.P50))
}

// cell is a part of the timeline's plane.
type cell struct{ column, row int }

// The timeline is divided into this many columns and rows.
const (
	timelineColumns = 130
	timelineRows    = 30
)

func timelinePanel(report *loginReport, r *record) *plot.Plot {
	p := panel("", "whole login, ms")
	elapsed := time.Duration(report.Seconds * float64(time.Second))
	p.X.Min, p.X.Max = 0, elapsed.Seconds()
	secondsAxis(&p.X)
	p.Y.Min, p.Y.Max = math.Inf(1), math.Inf(-1)
	for _, one := range r.samples.kept {
		took := max(one.took.Seconds()*1e3, 1e-3)
		p.Y.Min, p.Y.Max = min(p.Y.Min, took/1.1), max(p.Y.Max, took*1.1)
	}
	logAxis(&p.Y)
	p.Add(grid(false, true), painter(func(c draw.Canvas, x, y func(float64) vg.Length) {
		paintCells(c, r.samples.kept, x, y)
		paintLines(c, report.Timeline, x, y)
	}))
	return p
}

// paintCells draws where logins lie: the darker, the more of them. A cell in which one failed is red.
func paintCells(c draw.Canvas, logins []sample, x, y func(float64) vg.Length) {
	size := vg.Point{X: (c.Max.X - c.Min.X) / timelineColumns, Y: (c.Max.Y - c.Min.Y) / timelineRows}
	counts, failures := map[cell]int{}, map[cell]int{}
	most := 1
	for _, one := range logins {
		at := cell{int((x(one.at.Seconds()) - c.Min.X) / size.X), int((y(max(one.took.Seconds()*1e3, 1e-3)) - c.Min.Y) / size.Y)}
		if one.failed {
			failures[at]++
			continue
		}
		counts[at]++
		most = max(most, counts[at])
	}
	paint := func(at cell, shade color.Color) {
		left, bottom := c.Min.X+vg.Length(at.column)*size.X, c.Min.Y+vg.Length(at.row)*size.Y
		bar(c, shade, left, bottom, left+size.X-0.4, bottom+size.Y-0.4)
	}
	for _, at := range inOrder(counts) {
		share := 0.18 + 0.62*math.Log1p(float64(counts[at]))/math.Log1p(float64(most))
		paint(at, color.NRGBA{R: blue.R, G: blue.G, B: blue.B, A: uint8(share * 255)})
	}
	for _, at := range inOrder(failures) {
		paint(at, crimson)
	}
}

// inOrder makes the same picture of the same logins.
func inOrder(cells map[cell]int) []cell {
	list := make([]cell, 0, len(cells))
	for at := range cells {
		list = append(list, at)
	}
	slices.SortFunc(list, func(a, b cell) int { return cmp.Or(a.column-b.column, a.row-b.row) })
	return list
}

// paintLines draws two percentiles over time, with their names where they end.
func paintLines(c draw.Canvas, timeline []interval, x, y func(float64) vg.Length) {
	p50, p99 := linesOf(timeline, x, y)
	if len(p50) == 0 {
		return
	}
	lower, upper := lastOf(p50), lastOf(p99)
	if near := 12 - (upper.Y - lower.Y); near > 0 {
		lower.Y, upper.Y = lower.Y-near/2, upper.Y+near/2
	}
	paintLine(c, p50, blue, "p50", lower)
	paintLine(c, p99, amber, "p99", upper)
}

// linesOf returns two percentiles as lines, which are broken where logins failed and none succeeded.
func linesOf(timeline []interval, x, y func(float64) vg.Length) (p50, p99 [][]vg.Point) {
	broken := true
	for _, one := range timeline {
		if one.P50 == nil {
			broken = broken || one.Failed > 0
			continue
		}
		if broken {
			p50, p99, broken = append(p50, nil), append(p99, nil), false
		}
		last, middle := len(p50)-1, x(one.At+one.Width/2)
		p50[last] = append(p50[last], vg.Point{X: middle, Y: y(*one.P50)})
		p99[last] = append(p99[last], vg.Point{X: middle, Y: y(*one.P99)})
	}
	return p50, p99
}

func lastOf(lines [][]vg.Point) vg.Point {
	line := lines[len(lines)-1]
	return line[len(line)-1]
}

func paintLine(c draw.Canvas, lines [][]vg.Point, shade color.Color, name string, end vg.Point) {
	c.StrokeLines(draw.LineStyle{Color: color.White, Width: 3.5}, lines...)
	c.StrokeLines(draw.LineStyle{Color: shade, Width: 1.75}, lines...)
	style := typeface(10.5, shade, true)
	style.YAlign = draw.YCenter
	c.FillText(style, vg.Point{X: end.X + 8, Y: end.Y}, name)
}

func throughputPanel(report *loginReport) *plot.Plot {
	p := panel("seconds since the start", "logins a second")
	p.X.Min, p.X.Max = 0, report.Seconds
	secondsAxis(&p.X)
	most := 1.0
	for _, one := range report.Timeline {
		most = max(most, float64(one.Logins+one.Failed)/one.Width)
	}
	p.Y.Min, p.Y.Max = 0, most*1.08
	countAxis(&p.Y)
	p.Add(grid(false, true), painter(func(c draw.Canvas, x, y func(float64) vg.Length) {
		for _, one := range report.Timeline {
			left, right := x(one.At)+0.5, x(one.At+one.Width)-0.5
			succeeded, all := y(float64(one.Logins)/one.Width), y(float64(one.Logins+one.Failed)/one.Width)
			bar(c, blue, left, y(0), right, succeeded)
			bar(c, crimson, left, succeeded, right, all)
		}
	}))
	return p
}
