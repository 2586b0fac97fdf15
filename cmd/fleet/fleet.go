//go:build !windows

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// fleet is what runs.
type fleet struct {
	w        io.Writer
	dir      string // of the programs, the host keys and the logs
	programs map[string]string
	engine   *exec.Cmd
	servers  []*server
	balancer *exec.Cmd
	address  string // of the balancer
	load     *exec.Cmd
	report   bytes.Buffer // of the load
}

// patience is how long a step may take.
const patience = 20 * time.Second

// say prints a fact.
func (f *fleet) say(what, format string, args ...any) {
	fmt.Fprintf(f.w, "%-14s %s\n", what, fmt.Sprintf(format, args...))
}

// prepare finds the programs that are needed, and builds ours.
func (f *fleet) prepare(ctx context.Context) (err error) {
	f.programs = map[string]string{}
	var missing []string
	for name, install := range map[string]string{"redis-server": "redis-server", "haproxy": "haproxy"} {
		path, err := exec.LookPath(name)
		if err != nil {
			path, err = exec.LookPath("/usr/sbin/" + name)
		}
		if err != nil {
			missing = append(missing, install)
		}
		f.programs[name] = path
	}
	if missing != nil {
		return fmt.Errorf("not installed; run: sudo apt-get install %s", strings.Join(missing, " "))
	}
	if f.dir, err = os.MkdirTemp("", "fleet"); err != nil {
		return err
	}
	for _, name := range []string{"foyer", "knock"} {
		f.programs[name] = filepath.Join(f.dir, name)
		if out, err := exec.CommandContext(ctx, "go", "build", "-o", f.programs[name], "foyer/cmd/"+name).CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	return nil
}

// start starts a program, with its output in a file.
func (f *fleet) start(name, log string, files []*os.File, args ...string) (*exec.Cmd, error) {
	output, err := os.OpenFile(filepath.Join(f.dir, log), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = output.Close() }()
	cmd := exec.Command(f.programs[name], args...)
	cmd.Dir, cmd.ExtraFiles, cmd.Stdout, cmd.Stderr = f.dir, files, output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C at the terminal ends the fleet in its order
	return cmd, cmd.Start()
}

func (f *fleet) startEngine(ctx context.Context) (err error) {
	socket := filepath.Join(f.dir, "redis.sock")
	f.engine, err = f.start("redis-server", "redis.log", nil, "--port", "0", "--unixsocket", socket, "--save", "", "--dir", f.dir)
	if err == nil {
		err = until(ctx, "redis-server starts", func() bool { return answers("unix", socket) })
	}
	return err
}

func answers(network, address string) bool {
	conn, err := net.Dial(network, address)
	if err == nil {
		_ = conn.Close()
	}
	return err == nil
}

// haproxy is the configuration of HAProxy: its listener is descriptor 3. Who does not answer is tried elsewhere, and
// /readyz says who may be tried at all.
const haproxy = `
global
 maxconn 1000
 stats socket %s/haproxy.sock level admin
defaults
 mode tcp
 timeout connect 5s
 timeout client 60s
 timeout server 60s
 retries 3
 option redispatch 1
listen foyer
 bind fd@3
 balance roundrobin
 option httpchk GET /readyz
`

func (f *fleet) startBalancer(ctx context.Context) error {
	config := fmt.Sprintf(haproxy, f.dir)
	for _, s := range f.servers {
		config += fmt.Sprintf(" server %s %s send-proxy-v2 check addr %s port %s inter 100ms fall 2 rise 1\n", s.name, s.ssh, s.host(), s.httpPort())
	}
	path := filepath.Join(f.dir, "haproxy.cfg")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }()
	inherited, err := listener.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	defer func() { _ = inherited.Close() }()
	f.address = listener.Addr().String()
	if f.balancer, err = f.start("haproxy", "haproxy.log", []*os.File{inherited}, "-db", "-f", path); err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(f.address)
	f.say("haproxy", "%s (ssh -p %s guest@localhost)", f.address, port)
	return until(ctx, "haproxy finds the servers", func() bool { return len(f.up()) == len(f.servers) })
}

// up returns the names of the servers that HAProxy uses, each with its connections so far.
func (f *fleet) up() map[string]string {
	conn, err := net.Dial("unix", filepath.Join(f.dir, "haproxy.sock"))
	if err != nil {
		return nil
	}
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, "show stat\n")
	text, _ := io.ReadAll(conn)
	up := map[string]string{}
	for line := range strings.Lines(string(text)) {
		const name, connections, status = 1, 7, 17
		if fields := strings.Split(line, ","); len(fields) > status && fields[0] == "foyer" && fields[status] == "UP" {
			up[fields[name]] = fields[connections]
		}
	}
	return up
}

// startLoad lets knock log in until it is told to stop.
func (f *fleet) startLoad(context.Context) error {
	f.load = exec.Command(f.programs["knock"], "--open", "-c", "4", "-d", "10m", "guest@"+f.address)
	f.load.Stdout, f.load.Stderr = &f.report, &f.report
	f.load.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return f.load.Start()
}

// stopLoad fails if a login has failed.
func (f *fleet) stopLoad(context.Context) error {
	_ = f.load.Process.Signal(os.Interrupt)
	err := f.load.Wait()
	fmt.Fprintf(f.w, "\n%s", f.report.String())
	f.load = nil
	if err != nil {
		return fmt.Errorf("logins failed: %w", err)
	}
	f.say("\nlogins", "none failed")
	return nil
}

// close ends everything, and deletes the directory.
func (f *fleet) close() (err error) {
	for _, cmd := range []*exec.Cmd{f.load, f.balancer, f.engine} {
		end(cmd, syscall.SIGKILL)
	}
	for _, s := range f.servers {
		end(s.cmd, syscall.SIGKILL)
	}
	if f.dir != "" {
		err = os.RemoveAll(f.dir)
	}
	return err
}

// end ends a program that runs.
func end(cmd *exec.Cmd, sig os.Signal) {
	if cmd != nil && cmd.Process != nil && cmd.ProcessState == nil {
		_ = cmd.Process.Signal(sig)
		_ = cmd.Wait()
	}
}

// until waits until done returns true.
func until(ctx context.Context, what string, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for ticks := time.NewTicker(5 * time.Millisecond); !done(); {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, errors.Join(context.Cause(ctx)))
		case <-ticks.C:
		}
	}
	return nil
}
