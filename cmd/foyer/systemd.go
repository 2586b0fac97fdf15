package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"

	"foyer/middleware/server"
)

// statusInterval is how often systemd reads how many visitors there are.
const statusInterval = 10 * time.Second

// sockets are the listeners that systemd has opened, by their names (sd_listen_fds(3)).
type sockets map[string][]net.Listener

// httpSocket is the name of the socket for metrics and health checks. All others are for SSH.
const httpSocket = "http"

func systemdSockets() (sockets, error) {
	listeners, err := activation.ListenersWithNames()
	if err != nil {
		return nil, fmt.Errorf("use systemd's sockets: %w", err)
	}
	return listeners, nil
}

// adopt makes the server use the sockets for SSH. It reports whether there are any.
func (sockets sockets) adopt(s *server.Server) (adopted bool) {
	for name, listeners := range sockets {
		for i, listener := range listeners {
			if name != httpSocket {
				s.Adopt(fmt.Sprintf("%s:%d", name, i), listener)
				adopted = true
			}
		}
	}
	return adopted
}

// http returns the listener for metrics and health checks, or nil.
func (sockets sockets) http() net.Listener {
	if listeners := sockets[httpSocket]; len(listeners) > 0 {
		return listeners[0]
	}
	return nil
}

// notify tells systemd the state of the service (sd_notify(3)). Without systemd it does nothing.
func notify(s *server.Server, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		s.Logger.Warn("systemd not notified", "err", err)
	}
}

// watch tells systemd how many visitors there are, and feeds its watchdog as long as logins can be served, until ctx is done.
func watch(ctx context.Context, s *server.Server) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		s.Logger.Warn("watchdog not used", "err", err)
	}
	tick := time.NewTicker(min(statusInterval, cmp.Or(interval/2, statusInterval)))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		state := status(s)
		if interval > 0 {
			if err := s.Alive(interval / 2); err != nil {
				s.Logger.Error("logins cannot be served", "err", err)
			} else {
				state += "\n" + daemon.SdNotifyWatchdog
			}
		}
		notify(s, state)
	}
}

// status is the line that systemctl status shows.
func status(s *server.Server) string {
	visitors, _ := s.Table.Len()
	return fmt.Sprintf("STATUS=visitors now: %d, blocked sources: %d", visitors, s.Tracker.Blocked())
}
