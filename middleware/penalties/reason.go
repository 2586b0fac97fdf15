package penalties

// Reason is why a source gets a penalty, with the names of sshd_config(5).
type Reason uint8

const (
	NoAuth        Reason = iota // the client did not try to authenticate
	AuthFail                    // all attempts failed
	InvalidUser                 // an attempt was for a user who does not exist
	GraceExceeded               // the client was not authenticated in time
	Elsewhere                   // other servers have counted the penalties, see [Shared]
)

// String returns sshd's keyword, or "elsewhere".
func (r Reason) String() string {
	return [...]string{"noauth", "authfail", "invaliduser", "grace-exceeded", "elsewhere"}[r]
}
