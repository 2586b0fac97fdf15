//go:build !windows

package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"foyer/middleware/sshtest"
)

// sendingText is an attack that sends text and expects the server to disconnect.
func sendingText(name, text string) attack {
	return attack{name, func(a *attacker) {
		conn := a.dial()
		_, _ = io.WriteString(conn, text)
		a.awaitClose(conn, 0)
	}}
}

func beforeVersion() []attack {
	return []attack{
		{"a hundred connections that disconnect immediately", func(a *attacker) {
			for range 100 {
				_ = a.dial().Close()
			}
		}},
		{"a half-closed connection", func(a *attacker) {
			conn := a.dial()
			_ = conn.CloseWrite()
			a.awaitClose(conn, 0)
		}},
		sendingText("1024 lines before the version", strings.Repeat("hello\r\n", 1024)+"SSH-2.0-late\r\n"),
		sendingText("a line without end", strings.Repeat("x", 1<<20)),
		sendingText("NULs", strings.Repeat("\x00", 1<<16)),
		sendingText("TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"+strings.Repeat("\xaa", 508)),
	}
}

func versionLines() []attack {
	return []attack{
		sendingText("a version of 256 bytes", "SSH-2.0-"+strings.Repeat("v", 248)+"\r\n"),
		sendingText("a version of 64 KiB", "SSH-2.0-"+strings.Repeat("v", 1<<16)+"\r\n"),
		{"other versions", func(a *attacker) {
			for _, version := range []string{"SSH-1.5-old", "SSH-", "SSH-3.0-new", "SSH-2.0", "ssh-2.0-small"} {
				conn := a.dial()
				_, _ = io.WriteString(conn, version+"\r\n")
				_, _ = conn.Write(sshtest.Unencrypted(sshtest.InitOf("a", "b", "c", "d", "e", "f", "g", "h", "", "")))
				_ = conn.CloseWrite()
				a.awaitClose(conn, 0)
			}
		}},
		{"a version with control characters", func(a *attacker) {
			for _, version := range []string{"\x1b[2J\x1b]0;title\x07", "\x00\x01\x7f\x9b31m", "a\rb\vc\fd", "\u202egnp.exe", "\xff\xfe"} {
				c := &client{a: a, conn: a.dial()}
				c.Raw = sshtest.NewRaw(c.conn)
				a.must(c.Greet("SSH-2.0-" + version))
				_ = c.Keys(sshtest.Curve25519)
				_ = c.Service("ssh-userauth")
				_, _ = c.Password("guest", "wrong")
				_ = c.conn.Close()
			}
		}},
	}
}

// packetOf returns a packet with this length, padding length and number of further bytes.
func packetOf(length uint32, padding byte, rest int) []byte {
	return append(append(binary.BigEndian.AppendUint32(nil, length), padding), make([]byte, rest)...)
}

// bytesAfterVersion is an attack that sends data after the version lines and expects the server to disconnect.
func bytesAfterVersion(name string, data ...[]byte) attack {
	return attack{name, func(a *attacker) {
		for _, some := range data {
			c := a.greeted()
			_, _ = c.conn.Write(some)
			_ = c.conn.CloseWrite()
			c.awaitClose(0)
		}
	}}
}

