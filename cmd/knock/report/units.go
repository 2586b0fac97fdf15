package report

import (
	"fmt"
	"strconv"
	"strings"
)

// Milliseconds writes a time with three digits, in seconds from one second on.
func Milliseconds(v float64) string {
	if v >= 999.5 {
		return significant(v/1e3) + " s"
	}
	return significant(v) + " ms"
}

// significant writes three digits, or all digits before the point if there are more.
func significant(v float64) string {
	if v >= 999.5 {
		return Count(int64(v + 0.5))
	}
	return strings.TrimSuffix(fmt.Sprintf("%#.3g", v), ".")
}

// Count writes a number with a comma before every third digit.
func Count(n int64) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// Plural writes a number and a noun.
func Plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return Count(n) + " " + noun + "s"
}

// Bytes writes an amount of memory in KiB or MiB.
func Bytes(n float64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%.0f KiB", n/(1<<10))
	}
	return fmt.Sprintf("%.1f MiB", n/(1<<20))
}
