package main

import (
	"io"
	"strings"
	"syscall"
	"time"

	"foyer/middleware/sshtest"
)

// flooding is an attack by a flood at one stage. The door may take it or hang up.
func flooding(name string, stage func(*attacker) *client, n int, packets ...[]byte) attack {
	return attack{name, func(a *attacker) {
		stage(a).flood(n, func(i int) []byte { return packets[i%len(packets)] })
	}}
}

// maxServing is how many goroutines more than at rest one connection may cost: of ten sessions with a few each, of the
// connection itself, and of visitors who are there at the same time.
const maxServing = 150

// few fails the test where a connection costs too many goroutines.
func (a *attacker) few() {
	a.Helper()
	now := a.hall.look(a)
	if more := now.Goroutines - a.hall.rest.Goroutines; more > maxServing {
		a.Errorf("one connection costs %d goroutines", more)
	}
}

func channelOpens() []attack {
	return []attack{
		{"ten thousand sessions", func(a *attacker) {
			a.in().flood(10_000, func(i int) []byte { return openSession(uint32(i), 1<<20, 1<<15) })
			a.few()
		}},
		{"two thousand sessions that are never closed", func(a *attacker) {
			a.in().flood(4000, func(i int) []byte {
				if i%2 == 0 {
					return openSession(uint32(i/2), 1<<20, 1<<15)
				}
				return request(uint32(i/2), "shell", true)
			})
			a.few()
		}},
		{"two thousand sessions of one number", func(a *attacker) { a.in().flood(2000, same(openSession(7, 0, 0))); a.few() }},
		flooding("channels of unknown types", (*attacker).in, 2000,
			msg(sshtest.MsgChannelOpen, "nonsense", uint32(0), uint32(1<<20), uint32(1<<15)),
			msg(sshtest.MsgChannelOpen, strings.Repeat("t", 30_000), uint32(0), uint32(1<<20), uint32(1<<15)),
			msg(sshtest.MsgChannelOpen, "direct-tcpip", uint32(1), uint32(1<<20), uint32(1<<15), "localhost", uint32(22), "localhost", uint32(22)),
			msg(sshtest.MsgChannelOpen, "x11", uint32(2), uint32(1<<20), uint32(1<<15), "localhost", uint32(22)),
			msg(sshtest.MsgChannelOpen, "tun@openssh.com", uint32(2), uint32(1<<20), uint32(1<<15), uint32(1), uint32(0)),
			msg(sshtest.MsgChannelOpen, "auth-agent@openssh.com", uint32(3), uint32(1<<20), uint32(1<<15))),
		{"packets of absurd sizes", func(a *attacker) {
			for _, size := range []uint32{0, 1, 8, 9, 1 << 31, 1<<32 - 1} {
				c := a.in()
				if c.opens(openSession(0, 1<<20, size)) {
					c.send(request(0, "shell", true))
					_, err := c.Await(sshtest.MsgChannelSuccess)
					a.must(err)
				}
				_ = c.conn.Close()
			}
		}},
		{"a session of as few bytes a packet as there may be", func(a *attacker) {
			c := a.in()
			c.mustOpen(openSession(0, 1<<20, 9))
			c.send(request(0, "shell", true))
			_, err := c.Await(sshtest.MsgChannelClose)
			a.must(err)
		}},
		sending("a session cut short", (*attacker).in, msg(sshtest.MsgChannelOpen, "session", uint32(0))),
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
		flooding("a flood of global requests", (*attacker).in, 20_000,
			msg(sshtest.MsgGlobalRequest, "keepalive@openssh.com", true),
			msg(sshtest.MsgGlobalRequest, "hostkeys-prove-00@openssh.com", true, "x"), msg(sshtest.MsgGlobalRequest, "tcpip-forward", true, "", uint32(0))),
		flooding("a flood of answers", (*attacker).in, 20_000,
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
		{"stdin of 2 MiB on ten channels that nobody reads", func(a *attacker) {
			c := a.in()
			for i := range uint32(10) {
				c.open(i)
			}
			// Before a session has a handler nobody reads; the window is x/crypto's, 2 MiB.
			c.flood(10*64, func(i int) []byte { return data(uint32(i%10), full) })
		}},
		flooding("extended data of odd types", (*attacker).session, 200,
			msg(sshtest.MsgExtendedData, uint32(0), uint32(1), "x"),
			msg(sshtest.MsgExtendedData, uint32(0), uint32(99), "x"), msg(sshtest.MsgExtendedData, uint32(0), uint32(1<<32-1), full)),
		flooding("data before the confirmation", (*attacker).in, 200, openSession(0, 1<<20, 1<<15), data(0, full)),
		sending("data to a channel that never was", (*attacker).in, data(99, "x")),
		sending("data that is not there", (*attacker).session, msg(sshtest.MsgChannelData, uint32(0), uint32(1<<31))),
		sending("data cut short", (*attacker).session, []byte{sshtest.MsgChannelData, 0}),
		{"data to a closed channel", func(a *attacker) {
			c := a.session()
			c.send(request(0, "shell", true))
			_, err := c.Await(sshtest.MsgChannelClose)
			a.must(err)
			c.send(data(0, "x"), msg(sshtest.MsgChannelClose, uint32(0)), data(0, "x"))
			c.over(idleTime)
		}},
		flooding("windows that overflow", (*attacker).session, 100,
			msg(sshtest.MsgWindowAdjust, uint32(0), uint32(1<<32-1))),
		flooding("windows a byte at a time", (*attacker).session, 20_000,
			msg(sshtest.MsgWindowAdjust, uint32(0), uint32(1))),
		flooding("a flood of empty data", (*attacker).session, 20_000, data(0, "")),
		{"compressed, perhaps", func(a *attacker) {
			c := a.in()
			c.send(append([]byte("x\x9c"), strings.Repeat("\x00\xff", 100)...))
			_ = c.conn.CloseWrite()
			c.over(0)
		}},
	}
}

// maxExchanges is how many key exchanges in a row no honest client needs.
const maxExchanges = 100

func rekeys() []attack {
	return []attack{
		{"rekeying without end", func(a *attacker) {
			c := a.in()
			began, n := time.Now(), 0
			for ; time.Since(began) < 2*time.Second && c.Keys(sshtest.Curve25519) == nil; n++ {
			}
			if n > maxExchanges {
				a.Errorf("%d key exchanges in %v", n, time.Since(began))
			}
		}},
		{"rekeying in a session", func(a *attacker) {
			c := a.session()
			a.must(c.Keys(sshtest.MLKEM))
			a.must(c.Write(request(0, "shell", true)))
			_, err := c.Await(sshtest.MsgChannelClose)
			a.must(err)
		}},
		sending("half a rekeying and then requests", (*attacker).session,
			sshtest.Init(sshtest.Curve25519), request(0, "shell", true)),
		sending("new keys out of nowhere", (*attacker).session, msg(sshtest.MsgNewKeys)),
		sending("a key exchange out of nowhere", (*attacker).session,
			msg(sshtest.MsgKexECDHInit, strings.Repeat("\x09", 32))),
		sending("rekeying to nothing in common", (*attacker).session,
			sshtest.InitOf("a", "b", "c", "d", "e", "f", "g", "h", "", "")),
	}
}

func goodbyes() []attack {
	shut := msg(sshtest.MsgChannelClose, uint32(0))
	return []attack{
		flooding("closed twice", (*attacker).session, 3, shut),
		flooding("EOF, then data", (*attacker).session, 4,
			msg(sshtest.MsgChannelEOF, uint32(0)), data(0, "x"), msg(sshtest.MsgChannelEOF, uint32(0)), data(0, "x")),
		flooding("opened and closed", (*attacker).in, 2000, openSession(0, 1<<20, 1<<15), shut),
		flooding("closed before the shell", (*attacker).session, 2, shut, request(0, "shell", true)),
		{"half a connection closed inside", func(a *attacker) {
			c := a.session()
			_ = c.conn.CloseWrite()
			c.over(idleTime)
		}},
		{"a goodbye of 200 KB", func(a *attacker) {
			c := a.session()
			c.send(msg(sshtest.MsgDisconnect, uint32(11), strings.Repeat("bye", 60_000), "\x1b"))
			c.over(0)
		}},
		{"hung up without a close", func(a *attacker) {
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

// readsNothing is a client with the smallest receive buffer that there is, which never reads again.
func (a *attacker) readsNothing() *client {
	c := a.in()
	raw, err := c.conn.SyscallConn()
	a.must(err)
	a.must(raw.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 1) }))
	return c
}

// waitingInside are attacks of who is let in, that go on for as long as the door lets them.
func waitingInside() []attack {
	return []attack{
		{"no session at all", func(a *attacker) { a.in().over(idleTime) }},
		trickling("no session, and keepalives", (*attacker).in,
			msg(sshtest.MsgGlobalRequest, "keepalive@openssh.com", true), idleTime),
		trickling("no session, and IGNORE", (*attacker).in, msg(sshtest.MsgIgnore, "x"), idleTime),
		trickling("no session that fits", (*attacker).in,
			msg(sshtest.MsgChannelOpen, "nonsense", uint32(0), uint32(0), uint32(0)), idleTime),
		{"no session after one", func(a *attacker) {
			c := a.session()
			c.send(request(0, "shell", true))
			_, err := c.Await(sshtest.MsgChannelClose)
			a.must(err)
			c.send(msg(sshtest.MsgChannelClose, uint32(0)))
			trickle(c, msg(sshtest.MsgGlobalRequest, "keepalive@openssh.com", true))
			c.over(idleTime)
		}},
		trickling("a session without a request", (*attacker).session,
			request(0, "env", true, "A", "b"), sessionTime+idleTime),
		{"a close that is never confirmed", func(a *attacker) {
			c := a.session()
			c.send(request(0, "shell", true))
			trickle(c, msg(sshtest.MsgIgnore, "x"))
			c.over(sessionTime + idleTime)
		}},
		{"a client that has vanished", func(a *attacker) { a.session().over(sessionTime) }},
		{"a window of nothing", func(a *attacker) {
			c := a.in()
			c.mustOpen(openSession(0, 0, 1<<15))
			c.send(request(0, "shell", true))
			trickle(c, msg(sshtest.MsgIgnore, "x"))
			c.over(2*unreadTime + idleTime)
		}},
	}
}

// waitingDeaf are attacks of who does not read what they are answered.
func waitingDeaf() []attack {
	return []attack{
		{"requests, and no answer read", func(a *attacker) {
			c := a.readsNothing()
			c.send(openSession(0, 1<<20, 1<<15))
			c.stuffed(request(0, "nonsense", true))
		}},
		{"keepalives, and no answer read", func(a *attacker) {
			a.readsNothing().stuffed(msg(sshtest.MsgGlobalRequest, "keepalive@openssh.com", true))
		}},
		{"pings, and no answer read", func(a *attacker) { a.readsNothing().stuffed(msg(sshtest.MsgPing, strings.Repeat("p", 1000))) }},
		{"channels, and no answer read", func(a *attacker) {
			a.readsNothing().stuffed(msg(sshtest.MsgChannelOpen, "nonsense", uint32(0), uint32(0), uint32(0)))
		}},
		{"sessions, and no answer read", func(a *attacker) {
			a.readsNothing().stuffed(openSession(0, 1<<20, 1<<15))
		}},
		{"rekeying, and no answer read", func(a *attacker) { a.readsNothing().stuffed(sshtest.Init(sshtest.Curve25519)) }},
	}
}

// stuffed sends a packet without end and reads nothing: the door, whose answers are stuck, has to hang up.
func (c *client) stuffed(packet []byte) {
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
		c.a.Errorf("after %v the door has not hung up", took)
	}
}

// sink is a connection that only takes.
type sink struct {
	counted
	w io.Writer
}

func (s *sink) Write(p []byte) (int, error) { return s.w.Write(p) }

func concat(parts ...[]byte) (all []byte) {
	for _, part := range parts {
		all = append(all, part...)
	}
	return all
}
