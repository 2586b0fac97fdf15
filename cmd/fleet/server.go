//go:build !windows

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// server is one foyer.
type server struct {
	name, ssh, http string // addresses
	cmd             *exec.Cmd
}

func (s *server) host() string {
	host, _, _ := net.SplitHostPort(s.http)
	return host
}

func (s *server) httpPort() string {
	_, port, _ := net.SplitHostPort(s.http)
	return port
}

func (f *fleet) startServers(ctx context.Context) error {
	for _, name := range []string{"a", "b", "c"} {
		s := &server{name: name}
		for _, address := range []*string{&s.ssh, &s.http} {
			free, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			*address = free.Addr().String() // it stays the same when the server is restarted
			_ = free.Close()
		}
		f.servers = append(f.servers, s)
		if err := f.startServer(ctx, s); err != nil {
			return err
		}
		f.say("foyer "+name, "%s, http://%s/metrics", s.ssh, s.http)
	}
	return nil
}

// startServer starts a server and waits until it is ready. All have the same host keys; the first one makes them.
func (f *fleet) startServer(ctx context.Context, s *server) (err error) {
	s.cmd, err = f.start("foyer", s.log(), nil, "--open", "--listen", s.ssh, "--http", s.http, "--proxy-from", "127.0.0.1/32",
		"--penalty-exempt", "127.0.0.0/8", "--hostkeys", filepath.Join(f.dir, "hostkeys"), "--drain-delay", "500ms",
		"--log-format", "logfmt", "--share", f.share())
	if err != nil {
		return err
	}
	return until(ctx, "foyer "+s.name+" starts", func() bool { return answers("tcp", s.ssh) && f.logged(s, "sharing penalties") > 0 })
}

func (s *server) log() string { return "foyer-" + s.name + ".log" }

// logged counts an event in the log of a server.
func (f *fleet) logged(s *server, event string) int {
	text, _ := os.ReadFile(filepath.Join(f.dir, s.log()))
	return strings.Count(string(text), event)
}

// logins waits for so many logins at each of the servers, or at all but one.
func (f *fleet) logins(ctx context.Context, n int, without *server) error {
	before := map[*server]int{}
	for _, s := range f.servers {
		before[s] = f.logged(s, "session closed")
	}
	for _, s := range f.servers {
		if s == without {
			continue
		}
		if err := until(ctx, "logins at "+s.name, func() bool { return f.logged(s, "session closed") >= before[s]+n }); err != nil {
			return err
		}
	}
	return nil
}

// maintain closes all servers with one command, and opens them again.
func (f *fleet) maintain(ctx context.Context) error {
	for _, what := range []string{"on", "off"} {
		began := time.Now()
		cmd := exec.CommandContext(ctx, f.programs["foyer"], "maintenance", what, "--share", f.share())
		cmd.Dir = f.dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("foyer maintenance %s: %w\n%s", what, err, out)
		}
		for _, s := range f.servers {
			if err := until(ctx, "maintenance "+what+" at "+s.name, func() bool { return s.closed() == (what == "on") }); err != nil {
				return err
			}
		}
		f.say("maintenance", "%s at all servers, %s after the command began", what, time.Since(began).Round(time.Millisecond))
	}
	return nil
}

// closed reports whether a server is under maintenance.
func (s *server) closed() bool {
	answer, err := http.Get("http://" + s.http + "/metrics")
	if err != nil {
		return false
	}
	defer func() { _ = answer.Body.Close() }()
	text, _ := io.ReadAll(answer.Body)
	return strings.Contains(string(text), "\nfoyer_maintenance 1\n")
}

// share is where the servers share.
func (f *fleet) share() string { return "unix://" + filepath.Join(f.dir, "redis.sock") }

// spread shows how logins spread over the servers.
func (f *fleet) spread(ctx context.Context) error {
	if err := f.logins(ctx, 20, nil); err != nil {
		return err
	}
	up := f.up()
	f.say("connections", "a %s, b %s, c %s", up["a"], up["b"], up["c"])
	return nil
}

// attacker is an address that the balancer names.
const attacker = "203.0.113.7"

// attack connects as the attacker. It returns the function that leaves without a login, and returns what the server has said.
func attack(s *server) (leave func() string) {
	conn, err := net.Dial("tcp", s.ssh)
	if err != nil {
		return err.Error
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, _ = fmt.Fprintf(conn, "PROXY TCP4 %s 127.0.0.1 1 22\r\nSSH-2.0-scan\r\n", attacker)
	return func() string {
		defer func() { _ = conn.Close() }()
		_ = conn.(*net.TCPConn).CloseWrite()
		text, _ := io.ReadAll(conn)
		return string(text)
	}
}

// refused reports whether the attacker is refused.
func refused(s *server) bool { return strings.Contains(attack(s)(), "Not allowed at this time") }

// ban gets the attacker blocked at the first server, and shows that the others refuse it.
func (f *fleet) ban(ctx context.Context) error {
	var leave []func() string
	for range 120 { // each costs a second, so the block is not over before the end
		leave = append(leave, attack(f.servers[0]))
	}
	for _, leave := range leave {
		leave()
	}
	if err := until(ctx, "a blocks", func() bool { return refused(f.servers[0]) }); err != nil {
		return err
	}
	began := time.Now()
	for _, s := range f.servers[1:] {
		if err := until(ctx, s.name+" blocks", func() bool { return refused(s) }); err != nil {
			return err
		}
		f.say("ban", "%s is blocked by a, and refused by %s %s later", attacker, s.name, time.Since(began).Round(time.Millisecond))
	}
	return nil
}

// loseEngine shows that logins go on without the engine.
func (f *fleet) loseEngine(ctx context.Context) error {
	end(f.engine, syscall.SIGKILL)
	for _, s := range f.servers {
		if err := until(ctx, s.name+" notices", func() bool { return f.logged(s, "penalties are not shared") == 1 }); err != nil {
			return err
		}
	}
	if err := f.logins(ctx, 20, nil); err != nil {
		return err
	}
	for _, s := range f.servers {
		if !refused(s) {
			return fmt.Errorf("%s forgets the block", s.name)
		}
	}
	if err := f.startEngine(ctx); err != nil {
		return err
	}
	for _, s := range f.servers {
		if err := until(ctx, s.name+" is back", func() bool { return f.logged(s, "sharing penalties again") == 1 }); err != nil {
			return err
		}
	}
	f.say("redis-server", "was gone; logins went on, and the ban stayed")
	return nil
}

// restart restarts the servers one after the other.
func (f *fleet) restart(ctx context.Context) error {
	for _, s := range f.servers {
		if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		if err := s.cmd.Wait(); err != nil {
			return fmt.Errorf("foyer %s: %w", s.name, err)
		}
		if err := f.logins(ctx, 10, s); err != nil {
			return err
		}
		if err := f.startServer(ctx, s); err != nil {
			return err
		}
		if err := until(ctx, "haproxy uses "+s.name, func() bool { return len(f.up()) == len(f.servers) }); err != nil {
			return err
		}
		if err := f.logins(ctx, 10, nil); err != nil {
			return err
		}
		f.say("restart", "%s; it refuses the banned address: %t", s.name, refused(s))
	}
	return nil
}
