package middleware

import gossh "golang.org/x/crypto/ssh"

// unreadPackets are the packets that x/crypto has read ahead on a connection: 16 at most, and one more that its reader
// holds. Where the library gives up a connection because of a packet, nobody takes the others. The reader that holds the
// 17th then waits for ever, and its writer waits for it: a stranger could leave any number of goroutines behind, with a
// megabyte each, and closing the connection frees nothing (v0.59.0, ssh/handshake.go, readLoop). So they are taken here.
//
// # Report for golang.org/x/crypto
//
// ssh: server leaks readLoop and kexLoop when the handshake fails with unread packets
//
// What: (*handshakeTransport).readLoop sends each packet to t.incoming, a channel with room for 16. If serverHandshake
// returns an error, or mux.loop ends, nothing receives from it any more. A peer that has sent 17 packets by then keeps
// readLoop blocked in "t.incoming <- p" and kexLoop in "<-t.startKex" after the connection is closed.
//
// Why it matters: it happens before authentication, and each connection keeps two goroutines and up to 17 packets of
// 256 kB. A server can do nothing about it, because nothing exported reaches the channel.
//
// Reproduction: complete a key exchange, send a service request for an unknown service and 40 more packets in one write,
// close; runtime.Stack shows both goroutines. TestUnreadPackets does this at three stages.
//
// Proposed change: give handshakeTransport a channel that Close closes, and let readLoop select on it:
//
//	select {
//	case t.incoming <- p:
//	case <-t.closed:
//		return
//	}
type unreadPackets <-chan []byte

// unreadPacketsOf returns the unread packets of a connection, which the library does not export.
func unreadPacketsOf(conn gossh.ServerPreAuthConn) unreadPackets {
	at, _ := libraryLayout()
	return *transportField[chan []byte](conn, at.incoming)
}

// discard takes the packets of a connection that is closed or about to be. The library closes the channel when there is
// nothing more to read.
func (p unreadPackets) discard() {
	for p != nil {
		select {
		case _, more := <-p:
			if !more {
				return
			}
		default:
			go func() {
				for range p {
				}
			}()
			return
		}
	}
}
