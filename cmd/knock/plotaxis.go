package main

import (
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// panel returns one part of the picture, with axes that stay in the background.
func panel(below, aside string) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Padding = 0
		axis.Width = 0
		axis.Tick.Width, axis.Tick.Length = 0, 4
		align := axis.Tick.Label
		axis.Tick.Label = typeface(10.5, faded, false)
		axis.Tick.Label.XAlign, axis.Tick.Label.YAlign = align.XAlign, align.YAlign
		align = axis.Label.TextStyle
		axis.Label.TextStyle = typeface(10.5, faded, false)
		axis.Label.TextStyle.XAlign, axis.Label.TextStyle.YAlign = align.XAlign, align.YAlign
		axis.Label.Padding = 4
	}
	p.X.Label.Text, p.Y.Label.Text = below, aside
	return p
}

// grid draws hairs at the marks of one axis or both.
func grid(vertical, horizontal bool) *plotter.Grid {
	g := &plotter.Grid{}
	hair := draw.LineStyle{Color: hairs, Width: vg.Points(0.75)}
	if vertical {
		g.Vertical = hair
	}
	if horizontal {
		g.Horizontal = hair
	}
	return g
}

// logAxis makes an axis logarithmic. What is nothing or next to nothing gets room around it.
func logAxis(axis *plot.Axis) {
	if math.IsInf(axis.Min, 0) || axis.Min <= 0 {
		axis.Min, axis.Max = 1, 10
	}
	if axis.Max < axis.Min*2 {
		middle := math.Sqrt(axis.Min * axis.Max)
		axis.Min, axis.Max = middle/1.5, middle*1.5
	}
	axis.Scale = plot.LogScale{}
	axis.Tick.Marker = plot.TickerFunc(logMarks)
}

// logMarks are at 1, 2 and 5 of each decade, at 1 alone where there are many decades, and at all where there is none.
func logMarks(least, most float64) (marks []plot.Tick) {
	steps := []float64{1, 2, 5}
	switch decades := math.Log10(most / least); {
	case decades > 2.5:
		steps = steps[:1]
	case decades < 0.7:
		steps = []float64{1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9}
	}
	stride := math.Ceil(math.Log10(most/least) / 4.5) // decades from one mark to the next
	for decade := math.Floor(math.Log10(least)); decade <= math.Ceil(math.Log10(most)); decade += stride {
		for _, step := range steps {
			if at := step * math.Pow(10, decade); at >= least && at <= most {
				marks = append(marks, plot.Tick{Value: at, Label: round(at)})
			}
		}
	}
	return marks
}

// round writes a mark without digits that say nothing.
func round(v float64) string {
	if v >= 1000 {
		return count(int64(v + 0.5))
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// countAxis marks whole numbers.
func countAxis(axis *plot.Axis) {
	axis.Tick.Marker = plot.TickerFunc(func(least, most float64) []plot.Tick { return evenMarks(least, most, 5, 1) })
}

// secondsAxis marks seconds, or parts of them.
func secondsAxis(axis *plot.Axis) {
	if axis.Max <= 0 {
		axis.Max = 1
	}
	axis.Tick.Marker = plot.TickerFunc(func(least, most float64) []plot.Tick { return evenMarks(least, most, 12, 0) })
}

// evenMarks are about so many, at multiples of 1, 2 or 5, and no closer to each other than finest.
func evenMarks(least, most float64, about int, finest float64) (marks []plot.Tick) {
	decade := math.Pow(10, math.Floor(math.Log10((most-least)/float64(about))))
	step := decade * 10
	for _, of := range []float64{1, 2, 5} {
		if (most-least)/(decade*of) <= float64(about) {
			step = decade * of
			break
		}
	}
	step = max(step, finest)
	for i := math.Ceil(least / step); i*step <= most; i++ {
		marks = append(marks, plot.Tick{Value: i * step, Label: round(i * step)})
	}
	return marks
}

// nameAxis has names from the bottom up.
func nameAxis(axis *plot.Axis, names []string) {
	marks := make(plot.ConstantTicks, len(names))
	for i, name := range names {
		marks[i] = plot.Tick{Value: float64(i), Label: name}
	}
	axis.Min, axis.Max = -0.5, float64(len(names))-0.5
	axis.Tick.Marker = marks
	axis.Tick.Label = typeface(10.5, ink, false)
	axis.Tick.Label.XAlign, axis.Tick.Label.YAlign = draw.XRight, draw.YCenter
}
