//go:build !windows

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// running is a peer that was started.
type running struct {
	peer
	cmd   *exec.Cmd
	port  string
	log   string // path
	ended chan struct{}
	end   context.CancelFunc
}

// start starts a peer on a free port. It has a process group of its own, which ends with ctx.
func (b *bench) start(ctx context.Context, p peer) (*running, error) {
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	r := &running{peer: p, port: port, log: filepath.Join(b.dir, "log."+port), ended: make(chan struct{})}
	log, err := os.Create(r.log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	ctx, r.end = context.WithCancel(ctx)
	args := append(slices.Clone(p.command), port, b.dir)
	if strings.HasPrefix(args[0], "bin/") {
		args[0] = filepath.Join(b.dir, args[0])
	}
	r.cmd = exec.CommandContext(ctx, args[0], args[1:]...)
	r.cmd.Dir, r.cmd.Stdout, r.cmd.Stderr = b.dir, log, log
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r.cmd.Cancel = func() error { return r.signal(syscall.SIGTERM) }
	r.cmd.WaitDelay = 2 * time.Second
	if err := r.cmd.Start(); err != nil {
		r.end()
		return nil, err
	}
	go func() {
		_ = r.cmd.Wait()
		_ = r.signal(syscall.SIGKILL) // what is left of its group
		close(r.ended)
	}()
	return r, nil
}

func (r *running) signal(sig syscall.Signal) error { return syscall.Kill(-r.cmd.Process.Pid, sig) }

// stop ends a peer and waits until it has ended.
func (r *running) stop() {
	r.end()
	<-r.ended
}

// startupTime is more than the slowest peer needs to start on a busy machine.
const startupTime = 30 * time.Second

// await calls login until it succeeds. It is an error if the peer ends, with the last line of its log.
func (r *running) await(ctx context.Context, login func() error) error {
	deadline := time.Now().Add(startupTime)
	for {
		err := login()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.ended:
			return errors.New(r.lastLine())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no login succeeded: %w; its log ends: %s", err, r.lastLine())
		}
	}
}

func (r *running) lastLine() string {
	text, _ := os.ReadFile(r.log)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}

// freePort returns a free port below those that the system gives to clients, of which there will be thousands.
func freePort(ctx context.Context) (port string, err error) {
	for range 100 {
		port = strconv.Itoa(15000 + rand.IntN(15000))
		var listener net.Listener
		if listener, err = new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:"+port); err == nil {
			return port, listener.Close()
		}
	}
	return "", fmt.Errorf("find a free port: %w", err)
}
