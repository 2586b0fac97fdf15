package main

import (
	"strings"
	"testing"
)

func windows(cpu ...float64) *figures {
	f := &figures{}
	for i, each := range cpu {
		f.Windows = append(f.Windows, window{Round: i + 1, CPU: each, PerSecond: 1e6 / each, P50: 4, P99: 12.34})
	}
	return f
}

// example has a door of each kind: one that is divided, two rivals' peers, and one that cannot take all visitors.
func example() *report {
	r := &report{Rounds: 3, Window: 0.5, Visitors: 8, Machine: machine{CPU: "A CPU", Cores: 2},
		Skipped: []skipped{{"erlang", "apt-get install erlang"}}}
	for _, d := range []struct {
		name, rival string
		door        door
		key         *figures
	}{
		{itself, "", door{}, windows(1000, 1100, 900)},
		{compat, "", door{compat: true}, windows(1200, 1200, 1200)},
		{"wish", itself, door{}, windows(2000, 1000, 1000)},
		{"conch", compat, door{compat: true}, windows(2400, 2400, 2400)},
		{"dropbear", itself, door{visitors: 4}, windows(20000, 20000, 20000)},
	} {
		r.Doors = append(r.Doors, &doorReport{
			Name: d.name, About: "about " + d.name, Rival: d.rival, Visitors: d.door.limit(8, d.door.visitors), door: d.door,
			Logins: map[string]*figures{publickey: d.key}, Start: quartilesOf([]float64{12}),
			Trips: map[string]trips{publickey: {Number: 8, Link: 0.42}, password: {Number: 7}},
			Idle:  30 << 20, Held: 51200, Silent: 20480,
		})
	}
	r.Doors[2].Logins[publickey].Failed = 3
	r.conclude()
	return r
}

func TestMarkdown(t *testing.T) {
	got := example().markdown()
	for _, want := range []string{
		"A CPU, 2 cores",
		"3 rounds of 500ms a door, 8 visitors at a time",
		"| foyer | 1000 µs |  | 1000 | 4.00 ms | 12.3 ms |",
		"| wish (3 failed) | 1000 µs | 0.90 (0.70 to 1.00) | 1000 | 4.00 ms | 12.3 ms |",
		"| conch (to foyer compat) | 2400 µs | 0.50 (0.50 to 0.50) |",
		"| dropbear (4 at a time) | 20000 µs | 0.050 (0.048 to 0.053) |",
		"| wish | 12.0 ms | 30.0 MiB | 50 KiB | 20 KiB | 8 | 7 | 420 ms |",
		"- wish: about wish; ",
		"- erlang: skipped; apt-get install erlang",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("there is no %q in\n%s", want, got)
		}
	}
}

func TestUnits(t *testing.T) {
	for _, test := range []struct{ got, want string }{
		{ms(0.5), "0.50 ms"}, {ms(9.996), "10.0 ms"}, {ms(99.96), "100 ms"}, {ms(1234), "1234 ms"},
		{size(0), "0 KiB"}, {size(1 << 20), "1.0 MiB"}, {size(-2048), "-2 KiB"},
		{(*quartiles)(nil).String(), ""},
	} {
		if test.got != test.want {
			t.Errorf("got %q, want %q", test.got, test.want)
		}
	}
}
