package middleware

import (
	"charm.land/ssh"
	"charm.land/wish/v2"
	gossh "golang.org/x/crypto/ssh"
)

// Layer is one concern of the server. Its constructor is in a file of its own. Every field but Name may be left out; the zero Layer does
// nothing.
//
// A layer has no globals and keeps nothing of a session in the connection's context. Its constructor does no I/O, starts
// nothing and never panics: it reports a bad setting through Server.
type Layer struct {
	// Name is one word for the operator. It appears in the list that is printed at start, and in errors.
	Name string
	// Server checks the layer's settings once, when the stack is installed, and may prepare the server. It must leave the
	// server's callbacks alone: they are the stack's.
	Server ssh.Option
	// HostKeys returns those of the host keys that the layer lets the server use, and restricts them where it needs to. It is
	// called when host keys are replaced. An error says that no key is left.
	HostKeys func([]ssh.Signer) ([]ssh.Signer, error)
	// Connect is called for each connection before a byte is exchanged. It returns the moments at which the layer acts on
	// this connection; state lives in their closures. An error refuses the connection.
	Connect func(*Conn) (Moments, error)
	// Methods names the authentication methods that the layer checks, with callbacks that it sets in Configure:
	// "password", "publickey", "keyboard-interactive", or "none" where it lets everybody in. A callback for any other
	// method is not used.
	Methods []string
	// Combinations lists the combinations of methods that let a client in, each in the order in which its methods are
	// asked for. At most one layer may set it. Without it each method of each layer lets in by itself.
	Combinations [][]string
	// Session wraps the handler of each session. It calls next exactly once, or tells the visitor why it does not
	// ([Tell]) and ends the session. Every Wish middleware fits here.
	Session wish.Middleware
	// Handler serves the sessions. The last layer of a list has one, and no other.
	Handler ssh.Handler
}

// Moments are the points in the life of one connection at which a layer may act. Each may be nil.
type Moments struct {
	// Configure prepares the handshake: authentication callbacks and algorithms. It is called once, after the client's
	// first bytes.
	Configure func(*gossh.ServerConfig)
	// Stage is called when the connection reaches a later stage, except Closed.
	Stage func(Stage)
	// Attempt is called after each attempt to authenticate.
	Attempt func(Attempt)
	// Established is called when the client is authenticated and can be sent requests. What is sent leaves with the message
	// that it is authenticated. A server of a layer with Established must have no IdleTimeout.
	Established func(gossh.Conn)
	// Terminal reports whether a session may have the terminal that it asks for.
	Terminal func(ssh.Pty) bool
	// Open is called when the client asks for a channel, with the number of its open sessions, this one included. The
	// client reads the error if it is refused.
	Open func(channel gossh.NewChannel, sessions int) error
	// Ended is called when the server has ended a session and waits for the client to confirm that it is closed, and again
	// before Left.
	Ended func()
	// Left is called when a channel is over, with its type, even if a layer has refused it. If the client disconnects
	// first, it may be called after Closed.
	Left func(channelType string)
	// Work is called when the client makes the server do or hold something. An error refuses it: the read, the key
	// exchange or the request fails. For BytesRead it is ignored.
	Work func(kind Work, n int) error
	// Computing is called with true before the server computes a part of the first key exchange, or proves host keys, which
	// the layer may delay, or refuse with an error; and with false afterwards, also if a layer has refused it.
	Computing func(bool) error
	// Closed is called once, when the connection is over, in the reverse order of the list. The error says why nobody was
	// authenticated, and is nil if somebody was.
	Closed func(error)
}

// Work is something that a client makes the server do.
type Work int

// The kinds of work. The comment says what n counts.
const (
	BytesReceived Work = iota // bytes read from the network
	BytesRead                 // received bytes that a session or another channel has read
	KeyExchange               // key exchanges, the first one included
	GlobalRequest             // global requests (RFC 4254 section 4)
)

// Handler returns the layer that ends a list: it serves the sessions with handler.
func Handler(name string, handler ssh.Handler) Layer { return Layer{Name: name, Handler: handler} }
