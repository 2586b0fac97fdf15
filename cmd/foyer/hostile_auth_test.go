package main

import (
	"fmt"
	"strings"

	"foyer/middleware/sshtest"
)

// connection is the service that is asked for in attempts.
const connection = "ssh-connection"

// query asks whether a key would do, and returns when there is an answer.
func query(c *client, user string) error {
	public := sshtest.HostKey(c.a).PublicKey()
	packet := msg(sshtest.MsgUserauthRequest, user, connection, "publickey", false, public.Type(), string(public.Marshal()))
	if err := c.Write(packet); err != nil {
		return err
	}
	_, err := c.Await(sshtest.MsgUserauthPKOK, sshtest.MsgUserauthFailure)
	return err
}

// sending is an attack by packets at one stage, after which the door hangs up.
func sending(name string, stage func(*attacker) *client, packets ...[]byte) attack {
	return attack{name, func(a *attacker) {
		c := stage(a)
		go c.send(packets...)
		c.over(0)
	}}
}

func services() []attack {
	service := func(name string) []byte { return msg(sshtest.MsgServiceRequest, name) }
	return []attack{
		sending("an unknown service", (*attacker).keyed, service("ssh-nonsense")),
		sending("the connection before authentication", (*attacker).keyed, service(connection)),
		sending("a service of 200 KB", (*attacker).keyed, service(strings.Repeat("s", 200_000))),
		sending("a service asked for twice", (*attacker).asked, service("ssh-userauth")),
		sending("a flood of services", (*attacker).asked, many(1000, service("ssh-userauth"))...),
		sending("authentication before its service", (*attacker).keyed,
			msg(sshtest.MsgUserauthRequest, "guest", connection, "none")),
		sending("a session before authentication", (*attacker).asked, openSession(0, 1<<20, 1<<15)),
		sending("a global request before authentication", (*attacker).asked,
			msg(sshtest.MsgGlobalRequest, "tcpip-forward", true, "", uint32(0))),
		sending("the server's own messages", (*attacker).asked, msg(sshtest.MsgUserauthSuccess)),
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
	key := func(algorithm string) string { return string(msg(0, algorithm, strings.Repeat("k", 32))[1:]) }
	return []attack{
		sending("none, without end", (*attacker).asked, many(1000, attempt("guest", connection, "none"))...),
		sending("forty methods", (*attacker).asked, manyMethods(40)...),
		sending("a password of 200 KB", (*attacker).asked,
			many(20, attempt("guest", connection, "password", false, strings.Repeat("p", 200_000)))...),
		sending("a password to be changed", (*attacker).asked,
			many(20, attempt("guest", connection, "password", true, "old", "new"))...),
		sending("a user of 200 KB", (*attacker).asked,
			many(20, attempt(strings.Repeat("u", 200_000), connection, "none"))...),
		sending("another service", (*attacker).asked, many(20, attempt("guest", "ssh-other", "none"))...),
		sending("an unknown kind of key", (*attacker).asked,
			many(1000, attempt("guest", connection, "publickey", true, "ssh-nonsense", key("ssh-nonsense"), "sig"))...),
		sending("a key of another kind than its name", (*attacker).asked,
			many(1000, attempt("guest", connection, "publickey", true, "ssh-ed25519", key("ssh-rsa"), "sig"))...),
		sending("requests cut short", (*attacker).asked,
			cutShort(attempt("guest", connection, "password", false, "wrong"))...),
	}
}

func proofs() []attack {
	return []attack{
		{"a signature of noise", func(a *attacker) {
			public := a.hall.key.PublicKey()
			for _, signature := range []string{"", "x", string(msg(0, "ssh-ed25519", strings.Repeat("s", 64))[1:]), string(msg(0, "ssh-rsa", strings.Repeat("s", 64))[1:]),
				string(msg(0, "ssh-ed25519", strings.Repeat("s", 63))[1:]), strings.Repeat("\xff", 1000)} {
				c := a.asked()
				in, err := c.Attempt("guest", connection, "publickey", msg(0, true, public.Type(), string(public.Marshal()), signature)[1:])
				if in {
					a.Errorf("the signature %q lets in: %v", signature, err)
				}
				_ = c.conn.Close()
			}
		}},
		{"an RSA key of 16384 bits", func(a *attacker) {
			modulus := "\x00\xff" + strings.Repeat("\xff", 2046) + "\xf1"
			blob := string(msg(0, "ssh-rsa", "\x01\x00\x01", modulus)[1:])
			signature := string(msg(0, "rsa-sha2-512", strings.Repeat("\x7f", 2048))[1:])
			c := a.asked()
			c.send(many(10, attempt("guest", connection, "publickey", true, "rsa-sha2-512", blob, signature))...)
			_ = c.conn.CloseWrite()
			c.over(0)
		}},
	}
}

// stories are attacks of several steps.
func stories() []attack {
	return []attack{
		{"a thousand users", func(a *attacker) {
			for i := 0; i < 1000; {
				c := a.asked()
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
			c := a.in()
			c.send(many(1000, attempt("root", connection, "none"))...)
			c.send(openSession(0, 1<<20, 1<<15), request(0, "shell", true))
		}},
		{"KEXINIT in the middle of authentication", func(a *attacker) {
			c := a.asked()
			c.send(sshtest.Init(sshtest.Curve25519), attempt("guest", connection, "none"))
			c.over(0)
			c = a.asked()
			a.must(c.Keys(sshtest.Curve25519))
			if in, err := c.PublicKey("guest", a.hall.key); !in || err != nil {
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

// cutShort returns a packet in all lengths, none of them whole.
func cutShort(packet []byte) (list [][]byte) {
	for i := range packet {
		list = append(list, packet[:max(1, i)])
	}
	return list
}

// nothings are packets that say nothing (RFC 4253 section 11; OpenSSH's PROTOCOL, section 1.9).
var nothings = []struct {
	name   string
	packet []byte
}{
	{"IGNORE", msg(sshtest.MsgIgnore, "x")},
	{"DEBUG", msg(sshtest.MsgDebug, true, "x", "")},
	{"UNIMPLEMENTED", msg(sshtest.MsgUnimplemented, uint32(1))},
	{"PING", msg(sshtest.MsgPing, "x")},
}

// idleTalk floods with what says nothing: the door may take it or hang up.
func idleTalk() (attacks []attack) {
	for _, nothing := range nothings {
		attacks = append(attacks,
			flooding("a flood of "+nothing.name+" before authentication", (*attacker).asked, 20_000, nothing.packet),
			flooding("a flood of "+nothing.name+" after authentication", (*attacker).in, 20_000, nothing.packet))
	}
	return attacks
}
