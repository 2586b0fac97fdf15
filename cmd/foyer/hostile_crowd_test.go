//go:build !windows

package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"
)

// The attacks of this file need many connections.

// TestHostileCrowds runs attacks with many connections on a server with the default limits.
func TestHostileCrowds(t *testing.T) {
	h := startTarget(t, "--penalties=false", "--log-format", "logfmt")
	for _, attack := range []attack{
		{"500 resets", func(a *attacker) { a.resets(500) }},
		{"20,000 connections", func(a *attacker) { a.churn(20_000 / slowness) }},
		{"2,000 silent connections of one source", func(a *attacker) {
			a.crowd(2000, func(int) string { return a.from })
			a.honestCrowd(50, oneAddress)
		}},
		{"2,000 silent connections of 200 sources", func(a *attacker) {
			a.crowd(2000, func(i int) string { return fmt.Sprintf("%s%d.1", a.network, i%200) })
			a.honestCrowd(50, ownAddress)
		}},
		{"2,000 silent connections of 200 sources, and an office", func(a *attacker) {
			a.crowd(2000, func(i int) string { return fmt.Sprintf("%s%d.1", a.network, i%200) })
			a.honestCrowd(50, oneAddress)
		}},
		{"50 honest clients", func(a *attacker) { a.honestCrowd(50, oneAddress) }},
	} {
		t.Run(attack.name, func(t *testing.T) { h.checkAttack(t, attack.run) })
	}
}

// TestHostileSmallServer fills a small server with silent connections that do not close when they are disconnected. The
// server must not wait for them.
func TestHostileSmallServer(t *testing.T) {
	h := startTarget(t, "--penalties=false", "--max-connections", "100")
	h.checkAttack(t, func(a *attacker) { a.stay(2000 / slowness) })
}

// stay connects n times, 500 times a second, and keeps the connections open.
func (a *attacker) stay(n int) {
	next := time.NewTicker(2 * time.Millisecond)
	defer next.Stop()
	for range n {
		<-next.C
		a.dial()
	}
}

// crowd makes n silent connections, and reconnects after a delay where one is closed.
func (a *attacker) crowd(n int, from func(i int) string) {
	var here sync.WaitGroup
	here.Add(n)
	back := time.NewTicker(5 * time.Millisecond)
	a.Cleanup(back.Stop)
	for i := range n {
		go func() {
			arrived := sync.OnceFunc(here.Done)
			defer arrived()
			for !a.gone.Load() {
				conn, err := a.dialFrom(from(i))
				if err != nil {
					return
				}
				_, _ = conn.Read(make([]byte, 1)) // the server has accepted it
				arrived()
				_, _ = io.Copy(io.Discard, conn)
				select {
				case <-back.C:
				case <-a.left:
				}
			}
		}()
	}
	here.Wait()
	<-time.After(crowdTime)
}

// crowdTime is the age of the crowd's connections when honest clients connect: longer than any login takes.
const crowdTime = 3 * time.Second

// honestCrowd runs n honest clients concurrently.
func (a *attacker) honestCrowd(n int, from func(i int) string) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { a.target.visitFrom(a, from(i)) })
	}
	all.Wait()
}

// oneAddress and ownAddress return the addresses of honest clients.
func oneAddress(int) string   { return "127.0.0.1" }
func ownAddress(i int) string { return fmt.Sprintf("127.0.%d.1", i) }

// churn connects n times and disconnects, with and without a reset, with and without a version line.
func (a *attacker) churn(n int) {
	const workers = 2 // more would take the processors that the server needs
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for i := w; i < n; i += workers {
				conn, err := a.dialFrom(fmt.Sprintf("%s%d.%d", a.network, w, 1+i%200))
				if err != nil {
					a.Error(err)
					return
				}
				if i%2 == 0 {
					_ = conn.SetLinger(0)
				}
				if i%3 == 0 {
					_, _ = io.WriteString(conn, "SSH-2.0-churn\r\n")
				}
				_ = conn.Close()
			}
		})
	}
	all.Wait()
}

// resets makes n valid logins that are reset at random points.
func (a *attacker) resets(n int) {
	seed := rand.Uint64()
	a.Logf("seed %d", seed)
	points := rand.New(rand.NewPCG(seed, 0))
	a.must(a.login(a.dial())) // a complete one
	length := a.sent.Load()
	var all sync.WaitGroup
	turns := make(chan int64)
	for range 4 {
		all.Go(func() {
			for left := range turns {
				conn, err := a.dialFrom(a.from)
				if err != nil {
					a.Error(err)
					continue
				}
				_ = a.login(&resetting{counted: conn, left: left})
			}
		})
	}
	for range n {
		turns <- points.Int64N(length + 1)
	}
	close(turns)
	all.Wait()
}

// login makes a valid login with a session.
func (a *attacker) login(conn net.Conn) error {
	defer func() { _ = conn.Close() }()
	c, channels, requests, err := gossh.NewClientConn(conn, "", &gossh.ClientConfig{
		Config: gossh.Config{KeyExchanges: []string{"curve25519-sha256"}},
		User:   "guest", Auth: []gossh.AuthMethod{gossh.PublicKeys(a.target.key)}, HostKeyCallback: gossh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		return err
	}
	sess, err := gossh.NewClient(c, channels, requests).NewSession()
	if err != nil {
		return err
	}
	if err := sess.Shell(); err != nil {
		return err
	}
	return sess.Wait()
}

// resetting is a connection that is reset after a number of bytes.
type resetting struct {
	counted
	left int64
}

func (r *resetting) Write(p []byte) (int, error) {
	if int64(len(p)) < r.left {
		r.left -= int64(len(p))
		return r.counted.Write(p)
	}
	n, _ := r.counted.Write(p[:r.left])
	_ = r.SetLinger(0)
	return n, r.Close()
}

// TestHostileWithoutDescriptors makes more connections than the server may have descriptors. Its limits reserve some, so
// honest clients are served.
func TestHostileWithoutDescriptors(t *testing.T) {
	dir := privateDir(t)
	h := startTargetIn(t, dir, []string{nofileVar + "=400"}, append(shortDeadlines, "--penalties=false")...)
	h.checkAttack(t, func(a *attacker) {
		began := time.Now()
		a.crowd(420, func(i int) string { return fmt.Sprintf("%s%d.1", a.network, i%100) })
		again := time.NewTicker(200 * time.Millisecond)
		defer again.Stop()
		for time.Since(began) < handshakeTime+idleTime {
			<-again.C
			h.visit(a)
		}
	})
}
