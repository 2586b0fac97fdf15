//go:build !windows

package main

import (
	"strings"
	"syscall"
	"time"

	"foyer/middleware/sshtest"
)

// flooding is an attack that floods the server at one stage. The server may take it or disconnect.
func flooding(name string, stage func(*attacker) *client, n int, packets ...[]byte) attack {
	return attack{name, func(a *attacker) {
		stage(a).flood(n, func(i int) []byte { return packets[i%len(packets)] })
	}}
}

// maxGoroutines bounds the goroutines of one connection: of ten sessions with a few each, of the connection itself, and of
// honest clients that are connected at the same time.
const maxGoroutines = 150

// checkGoroutines fails the test where a connection has too many goroutines.
func (a *attacker) checkGoroutines() {
	a.Helper()
	now := a.target.measure(a)
	if more := now.Goroutines - a.target.idle.Goroutines; more > maxGoroutines {
		a.Errorf("one connection has %d goroutines", more)
	}
}

func channelOpens() []attack {
	return []attack{
		{"ten thousand sessions", func(a *attacker) {
			a.authenticated().flood(10_000, func(i int) []byte { return openSession(uint32(i), 1<<20, 1<<15) })
			a.checkGoroutines()
		}},
		{"two thousand sessions that are never closed", func(a *attacker) {
			a.authenticated().flood(4000, func(i int) []byte {
				if i%2 == 0 {
					return openSession(uint32(i/2), 1<<20, 1<<15)
				}
				return request(uint32(i/2), "shell", true)
			})
			a.checkGoroutines()
		}},
		{"two thousand sessions of one number", func(a *attacker) { a.authenticated().flood(2000, same(openSession(7, 0, 0))); a.checkGoroutines() }},
		flooding("channels of unknown types", (*attacker).authenticated, 2000,
			msg(sshtest.MsgChannelOpen, "nonsense", uint32(0), uint32(1<<20), uint32(1<<15)),
			msg(sshtest.MsgChannelOpen, strings.Repeat("t", 30_000), uint32(0), uint32(1<<20), uint32(1<<15)),
			msg(sshtest.MsgChannelOpen, "direct-tcpip", uint32(1), uint32(1<<20), uint32(1<<15), "localhost", uint32(22), "localhost", uint32(22)),
			msg(sshtest.MsgChannelOpen, "x11", uint32(2), uint32(1<<20), uint32(1<<15), "localhost", uint32(22)),
			msg(sshtest.MsgChannelOpen, "tun@openssh.com", uint32(2), uint32(1<<20), uint32(1<<15), uint32(1), uint32(0)),
			msg(sshtest.MsgChannelOpen, "auth-agent@openssh.com", uint32(3), uint32(1<<20), uint32(1<<15))),
		{"packets of absurd sizes", func(a *attacker) {
			for _, size := range []uint32{0, 1, 8, 9, 1 << 31, 1<<32 - 1} {
				c := a.authenticated()
				if c.opens(openSession(0, 1<<20, size)) {
					c.send(request(0, "shell", true))
					_, err := c.Await(sshtest.MsgChannelSuccess)
					a.must(err)
				}
				_ = c.conn.Close()
			}
		}},
		{"a session with the smallest packets", func(a *attacker) {
			c := a.authenticated()
			c.mustOpen(openSession(0, 1<<20, 9))
			c.send(request(0, "shell", true))
			_, err := c.Await(sshtest.MsgChannelClose)
			a.must(err)
		}},
		sending("a session cut short", (*attacker).authenticated, msg(sshtest.MsgChannelOpen, "session", uint32(0))),
	}
}

// ptyRequest returns a pty-req.
func ptyRequest(term string, columns, rows, width, height uint32, modes string) []byte {
	return request(0, "pty-req", true, term, columns, rows, width, height, modes)
}