func kexInits() []attack {
	names := make([]string, 10_000)
	for i := range names {
		names[i] = fmt.Sprintf("kex-%d", i)
	}
	init := sshtest.Init(sshtest.Curve25519)
	follows := bytes.Clone(init)
	follows[len(follows)-5] = 1
	truncated := [][]byte{}
	for i := 1; i < len(init); i += 7 {
		truncated = append(truncated, sshtest.Unencrypted(init[:i]))
	}
	return []attack{
		bytesAfterVersion("no algorithms", sshtest.Unencrypted(sshtest.InitOf("", "", "", "", "", "", "", "", "", ""))),
		bytesAfterVersion("lists of commas",
			sshtest.Unencrypted(sshtest.InitOf(strings.Repeat(",", 30_000), ",", ",,", "", "", "", "", "", "", ""))),
		bytesAfterVersion("ten thousand algorithms",
			sshtest.Unencrypted(sshtest.InitOf(strings.Join(names, ","), "", "", "", "", "", "", "", "", ""))),
		bytesAfterVersion("a wrong guess",
			slices.Concat(sshtest.Unencrypted(follows), sshtest.Unencrypted(msg(sshtest.MsgKexECDHInit, strings.Repeat("\x09", 32))))),
		bytesAfterVersion("KEXINIT twice", slices.Concat(sshtest.Unencrypted(init), sshtest.Unencrypted(init))),
		bytesAfterVersion("KEXINIT of a wrong length", truncated...),
		bytesAfterVersion("a list that is longer than the message",
			sshtest.Unencrypted(append([]byte{20}, bytes.Repeat([]byte{0xff}, 64)...))),
		bytesAfterVersion("packets of impossible lengths",
			packetOf(0, 0, 3), packetOf(1, 0, 3), packetOf(2, 1, 1), packetOf(12, 12, 11), packetOf(12, 255, 11), packetOf(12, 0, 11),
			packetOf(1<<32-1, 4, 100), packetOf(1<<31, 4, 100), packetOf(256<<10+1, 4, 100), packetOf(13, 4, 12)),
		bytesAfterVersion("another message than KEXINIT first",
			sshtest.Unencrypted(msg(sshtest.MsgServiceRequest, "ssh-userauth")), sshtest.Unencrypted(msg(sshtest.MsgNewKeys)),
			sshtest.Unencrypted(msg(sshtest.MsgDisconnect, uint32(2), "bye", "")), sshtest.Unencrypted(msg(sshtest.MsgUserauthSuccess))),
	}
}

// secondKexInits is a second KEXINIT without common algorithms, immediately after the first keys. x/crypto v0.58.0 cleared
// the algorithms of the first key exchange while it still read them: sometimes a panic, which ended the connection.
func secondKexInits() []attack {
	return []attack{{"a second KEXINIT immediately after the keys", func(a *attacker) {
		for range 100 {
			c := a.keyed()
			c.send(sshtest.InitOf("a", "b", "c", "d", "e", "f", "g", "h", "", ""))
			_ = c.conn.CloseWrite()
			c.awaitClose(0)
		}
	}}}
}

// afterKexInit is an attack that sends packets after the KEXINITs and expects the server to disconnect.
func afterKexInit(name string, kex string, packets ...[]byte) attack {
	return attack{name, func(a *attacker) {
		c := a.greeted()
		a.must(c.Write(sshtest.Init(kex)))
		_, err := c.Await(sshtest.MsgKexInit)
		a.must(err)
		c.send(packets...)
		_ = c.conn.CloseWrite()
		c.awaitClose(0)
	}}
}

func keyExchanges() []attack {
	ecdh := func(public string) []byte { return msg(sshtest.MsgKexECDHInit, public) }
	strict := sshtest.Curve25519 + ",kex-strict-c-v00@openssh.com"
	good := strings.Repeat("\x09", 32)
	attacks := []attack{
		afterKexInit("another message than the key", sshtest.Curve25519,
			msg(sshtest.MsgUserauthRequest, "a", "b", "none")),
		afterKexInit("NEWKEYS before the keys", sshtest.Curve25519, msg(sshtest.MsgNewKeys)),
		afterKexInit("IGNORE in the strict key exchange", strict,
			msg(sshtest.MsgIgnore, "x"), ecdh(good), msg(sshtest.MsgNewKeys)),
		afterKexInit("DEBUG in the strict key exchange", strict,
			msg(sshtest.MsgDebug, true, "x", ""), ecdh(good), msg(sshtest.MsgNewKeys)),
		afterKexInit("random bytes as the first encrypted packet", sshtest.Curve25519,
			ecdh(good), msg(sshtest.MsgNewKeys),
			bytes.Repeat([]byte{0xa5}, 4096)),
		afterKexInit("the message of another key exchange", sshtest.Curve25519,
			msg(34, uint32(1024), uint32(2048), uint32(8192))),
	}
	for _, public := range []struct{ name, value string }{
		{"zero", strings.Repeat("\x00", 32)}, {"of low order", "\x01" + strings.Repeat("\x00", 31)}, {"empty", ""},
		{"of 31 bytes", good[:31]}, {"of 33 bytes", good + "\x09"}, {"of 30 KB", strings.Repeat("\x09", 30_000)},
	} {
		attacks = append(attacks, afterKexInit("a public key "+public.name, sshtest.Curve25519, ecdh(public.value)))
	}
	for _, public := range []struct{ name, value string }{
		{"of noise", strings.Repeat("\xff", 1216)}, {"zero", strings.Repeat("\x00", 1216)}, {"too short", good}, {"too long", strings.Repeat("\x01", 1217)},
	} {
		attacks = append(attacks, afterKexInit("an ML-KEM key "+public.name, sshtest.MLKEM, ecdh(public.value)))
	}
	return append(attacks, attack{"two hundred incomplete key exchanges", func(a *attacker) {
		for range 200 {
			c := a.greeted()
			c.send(sshtest.Init(sshtest.Curve25519), ecdh(good))
			_ = c.conn.Close()
		}
	}})
}

