package middleware

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"

	"charm.land/ssh"

	"foyer/middleware/eventlog/counters"
	"foyer/middleware/limits"
	"foyer/middleware/source"
	"foyer/middleware/transport"
)

// ProxyHeaderConfig configures [ProxyHeader].
type ProxyHeaderConfig struct {
	// From is the networks of the proxies.
	From []netip.Prefix
	// Timeout is how long the header may take at most, as [DeadlinesConfig].Handshake, of which it is a part.
	Timeout time.Duration
	// Table is where connections count until their header has arrived. It is the one of [Limits].
	Table *limits.Table
	// Logger writes a line for each connection without a valid header. It must limit them; the default logger if nil.
	Logger *slog.Logger
}

// ProxyHeader returns the layer for a server behind HAProxy, nginx or a cloud's balancer. A connection from one of these
// networks must begin with a PROXY header, of version 1 or 2, and has the address in that header from then on: for
// penalties, limits, the log, and the addresses in authorized keys and certificates. So the layer belongs before all that
// use the address. Nobody else is believed: a header from elsewhere is not SSH, and refused as that.
//
// Name only networks in which nobody but the proxy can connect to the server, because from there a client can claim any
// address. A proxy that connects for itself (LOCAL, or UNKNOWN in version 1), as balancers do to check a server, gets no
// penalties and has no limit per source. It is served like a visitor if it speaks SSH.
//
// Until its header has arrived, a connection counts in Table as one of an exempt source. A proxy sends the header at once,
// so the first to make room for others are those that wait for two seconds.
func ProxyHeader(cfg ProxyHeaderConfig) Layer {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return Layer{
		Name: "proxyheader",
		Server: func(*ssh.Server) error {
			if cfg.Table == nil || cfg.Timeout <= 0 {
				return errors.New("no table, or no timeout")
			}
			return source.Networks{Exempt: cfg.From}.Validate()
		},
		Connect: func(c *Conn) (Moments, error) {
			from := source.Addr(c.RemoteAddr())
			if !slices.ContainsFunc(cfg.From, func(network netip.Prefix) bool { return network.Contains(from) }) {
				return Moments{}, nil
			}
			return Moments{}, cfg.read(c)
		},
	}
}

// read reads the header of a connection, or refuses it.
func (cfg ProxyHeaderConfig) read(c *Conn) error {
	proxy := c.RemoteAddr()
	entry, err := admit(c, cfg.Table, transport.ProxyAddr{Addr: proxy}, func(bool) { _ = c.Close() })
	if err != nil {
		return err
	}
	defer entry.Closed()
	_ = c.SetDeadline(c.accepted.Add(min(cfg.Timeout, maxKeyExchange)))
	err = c.ReadProxyHeader()
	switch {
	case err == nil:
		return c.SetDeadline(time.Time{})
	case left(err):
		c.fail(errSilent)
		return err
	case errors.Is(err, net.ErrClosed): // evicted
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		cfg.Table.Counters.Count(counters.HandshakeTime, proxy)
	}
	c.fail(err)
	cfg.Logger.Warn("PROXY header invalid", "addr", proxy.String(), "err", err,
		"hint", "configure the balancer to send one, or leave its network out of --proxy-from")
	c.disconnectBriefly(transport.ByApplication, "this server expects a PROXY header from your address")
	return err
}

// left reports whether the other side has closed the connection.
func left(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
