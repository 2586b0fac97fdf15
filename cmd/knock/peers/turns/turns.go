// Package turns plays logins that were recorded: who sent how many bytes before the other side had its turn. Both
// sides know the script, so nothing is said of it on the wire but which one it is.
package turns

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"

	"foyer/cmd/knock/peers/primitives"
)

// Turn is what one side sends until it waits for the other.
type Turn struct {
	Server bool `json:"server"` // it is the server's
	Bytes  int  `json:"bytes"`
}

// Script is a login. The client begins.
type Script []Turn

// Scripts are logins by their method.
type Scripts map[string]Script

// methods are told from one another by the first byte of a login.
var methods = [...]string{"publickey", "password"}

// Add appends what one side sent to its turn, or begins its turn.
func (s Script) Add(server bool, bytes int) Script {
	if last := len(s) - 1; last >= 0 && s[last].Server == server {
		s[last].Bytes += bytes
		return s
	}
	return append(s, Turn{server, bytes})
}

// ClientFirst returns the script with the client's turn first: both sides begin with their version at once, and which
// of them arrives earlier is chance (RFC 4253, section 4.2).
func (s Script) ClientFirst() Script {
	if len(s) < 2 || !s[0].Server {
		return s
	}
	first := Script{s[1], s[0]}
	for _, turn := range s[2:] {
		first = first.Add(turn.Server, turn.Bytes)
	}
	return first
}

// Sent returns how many bytes a side sends in all.
func (s Script) Sent(server bool) (bytes int) {
	for _, turn := range s {
		if turn.Server == server {
			bytes += turn.Bytes
		}
	}
	return bytes
}

func path(house string) string { return filepath.Join(house, "turns.json") }

// Write keeps the scripts in a directory for Read.
func (s Scripts) Write(house string) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return os.WriteFile(path(house), text, 0o600)
}

// Read returns the scripts that Write has left.
func Read(house string) (s Scripts, err error) {
	text, err := os.ReadFile(path(house))
	if err != nil {
		return nil, err
	}
	return s, json.Unmarshal(text, &s)
}

// Visit plays the client.
func Visit(conn net.Conn, logins Scripts, method string) error {
	script := logins[method]
	buffer := make([]byte, longest(script))
	for i, name := range methods {
		if name == method {
			buffer[0] = byte(i)
		}
	}
	return play(conn, script, false, buffer, func(int) {})
}

// Serve plays the server, with the cryptography of such a login.
func Serve(conn net.Conn, logins Scripts, keys *primitives.Keys) error {
	var first [1]byte
	if _, err := io.ReadFull(conn, first[:]); err != nil {
		return err
	}
	if int(first[0]) >= len(methods) {
		return fmt.Errorf("there is no login %d", first[0])
	}
	method := methods[first[0]]
	script := append(Script{}, logins[method]...)
	if len(script) == 0 || script[0].Bytes < 1 {
		return fmt.Errorf("nothing is known of %s", method)
	}
	script[0].Bytes--
	keys.X25519()
	keys.Sign()
	if method == "publickey" {
		keys.Verify()
	}
	return play(conn, script, true, make([]byte, longest(script)), keys.Packet)
}

func longest(s Script) (bytes int) {
	for _, turn := range s {
		bytes = max(bytes, turn.Bytes)
	}
	return bytes
}

// play sends in its own turns and reads in those of the other side.
func play(conn net.Conn, script Script, server bool, buffer []byte, packet func(int)) error {
	for _, turn := range script {
		var err error
		if packet(turn.Bytes); turn.Server == server {
			_, err = conn.Write(buffer[:turn.Bytes])
		} else {
			_, err = io.ReadFull(conn, buffer[:turn.Bytes])
		}
		if err != nil {
			return err
		}
	}
	return nil
}
