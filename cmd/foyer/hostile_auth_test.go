//go:build !windows

package main

import (
	"fmt"
	"strings"

	"foyer/middleware/sshtest"
)

// connection is the service that is requested in attempts.
const connection = "ssh-connection"

// sending is an attack that sends packets at one stage and expects the server to disconnect.
func sending(name string, stage func(*attacker) *client, packets ...[]byte) attack {
	return attack{name, func(a *attacker) {
		c := stage(a)
		go c.send(packets...)
		c.awaitClose(0)
	}}
}

func services() []attack {
	service := func(name string) []byte { return msg(sshtest.MsgServiceRequest, name) }
	return []attack{
		sending("an unknown service", (*attacker).keyed, service("ssh-nonsense")),
		sending("the connection before authentication", (*attacker).keyed, service(connection)),
		sending("a service of 200 KB", (*attacker).keyed, service(strings.Repeat("s", 200_000))),
		sending("a service requested twice", (*attacker).handshaken, service("ssh-userauth")),
		sending("a flood of services", (*attacker).handshaken, many(1000, service("ssh-userauth"))...),
		sending("authentication before its service", (*attacker).keyed,
			msg(sshtest.MsgUserauthRequest, "guest", connection, "none")),
		sending("a session before authentication", (*attacker).handshaken, openSession(0, 1<<20, 1<<15)),
		sending("a global request before authentication", (*attacker).handshaken,
			msg(sshtest.MsgGlobalRequest, "tcpip-forward", true, "", uint32(0))),
		sending("the server's own messages", (*attacker).handshaken, msg(sshtest.MsgUserauthSuccess)),
		sending("an empty service request", (*attacker).keyed, msg(sshtest.MsgServiceRequest)),
	}
}

func many(n int, packet []byte) (list [][]byte) {
	for range n {
		list = append(list, packet)
	}
	return list
}

// attempt returns a userauth request.
func attempt(user, service, method string, fields ...any) []byte {
	return msg(sshtest.MsgUserauthRequest, append([]any{user, service, method}, fields...)...)
}

func authentications() []attack {
	key := func(algorithm string) string { return string(sshtest.Fields(algorithm, strings.Repeat("k", 32))) }
	return []attack{
		sending("none 1000 times", (*attacker).handshaken, many(1000, attempt("guest", connection, "none"))...),
		sending("forty methods", (*attacker).handshaken, manyMethods(40)...),
		sending("a password of 200 KB", (*attacker).handshaken,
			many(20, attempt("guest", connection, "password", false, strings.Repeat("p", 200_000)))...),
		sending("a password to be changed", (*attacker).handshaken,
			many(20, attempt("guest", connection, "password", true, "old", "new"))...),
		sending("a user of 200 KB", (*attacker).handshaken,
			many(20, attempt(strings.Repeat("u", 200_000), connection, "none"))...),
		sending("another service", (*attacker).handshaken, many(20, attempt("guest", "ssh-other", "none"))...),
		sending("an unknown kind of key", (*attacker).handshaken,
			many(1000, attempt("guest", connection, "publickey", true, "ssh-nonsense", key("ssh-nonsense"), "sig"))...),
		sending("a key of another kind than its name", (*attacker).handshaken,
			many(1000, attempt("guest", connection, "publickey", true, "ssh-ed25519", key("ssh-rsa"), "sig"))...),
		sending("requests cut short", (*attacker).handshaken,
			cutShort(attempt("guest", connection, "password", false, "wrong"))...),
	}
}

func proofs() []attack {
	return []attack{
		{"random signatures", func(a *attacker) {
			public := a.target.key.PublicKey()
			for _, signature := range []string{"", "x", string(sshtest.Fields("ssh-ed25519", strings.Repeat("s", 64))), string(sshtest.Fields("ssh-rsa", strings.Repeat("s", 64))),
				string(sshtest.Fields("ssh-ed25519", strings.Repeat("s", 63))), strings.Repeat("\xff", 1000)} {
				c := a.handshaken()
				in, err := c.Attempt("guest", connection, "publickey", sshtest.Fields(true, public.Type(), string(public.Marshal()), signature))
				if in {
					a.Errorf("the signature %q is accepted: %v", signature, err)
				}
				_ = c.conn.Close()
			}
		}},
		{"an RSA key of 16384 bits", func(a *attacker) {
			modulus := "\x00\xff" + strings.Repeat("\xff", 2046) + "\xf1"
			blob := string(sshtest.Fields("ssh-rsa", "\x01\x00\x01", modulus))
			signature := string(sshtest.Fields("rsa-sha2-512", strings.Repeat("\x7f", 2048)))
			c := a.handshaken()
			c.send(many(10, attempt("guest", connection, "publickey", true, "rsa-sha2-512", blob, signature))...)
			_ = c.conn.CloseWrite()
			c.awaitClose(0)
		}},
	}
}

// sequences are attacks of several steps.
func sequences() []attack {
	return []attack{
		{"a thousand users", func(a *attacker) {
			for i := 0; i < 1000; {
				c := a.handshaken()
				for ; i < 1000; i++ {
					if _, err := c.Attempt(fmt.Sprint("user", i), connection, "none", nil); err != nil {
						i++
						break
					}
				}
				_ = c.conn.Close()
			}
		}},
		{"authentication after success", func(a *attacker) {
			c := a.authenticated()
			c.send(many(1000, attempt("root", connection, "none"))...)
			c.send(openSession(0, 1<<20, 1<<15), request(0, "shell", true))
		}},
		{"KEXINIT in the middle of authentication", func(a *attacker) {
			c := a.handshaken()
			c.send(sshtest.Init(sshtest.Curve25519), attempt("guest", connection, "none"))
			c.awaitClose(0)
			c = a.handshaken()
			a.must(c.Keys(sshtest.Curve25519))
			if in, err := c.PublicKey("guest", a.target.key); !in || err != nil {
				a.Errorf("after new keys: %v, %v", in, err)
			}
		}},
	}
}

func manyMethods(n int) (list [][]byte) {
	for i := range n {
		list = append(list, attempt("guest", connection, fmt.Sprint("method-", i)))
	}
	for _, name := range []string{"keyboard-interactive", "hostbased", "gssapi-with-mic", "gssapi-keyex", strings.Repeat("m", 100_000)} {
		list = append(list, attempt("guest", connection, name, "", ""))
	}
	return list
}

// cutShort returns all incomplete prefixes of a packet.
func cutShort(packet []byte) (list [][]byte) {
	for i := range packet {
		list = append(list, packet[:max(1, i)])
	}
	return list
}

// noOps are packets without effect (RFC 4253 section 11; OpenSSH's PROTOCOL, section 1.9).
var noOps = []struct {
	name   string
	packet []byte
}{
	{"IGNORE", msg(sshtest.MsgIgnore, "x")},
	{"DEBUG", msg(sshtest.MsgDebug, true, "x", "")},
	{"UNIMPLEMENTED", msg(sshtest.MsgUnimplemented, uint32(1))},
	{"PING", msg(sshtest.MsgPing, "x")},
}

// noOpFloods are floods of packets without effect. The server may take them or disconnect.
func noOpFloods() (attacks []attack) {
	for _, nothing := range noOps {
		attacks = append(attacks,
			flooding("a flood of "+nothing.name+" before authentication", (*attacker).handshaken, 20_000, nothing.packet),
			flooding("a flood of "+nothing.name+" after authentication", (*attacker).authenticated, 20_000, nothing.packet))
	}
	return attacks
}
