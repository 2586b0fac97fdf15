package middleware_test

import (
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
	"foyer/middleware/limits"
	"foyer/middleware/sshtest"
)

// BenchmarkNewcomers measures how many clients can log in, by the policy of eviction: this package's limits, and sshd's
// random early drop (MaxStartups) with sshd's numbers and with as many places as limits has. Fifty clients log in
// concurrently, alone or among two thousand silent connections that reconnect when they are dropped. in% is the share of
// clients that are served within 2 seconds at the first attempt.
func BenchmarkNewcomers(b *testing.B) {
	for _, policy := range []struct {
		name  string
		layer func() middleware.Layer
	}{
		{"limits", func() middleware.Layer {
			return middleware.Limits(limits.NewTable(limits.Config{
				Max: 4096, MaxPerSource: 2048, MaxUnauthenticated: 1024, MaxUnauthenticatedPerSource: 512,
				MaxSessions: 10, MaxSessionsEver: 1000,
			}))
		}},
		{"10:30:100", func() middleware.Layer { return earlyDrop(10, 30, 100) }},
		{"512:30:1024", func() middleware.Layer { return earlyDrop(512, 30, 1024) }},
	} {
		for _, crowd := range []struct {
			name   string
			silent int
			from   net.IP
		}{
			{"alone", 0, nil},
			{"silence", 2000, net.IPv4(127, 0, 0, 2)},
			{"silence from the same source", 2000, net.IPv4(127, 0, 0, 1)},
		} {
			b.Run(policy.name+"/"+crowd.name, func(b *testing.B) {
				served := 0
				var took []time.Duration
				for b.Loop() {
					srv := sshtest.Serve(b, policy.layer(), passwordLayer(func(user, _ string) bool { return user == "guest" }), middleware.Message(middleware.Fixed("hi\n")))
					end := silence(b, srv.Address, crowd.silent, crowd.from)
					for _, d := range logins(srv.Address, 50) {
						if d > 0 {
							served++
							took = append(took, d)
						}
					}
					end()
				}
				slices.Sort(took)
				b.ReportMetric(float64(served)/float64(b.N)*2, "in%")
				if len(took) > 0 {
					b.ReportMetric(float64(took[len(took)*99/100].Milliseconds()), "p99-ms")
				}
			})
		}
	}
}

// logins returns the times of n concurrent logins, and 0 for those that were not served.
func logins(address string, n int) []time.Duration {
	took := make([]time.Duration, n)
	concurrently(n, func(i int) {
		began := time.Now()
		conn, err := net.DialTimeout("tcp", address, 2*time.Second)
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(began.Add(2 * time.Second))
		c, channels, requests, err := gossh.NewClientConn(conn, address, &gossh.ClientConfig{
			User: "guest", Auth: []gossh.AuthMethod{gossh.Password("")}, HostKeyCallback: gossh.InsecureIgnoreHostKey(),
		})
		if err != nil {
			return
		}
		sess, err := gossh.NewClient(c, channels, requests).NewSession()
		if err != nil {
			return
		}
		if sess.Shell() == nil && sess.Wait() == nil {
			took[i] = time.Since(began)
		}
	})
	return took
}

// silence keeps n silent connections, which reconnect when they are dropped, until end is called.
func silence(b *testing.B, address string, n int, from net.IP) (end func()) {
	b.Helper()
	stop := make(chan struct{})
	var connected atomic.Int64
	var all sync.WaitGroup
	dialer := net.Dialer{Timeout: time.Second, LocalAddr: &net.TCPAddr{IP: from}}
	for range n {
		all.Go(func() {
			for {
				conn, err := dialer.Dial("tcp", address)
				connected.Add(1)
				if err == nil {
					go func() { <-stop; _ = conn.Close() }()
					_, _ = conn.Read(make([]byte, 1)) // its version line
					for err == nil {
						_, err = conn.Read(make([]byte, 64))
					}
					_ = conn.Close()
				}
				select {
				case <-stop:
					return
				case <-time.After(time.Second):
				}
			}
		})
	}
	sshtest.Eventually(b, "not all silent connections were made", func() bool { return connected.Load() >= int64(n) })
	return func() { close(stop); all.Wait() }
}

// earlyDrop is MaxStartups start:rate:full (sshd.c, should_drop_connection).
func earlyDrop(start, rate, full int) middleware.Layer {
	var mu sync.Mutex
	startups := map[*middleware.Conn]bool{}
	return middleware.Layer{Connect: func(c *middleware.Conn) (middleware.Moments, error) {
		leave := func() {
			mu.Lock()
			defer mu.Unlock()
			delete(startups, c)
		}
		mu.Lock()
		defer mu.Unlock()
		if n := len(startups); n >= full || n >= start && rand.IntN(100) < rate+(100-rate)*(n-start)/(full-start) {
			return middleware.Moments{}, errors.New("dropped")
		}
		startups[c] = true
		return middleware.Moments{
			Attempt: func(a middleware.Attempt) {
				if a.Outcome == middleware.Succeeded {
					leave()
				}
			},
			Closed: func(error) { leave() },
		}, nil
	}}
}
