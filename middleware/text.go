package middleware

// Text is a text that may change while the server runs, as a [watchfile.Watched] file does.
type Text interface{ Current() string }

// Fixed is a text that does not change.
type Fixed string

// Current implements [Text].
func (f Fixed) Current() string { return string(f) }