// waitingUnauthenticated are attacks before authentication that go on for as long as the server allows.
func waitingUnauthenticated() []attack {
	dripping := func(name, text string) attack {
		return attack{name, func(a *attacker) {
			conn := a.dial()
			go a.drip(conn, text)
			a.awaitClose(conn, handshakeTime)
		}}
	}
	init := string(sshtest.Unencrypted(sshtest.Init(sshtest.Curve25519)))
	attacks := []attack{
		{"silence", func(a *attacker) { a.awaitClose(a.dial(), handshakeTime) }},
		{"HTTP", func(a *attacker) {
			conn := a.dial()
			_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
			a.awaitClose(conn, handshakeTime)
		}},
		dripping("lines before the version, dripped", strings.Repeat("hm\r\n", 10_000)),
		dripping("the version, dripped", "SSH-2.0-"+strings.Repeat("slow", 50)),
		dripping("KEXINIT, dripped", "SSH-2.0-hostile\r\n"+init+init),
		dripping("a packet of 256 KiB, announced and dripped",
			"SSH-2.0-hostile\r\n\x00\x03\xff\xfc\x04\x14"+strings.Repeat("x", 1000)),
		{"silence after the version", func(a *attacker) { a.greeted().awaitClose(handshakeTime) }},
		{"silence after the keys", func(a *attacker) { a.keyed().awaitClose(handshakeTime) }},
		{"silence at the prompt", func(a *attacker) { a.handshaken().awaitClose(handshakeTime) }},
		trickling("IGNORE before the keys", (*attacker).greeted, msg(sshtest.MsgIgnore, "x"), handshakeTime),
		{"rekeying at the prompt", func(a *attacker) {
			c := a.handshaken()
			a.must(endless(c, handshakeTime, func() error { return c.Keys(sshtest.Curve25519) }))
		}},
		{"queries of keys", func(a *attacker) {
			c := a.handshaken()
			a.must(endless(c, handshakeTime, func() error { _, err := c.Query("guest", sshtest.HostKey(c.a).PublicKey()); return err }))
		}},
	}
	for _, nothing := range noOps {
		attacks = append(attacks, trickling(nothing.name+" at the prompt", (*attacker).handshaken, nothing.packet, handshakeTime))
	}
	return attacks
}

// trickling is an attack that sends a packet again and again at one stage, until the server disconnects.
func trickling(name string, stage func(*attacker) *client, packet []byte, limit time.Duration) attack {
	return attack{name, func(a *attacker) {
		c := stage(a)
		trickle(c, packet)
		c.awaitClose(limit)
	}}
}

// trickle sends a packet again and again in another goroutine, until the server disconnects.
func trickle(c *client, packet []byte) {
	go func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for c.Write(packet) == nil {
			<-tick.C
		}
	}()
}

// endless repeats a step until it fails, and returns an error where it succeeds for longer than the limit.
func endless(c *client, limit time.Duration, again func() error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); ; <-tick.C {
		if again() != nil {
			return nil
		}
		if took := time.Since(began); took > limit+visitTime {
			return fmt.Errorf("not disconnected after %v", took)
		}
	}
}