func requests() []attack {
	const most = 1<<32 - 1
	resize := request(0, "window-change", false, uint32(most), uint32(most), uint32(most), uint32(most))
	return []attack{
		{"terminals of absurd sizes and modes", func(a *attacker) {
			for _, packet := range [][]byte{
				ptyRequest("xterm", most, most, most, most, ""), ptyRequest("", 0, 0, 0, 0, "\x01"), ptyRequest(strings.Repeat("t", 30_000), 1, 1, 1, 1, "\x00"),
				ptyRequest("xterm", 80, 24, 0, 0, strings.Repeat("\x01\xff\xff\xff\xff", 6000)), ptyRequest("\x1b[2J\n", 80, 24, 0, 0, "\xff"),
				request(0, "pty-req", true), request(0, "pty-req", true, uint32(most)), resize,
			} {
				c := a.session()
				c.send(packet, packet, resize, request(0, "shell", true), resize)
				_, _ = c.Await(sshtest.MsgChannelClose)
				_ = c.conn.Close()
			}
		}},
		flooding("a flood of window-change", (*attacker).session, 20_000, resize),
		flooding("a flood of signal", (*attacker).session, 20_000,
			request(0, "signal", false, "INT"), request(0, "signal", true, "NONSENSE")),
		flooding("a flood of break", (*attacker).session, 20_000, request(0, "break", true, uint32(most))),
		flooding("a flood of env", (*attacker).session, 5000,
			request(0, "env", true, "NAME", strings.Repeat("v", 16_000))),
		flooding("a flood of small env", (*attacker).session, 20_000, request(0, "env", false, "N", "v")),
		flooding("a flood of keepalive", (*attacker).session, 20_000, request(0, "keepalive@openssh.com", true)),
		flooding("a flood of unknown requests", (*attacker).session, 20_000,
			request(0, "nonsense@example.com", false), request(0, "nonsense@example.com", true, strings.Repeat("x", 100))),
		flooding("a flood of global requests", (*attacker).authenticated, 20_000,
			msg(sshtest.MsgGlobalRequest, "keepalive@openssh.com", true),
			msg(sshtest.MsgGlobalRequest, "hostkeys-prove-00@openssh.com", true, "x"), msg(sshtest.MsgGlobalRequest, "tcpip-forward", true, "", uint32(0))),
		flooding("a flood of answers", (*attacker).authenticated, 20_000,
			msg(81), msg(82), msg(sshtest.MsgChannelSuccess, uint32(0))),
		flooding("a shell after the other", (*attacker).session, 2000,
			request(0, "shell", true), request(0, "exec", true, "true")),
		flooding("commands of 256 KiB", (*attacker).session, 20,
			request(0, "exec", true, strings.Repeat("c", 256<<10-100))),
		flooding("a command of quotes", (*attacker).session, 1, request(0, "exec", true, strings.Repeat(`\"' `, 8000))),
		flooding("malformed requests", (*attacker).session, 1000,
			request(0, "exec", true), request(0, "exec", true, uint32(most)),
			request(0, "env", true, uint32(5)), request(0, "signal", true), request(0, "subsystem", true, ""), request(0, "", true)),
		flooding("X11 and agent forwarding", (*attacker).session, 1000,
			request(0, "x11-req", true, false, "MIT-MAGIC-COOKIE-1", "00", uint32(0)),
			request(0, "auth-agent-req@openssh.com", true)),
	}
}

// data returns the data of a channel.
func data(channel uint32, text string) []byte { return msg(sshtest.MsgChannelData, channel, text) }

