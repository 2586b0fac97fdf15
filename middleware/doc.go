// Package middleware holds foyer's layers, one file each, and what makes a server of them.
//
// # The life of a connection
//
// A [Layer] is one concern of the server. A [Stack] is a list of layers, outermost first, and installs itself on an
// [ssh.Server] as its one set of callbacks. Each connection is one [Conn], which knows its stage, its logger and its open
// sessions. The stack calls the layers at these moments, in the order of the list:
//
//  1. The server accepts a TCP connection. Each layer's Connect sees it and may refuse it. ProxyHeader reads the
//     visitor's address here, if a balancer passes connections on; Penalties refuses blocked sources; Limits makes room or refuses; Deadlines sets the time limit; Logging gives the connection its logger.
//     What a layer needs to know later lives in the closures that Connect returns, its [Moments].
//  2. The server sends its version line and waits for the client's first bytes (package transport, the only wrapper of
//     net.Conn). Until then nothing else is allocated. What is not a version line of SSH is refused at once.
//  3. Configure prepares the handshake: Algorithms its key exchanges and ciphers, PublicKey and Password what they check.
//     The stack then removes every authentication callback for a method that no layer has declared, and combines the others
//     as a layer's Combinations say. golang.org/x/crypto/ssh exchanges keys; for each part that it computes, Computing may
//     delay it, as Limits does to share the CPUs fairly, and before the server signs, Work may refuse.
//  4. The client tries to authenticate. The stack classifies each [Attempt] once and passes it to the layers. What a layer
//     grants is in the gossh.Permissions that its check returned; nothing that was only offered is an identity.
//     When the client is authenticated, Established tells each layer; HostKeyUpdate announces the host keys here.
//  5. The client opens channels. Open asks each layer; Limits refuses a session too many. Package session serves the
//     session channel: it answers the client's requests and starts the handler for a shell, a command or a subsystem.
//     PublicKey and Password refuse a session of a user who was removed meanwhile.
//  6. The handler runs inside the Session parts of the layers: Recover, Logging, PTYNotice, ForwardNotice, Greeting,
//     HostKeyUpdate, Message. Message is the last line of the list, and the one to replace.
//  7. The session ends with an exit status, and the channel closes. Ended tells each layer, and Left when the client has
//     confirmed that. The connection stays open for more sessions, until the client leaves or Deadlines finds it idle.
//  8. Closed tells each layer, the innermost first. Penalties charges the source if nobody was authenticated.
//
// When the server is told to stop, [Stack.Drain] tells clients that are not authenticated to come back later, closes idle
// connections, and lets sessions finish.
//
// # Where things are
//
//	a layer                         its file here; larger parts are in the package of its name
//	who may come in                 auth: passwords, authorizedkeys, userca
//	one connection                  conn.go; its network side: transport
//	one session                     session
//	which addresses are one source  source
//	the log, the counters           eventlog
//	listening, defaults, draining   server
//	testing a layer                 sshtest; task new NAME=hello writes a layer with its test
//
// To add a layer, write a constructor that returns a Layer, and add its line to the list in cmd/foyer/layers.go.
package middleware
