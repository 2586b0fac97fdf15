package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// patience is beyond what the slowest door takes to answer on a busy machine.
const patience = 30 * time.Second

// running is a door that was started.
type running struct {
	door
	cmd     *exec.Cmd
	port    string
	log     *os.File
	started time.Time
	end     context.CancelFunc
	ended   chan struct{}
}

func (r *running) address() string { return net.JoinHostPort("127.0.0.1", r.port) }

// start starts a door on a free port, with its log in a file. It is in a process group of its own, and ends with ctx
// at the latest.
func (h *house) start(ctx context.Context, d door) (*running, error) {
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	r := &running{door: d, port: port, ended: make(chan struct{})}
	if r.log, err = os.Create(h.path("log." + port)); err != nil {
		return nil, err
	}
	ctx, r.end = context.WithCancel(ctx)
	args := d.command(h, port)
	r.cmd = exec.CommandContext(ctx, args[0], args[1:]...)
	r.cmd.Dir, r.cmd.Env = h.dir, environment()
	r.cmd.Stdout, r.cmd.Stderr = r.log, r.log
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r.cmd.Cancel = func() error { return r.signal(syscall.SIGTERM) }
	r.cmd.WaitDelay = 2 * time.Second
	r.started = time.Now()
	if err := r.cmd.Start(); err != nil {
		r.end()
		return nil, errors.Join(err, r.log.Close())
	}
	go func() {
		_ = r.cmd.Wait()
		_ = r.signal(syscall.SIGKILL) // what is left of its group
		close(r.ended)
	}()
	return r, nil
}

func (r *running) signal(sig syscall.Signal) error { return syscall.Kill(-r.cmd.Process.Pid, sig) }

// stop ends a door and waits until it is gone.
func (r *running) stop() {
	r.end()
	<-r.ended
	_ = r.log.Close()
}

// answers waits until a login succeeds and returns how long that took from the start of the program.
func (r *running) answers(ctx context.Context, v *visitor) (time.Duration, error) {
	deadline := time.Now().Add(patience)
	for {
		err := v.login(ctx, r.door, r.address())
		switch {
		case err == nil:
			return time.Since(r.started), nil
		case time.Now().After(deadline), ctx.Err() != nil:
			return 0, r.unwell(err)
		}
		select {
		case <-r.ended:
			return 0, r.unwell(errors.New("it ended"))
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// unwell is an error with the end of the door's log.
func (r *running) unwell(err error) error {
	text, _ := os.ReadFile(r.log.Name())
	const tail = 600
	return fmt.Errorf("%s: %w; the end of its log: %q", r.name, err, text[max(0, len(text)-tail):])
}

// freePort returns a port that nobody listens on, from below those that the system gives to clients, of whom many
// thousands will come.
func freePort(ctx context.Context) (string, error) {
	var err error
	for range 100 {
		port := strconv.Itoa(15000 + rand.IntN(15000))
		var listener net.Listener
		if listener, err = new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:"+port); err == nil {
			return port, listener.Close()
		}
	}
	return "", fmt.Errorf("find a free port: %w", err)
}