func channelData() []attack {
	full := strings.Repeat("d", 32<<10)
	return []attack{
		flooding("more data than the window", (*attacker).session, 200, data(0, full)),
		{"stdin of 2 MiB on ten channels that are not read", func(a *attacker) {
			c := a.authenticated()
			for i := range uint32(10) {
				c.open(i)
			}
			// Before the shell request nothing reads; the window is x/crypto's, 2 MiB.
			c.flood(10*64, func(i int) []byte { return data(uint32(i%10), full) })
		}},
		flooding("extended data of odd types", (*attacker).session, 200,
			msg(sshtest.MsgExtendedData, uint32(0), uint32(1), "x"),
			msg(sshtest.MsgExtendedData, uint32(0), uint32(99), "x"), msg(sshtest.MsgExtendedData, uint32(0), uint32(1<<32-1), full)),
		flooding("data before the confirmation", (*attacker).authenticated, 200, openSession(0, 1<<20, 1<<15), data(0, full)),
		sending("data to a channel that does not exist", (*attacker).authenticated, data(99, "x")),
		sending("data shorter than its length", (*attacker).session, msg(sshtest.MsgChannelData, uint32(0), uint32(1<<31))),
		sending("data cut short", (*attacker).session, []byte{sshtest.MsgChannelData, 0}),
		{"data to a closed channel", func(a *attacker) {
			c := a.session()
			c.send(request(0, "shell", true))
			_, err := c.Await(sshtest.MsgChannelClose)
			a.must(err)
			c.send(data(0, "x"), msg(sshtest.MsgChannelClose, uint32(0)), data(0, "x"))
			c.awaitClose(idleTime)
		}},
		flooding("windows that overflow", (*attacker).session, 100,
			msg(sshtest.MsgWindowAdjust, uint32(0), uint32(1<<32-1))),
		flooding("windows a byte at a time", (*attacker).session, 20_000,
			msg(sshtest.MsgWindowAdjust, uint32(0), uint32(1))),
		flooding("a flood of empty data", (*attacker).session, 20_000, data(0, "")),
		{"compressed data", func(a *attacker) {
			c := a.authenticated()
			c.send(append([]byte("x\x9c"), strings.Repeat("\x00\xff", 100)...))
			_ = c.conn.CloseWrite()
			c.awaitClose(0)
		}},
	}
}

// maxExchanges is a number of consecutive key exchanges that no honest client needs.
const maxExchanges = 100

func rekeys() []attack {
	return []attack{
		{"rekeying again and again", func(a *attacker) {
			c, n := a.authenticated(), 0
			for n < maxExchanges && c.Keys(sshtest.Curve25519) == nil {
				n++
			}
			if n == maxExchanges {
				a.Errorf("not disconnected after %d key exchanges", n)
			}
		}},
		{"rekeying in a session", func(a *attacker) {
			c := a.session()
			a.must(c.Keys(sshtest.MLKEM))
			a.must(c.Write(request(0, "shell", true)))
			_, err := c.Await(sshtest.MsgChannelClose)
			a.must(err)
		}},
		sending("an incomplete rekeying and then requests", (*attacker).session,
			sshtest.Init(sshtest.Curve25519), request(0, "shell", true)),
		sending("NEWKEYS without a key exchange", (*attacker).session, msg(sshtest.MsgNewKeys)),
		sending("a key exchange without KEXINIT", (*attacker).session,
			msg(sshtest.MsgKexECDHInit, strings.Repeat("\x09", 32))),
		sending("rekeying without common algorithms", (*attacker).session,
			sshtest.InitOf("a", "b", "c", "d", "e", "f", "g", "h", "", "")),
	}
}

func disconnects() []attack {
	shut := msg(sshtest.MsgChannelClose, uint32(0))
	return []attack{
		flooding("closed twice", (*attacker).session, 3, shut),
		flooding("EOF, then data", (*attacker).session, 4,
			msg(sshtest.MsgChannelEOF, uint32(0)), data(0, "x"), msg(sshtest.MsgChannelEOF, uint32(0)), data(0, "x")),
		flooding("opened and closed", (*attacker).authenticated, 2000, openSession(0, 1<<20, 1<<15), shut),
		flooding("closed before the shell", (*attacker).session, 2, shut, request(0, "shell", true)),
		{"a half-closed connection with a session", func(a *attacker) {
			c := a.session()
			_ = c.conn.CloseWrite()
			c.awaitClose(idleTime)
		}},
		{"a disconnect message of 200 KB", func(a *attacker) {
			c := a.session()
			c.send(msg(sshtest.MsgDisconnect, uint32(11), strings.Repeat("bye", 60_000), "\x1b"))
			c.awaitClose(0)
		}},
		{"disconnected without a close", func(a *attacker) {
			for range 20 {
				c := a.session()
				c.send(request(0, "shell", true))
				_ = c.conn.Close()
			}
		}},
		{"reset in a session", func(a *attacker) {
			for range 20 {
				c := a.session()
				c.send(request(0, "shell", true))
				_ = c.conn.SetLinger(0)
				_ = c.conn.Close()
			}
		}},
	}
}

