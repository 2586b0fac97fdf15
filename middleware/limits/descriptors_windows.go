package limits

// Descriptors returns how many connections the process may have open. Windows has no limit that can be read.
func Descriptors() int { return 16384 }
