// Package penalties keeps what each source owes for its connections that ended without authentication.
//
// A [Table] keeps the penalties of many sources, and a [Ledger] decides what costs how much and who is refused. It is the
// penalties layer without its hooks.
package penalties