// readsNothing returns an authenticated client with the smallest receive buffer, which does not read any more.
func (a *attacker) readsNothing() *client {
	c := a.authenticated()
	raw, err := c.conn.SyscallConn()
	a.must(err)
	a.must(raw.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 1) }))
	return c
}

// waitingAuthenticated are attacks after authentication that go on for as long as the server allows.
func waitingAuthenticated() []attack {
	return []attack{
		{"no session at all", func(a *attacker) { a.authenticated().awaitClose(idleTime) }},
		trickling("no session, and keepalives", (*attacker).authenticated,
			msg(sshtest.MsgGlobalRequest, "keepalive@openssh.com", true), idleTime),
		trickling("no session, and IGNORE", (*attacker).authenticated, msg(sshtest.MsgIgnore, "x"), idleTime),
		trickling("unknown channels only", (*attacker).authenticated,
			msg(sshtest.MsgChannelOpen, "nonsense", uint32(0), uint32(0), uint32(0)), idleTime),
		{"no session after one", func(a *attacker) {
			c := a.session()
			c.send(request(0, "shell", true))
			_, err := c.Await(sshtest.MsgChannelClose)
			a.must(err)
			c.send(msg(sshtest.MsgChannelClose, uint32(0)))
			trickle(c, msg(sshtest.MsgGlobalRequest, "keepalive@openssh.com", true))
			c.awaitClose(idleTime)
		}},
		trickling("a session without a request", (*attacker).session,
			request(0, "env", true, "A", "b"), sessionTime+idleTime),
		{"a close that is never confirmed", func(a *attacker) {
			c := a.session()
			c.send(request(0, "shell", true))
			trickle(c, msg(sshtest.MsgIgnore, "x"))
			c.awaitClose(sessionTime + idleTime)
		}},
		{"a client that has vanished", func(a *attacker) { a.session().awaitClose(sessionTime) }},
		{"a window of 0 bytes", func(a *attacker) {
			c := a.authenticated()
			c.mustOpen(openSession(0, 0, 1<<15))
			c.send(request(0, "shell", true))
			trickle(c, msg(sshtest.MsgIgnore, "x"))
			c.awaitClose(2*unreadTime + idleTime)
		}},
	}
}

// waitingWithoutReading are attacks of clients that do not read the replies.
func waitingWithoutReading() []attack {
	return []attack{
		{"requests, and no answer read", func(a *attacker) {
			c := a.readsNothing()
			c.send(openSession(0, 1<<20, 1<<15))
			c.floodUnread(request(0, "nonsense", true))
		}},
		{"keepalives, and no answer read", func(a *attacker) {
			a.readsNothing().floodUnread(msg(sshtest.MsgGlobalRequest, "keepalive@openssh.com", true))
		}},
		{"pings, and no answer read", func(a *attacker) { a.readsNothing().floodUnread(msg(sshtest.MsgPing, strings.Repeat("p", 1000))) }},
		{"channels, and no answer read", func(a *attacker) {
			a.readsNothing().floodUnread(msg(sshtest.MsgChannelOpen, "nonsense", uint32(0), uint32(0), uint32(0)))
		}},
		{"sessions, and no answer read", func(a *attacker) {
			a.readsNothing().floodUnread(openSession(0, 1<<20, 1<<15))
		}},
		{"rekeying, and no answer read", func(a *attacker) { a.readsNothing().floodUnread(sshtest.Init(sshtest.Curve25519)) }},
	}
}

// floodUnread sends a packet again and again and reads nothing: the server, whose replies block, has to disconnect.
func (c *client) floodUnread(packet []byte) {
	c.a.Helper()
	began := time.Now()
	limit := 2*unreadTime + idleTime + visitTime
	_ = c.conn.SetWriteDeadline(began.Add(limit))
	for time.Since(began) < limit {
		if err := c.Write(packet); err != nil {
			break
		}
	}
	if took := time.Since(began); took >= limit {
		c.a.Errorf("not disconnected after %v", took)
	}
}
