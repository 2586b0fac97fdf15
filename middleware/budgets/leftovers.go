package budgets

import (
	"errors"
	"reflect"

	gossh "golang.org/x/crypto/ssh"
)

// maxBeforeService is how many bytes a client may send between the first key exchange and the answer to its service
// request: a SSH_MSG_NEWKEYS and that request are not a hundred. It is less than what leaves a goroutine behind: 18 of the
// smallest packets, which have 26 bytes, for x/crypto takes one and has room for 16.
const maxBeforeService = 448

// errUnknownLibrary is a golang.org/x/crypto/ssh that looks different inside.
var errUnknownLibrary = errors.New("this version of golang.org/x/crypto/ssh does not say where it keeps its packets")

// leftovers are the packets that x/crypto has read ahead on a connection, at most 16, and one for which there was no
// room. Where the library gives a connection up, because a packet is not what it wants, nobody takes them any more. The
// goroutine that has read the 17th waits for ever, and another one for it: a stranger could have any number of them, with
// a megabyte each, and closing the connection frees nothing (v0.59.0, handshake.go, readLoop). So they are taken here.
type leftovers <-chan []byte

// leftoversOf returns the leftovers of a connection. The library keeps them to itself; how it does is asserted by
// TestLeftovers, which has to be looked at whenever the library's version changes.
func leftoversOf(conn gossh.ServerPreAuthConn) (leftovers, error) {
	transport := field(reflect.ValueOf(conn), "transport")
	incoming := field(transport, "incoming")
	if !incoming.IsValid() || incoming.Type() != reflect.TypeFor[chan []byte]() {
		return nil, errUnknownLibrary
	}
	return *(*chan []byte)(incoming.Addr().UnsafePointer()), nil
}

// field returns a field of what v points to, or the zero Value where it has none of that name.
func field(v reflect.Value, name string) reflect.Value {
	for v.IsValid() && (v.Kind() == reflect.Interface || v.Kind() == reflect.Pointer) {
		v = v.Elem()
	}
	if !v.IsValid() || v.Kind() != reflect.Struct {
		return reflect.Value{}
	}
	return v.FieldByName(name)
}

// take takes what is left of a connection that is closed, or about to be: the library closes the channel when there is
// nothing more to read.
func (l leftovers) take() {
	for {
		select {
		case _, more := <-l:
			if !more {
				return
			}
		default:
			go func() {
				for range l {
				}
			}()
			return
		}
	}
}
