package main

import (
	"fmt"
	"strconv"
)

// ms writes milliseconds to three digits, as seconds from one on.
func ms(v float64) string {
	if v >= 999.5 {
		return significant(v/1e3) + " s"
	}
	return significant(v) + " ms"
}

// significant writes a number to three digits, and to all that stand before the point.
func significant(v float64) string {
	switch {
	case v >= 999.5:
		return count(int64(v + 0.5))
	case v >= 99.95:
		return fmt.Sprintf("%.0f", v)
	case v >= 9.995:
		return fmt.Sprintf("%.1f", v)
	case v >= 0.9995 || v == 0:
		return fmt.Sprintf("%.2f", v)
	default:
		return fmt.Sprintf("%.3f", v)
	}
}

// ratio writes a thousandth more of what is near 1.
func ratio(v float64) string {
	if v < 9.9995 {
		return fmt.Sprintf("%.3f", v)
	}
	return significant(v)
}

// count writes a number with a comma before every third digit from the right.
func count(n int64) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return count(n) + " " + noun + "s"
}

func failedCount(n int64) string {
	if n == 0 {
		return "none failed"
	}
	return count(n) + " failed"
}

// size writes bytes in KiB or MiB.
func size(bytes int64) string {
	if bytes < 0 {
		return "-" + size(-bytes)
	}
	if bytes < 1<<20 {
		return fmt.Sprintf("%.1f KiB", float64(bytes)/(1<<10))
	}
	return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20))
}
