package middleware_test

import (
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
	"foyer/middleware/sshtest"
)

// countedWrites counts the writes to a network connection.
type countedWrites struct {
	net.Conn
	n *atomic.Int64
}

func (c countedWrites) Write(p []byte) (int, error) {
	c.n.Add(1)
	return c.Conn.Write(p)
}

// A login with a short session takes one write per round trip: the version, KEXINIT, the end of the key exchange, the
// service, the success with the announcement of the host keys, the channel, and the whole session.
func TestOneWritePerRoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var writes atomic.Int64
		srv := &ssh.Server{ConnCallback: func(_ ssh.Context, conn net.Conn) net.Conn { return countedWrites{conn, &writes} }}
		srv.AddHostKey(sshtest.HostKey(t))
		if err := middleware.NewStack(middleware.Open(), middleware.HostKeyUpdate(), middleware.Message(middleware.Fixed("hi\n"))).Install(srv); err != nil {
			t.Fatal(err)
		}
		client := sshtest.Connect(t, srv).Login(t, gossh.Config{})
		if got := sshtest.Run(t, client, sshtest.Visit{}); got.Stdout != "hi\n" || got.Status != 0 {
			t.Errorf("got %+v", got)
		}
		synctest.Wait()
		if got := writes.Load(); got != 7 {
			t.Errorf("%d writes, want 7", got)
		}
	})
}
