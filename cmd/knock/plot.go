package main

import (
	"bytes"
	"fmt"
	"image/color"
	"io"
	"time"

	"golang.org/x/image/font"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// The picture's size in points, and the air around it and between its panels.
const (
	pictureWidth  = 860
	pictureHeight = 760
	margin        = 28
	gutter        = 22
)

var (
	ink     = color.RGBA{R: 0x1b, G: 0x24, B: 0x30, A: 0xff}
	faded   = color.RGBA{R: 0x5b, G: 0x67, B: 0x76, A: 0xff}
	hairs   = color.RGBA{R: 0xe4, G: 0xe8, B: 0xed, A: 0xff}
	blue    = color.RGBA{R: 0x2f, G: 0x6f, B: 0xde, A: 0xff}
	pale    = color.RGBA{R: 0xa9, G: 0xc5, B: 0xf5, A: 0xff}
	amber   = color.RGBA{R: 0xb8, G: 0x6e, B: 0x00, A: 0xff}
	crimson = color.RGBA{R: 0xc9, G: 0x2a, B: 0x2a, A: 0xff}
)

// picture writes the picture of a measurement: how long logins took, what they spent it on, and how that went over time.
func picture(w io.Writer, report *loginReport, r *record) error {
	canvas := vgsvg.New(pictureWidth, pictureHeight)
	page := draw.New(canvas)
	page.SetColor(color.White)
	page.Fill(page.Rectangle.Path())
	page = draw.Crop(page, margin, -margin, margin, -margin)
	page = headline(page, report)

	height := (page.Max.Y - page.Min.Y - 2*gutter)
	top, rest := above(page, height*0.42)
	left, right := beside(top, 0.56)
	middle, bottom := above(rest, height*0.35)
	level(titled(left, "How long a login takes"), titled(right, "What it is spent on"),
		histogramPanel(r), phasesPanel(report.Latency))
	flush(titled(middle, "Whole logins over time"), titled(bottom, throughputTitle(report)),
		timelinePanel(report, r), throughputPanel(report))

	var svg bytes.Buffer
	if _, err := canvas.WriteTo(&svg); err != nil {
		return err
	}
	_, err := w.Write(anyFont(svg.Bytes()))
	return err
}

// anyFont names fonts of the same widths besides the one that the library knows the widths of, for machines that do
// not have it.
func anyFont(svg []byte) []byte {
	const family = "font-family:Liberation Sans"
	return bytes.ReplaceAll(svg, []byte(family+";"), []byte(family+",Arial,Helvetica,sans-serif;"))
}

// typeface returns a style of text.
func typeface(size vg.Length, shade color.Color, bold bool) text.Style {
	style := text.Style{Color: shade, Font: plot.DefaultFont, Handler: plot.DefaultTextHandler}
	style.Font.Variant, style.Font.Size = "Sans", size
	if bold {
		style.Font.Weight = font.WeightBold
	}
	return style
}

// headline writes what the picture is of, and returns the page below it.
func headline(page draw.Canvas, r *loginReport) draw.Canvas {
	title := fmt.Sprintf("%s in %.1f s, %s a second; %s",
		plural(r.Logins, "login"), r.Seconds, significant(r.PerSecond), failedCount(r.Failed))
	lines := []string{r.Door.Target + ", " + r.Pace.String() + ", " + r.Started.Format(time.DateTime)}
	if r.Door.Version != "" {
		lines = append(lines, fmt.Sprintf("%s, %s, %s, %s", r.Door.Version, r.Door.Kex, r.Door.HostKey, r.Door.Cipher))
	}
	y := page.Max.Y - 16
	page.FillText(typeface(18, ink, true), vg.Point{X: page.Min.X, Y: y}, title)
	for _, line := range lines {
		y -= 16
		page.FillText(typeface(11, faded, false), vg.Point{X: page.Min.X, Y: y}, line)
	}
	page.Max.Y = y - gutter
	return page
}

// above divides a canvas into a part of some height and what is below it.
func above(c draw.Canvas, height vg.Length) (upper, lower draw.Canvas) {
	upper, lower = c, c
	upper.Min.Y = c.Max.Y - height
	lower.Max.Y = upper.Min.Y - gutter
	return upper, lower
}

// beside divides a canvas into a left part and a right one.
func beside(c draw.Canvas, share vg.Length) (left, right draw.Canvas) {
	left, right = c, c
	left.Max.X = c.Min.X + (c.Max.X-c.Min.X)*share
	right.Min.X = left.Max.X + gutter
	return left, right
}

func throughputTitle(r *loginReport) string {
	if r.Failed > 0 {
		return "Throughput, and failed logins in red"
	}
	return "Throughput"
}

// titled writes the title of a panel over its left edge, and returns what is below it.
func titled(c draw.Canvas, title string) draw.Canvas {
	style := typeface(13, ink, true)
	style.YAlign = draw.YTop
	c.FillText(style, vg.Point{X: c.Min.X, Y: c.Max.Y}, title)
	return draw.Crop(c, 0, 0, 0, -24)
}

// level draws two panels beside each other with their axes at one height.
func level(a, b draw.Canvas, p, q *plot.Plot) {
	apart := p.DataCanvas(a).Min.Y - q.DataCanvas(b).Min.Y
	p.Draw(draw.Crop(a, 0, 0, max(0, -apart), 0))
	q.Draw(draw.Crop(b, 0, 0, max(0, apart), 0))
}

// flush draws two panels above each other with their axes in one line.
func flush(a, b draw.Canvas, p, q *plot.Plot) {
	apart := p.DataCanvas(a).Min.X - q.DataCanvas(b).Min.X
	p.Draw(draw.Crop(a, max(0, -apart), 0, 0, 0))
	q.Draw(draw.Crop(b, max(0, apart), 0, 0, 0))
}
