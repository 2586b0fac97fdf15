package keyfile

// Error is an error with a hint, which ends in something to type.
type Error struct {
	Err error
	Fix string
}

func (e *Error) Error() string { return e.Err.Error() }

// Hint returns Fix.
func (e *Error) Hint() string { return e.Fix }

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }
