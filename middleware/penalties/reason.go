package penalties

// Reason is what a source was last penalised for, by the names that sshd_config(5) has for them.
type Reason uint8

const (
	NoAuth        Reason = iota // left without an attempt to authenticate
	AuthFail                    // left after attempts that all failed
	InvalidUser                 // left after an attempt as a user who does not exist
	GraceExceeded               // was not authenticated in time

	reasons // is how many there are
)

// String returns sshd's keyword.
func (r Reason) String() string {
	return [...]string{"noauth", "authfail", "invaliduser", "grace-exceeded"}[r]
}
