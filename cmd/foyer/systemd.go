package main

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"foyer/middleware/server"
)

// statusInterval is how often systemd reads how many visitors there are.
const statusInterval = 10 * time.Second

// adopt makes the server use the sockets that systemd has opened (sd_listen_fds(3)). It reports whether there are any.
func adopt(s *server.Server) (adopted bool, err error) {
	listeners, err := activation.ListenersWithNames()
	if err != nil {
		return false, fmt.Errorf("use systemd's sockets: %w", err)
	}
	for name, all := range listeners {
		for i, listener := range all {
			if listener == nil {
				continue
			}
			s.Adopt(fmt.Sprintf("%s:%d", name, i), listener)
			adopted = true
		}
	}
	return adopted, nil
}

// notify tells systemd the state of the service (sd_notify(3)). Without systemd it does nothing.
func notify(s *server.Server, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		s.Logger.Warn("systemd not notified", "err", err)
	}
}

// reloading is the state of a service that reads its settings (sd_notify(3): the time is that of CLOCK_MONOTONIC).
func reloading() string {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // this clock always exists
	return fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, now.Nano()/1000)
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
