//go:build !windows

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/charmbracelet/keygen"

	"foyer/cmd/knock/report"
	"foyer/middleware"
)

//go:embed scripts
var scripts embed.FS

// bench measures servers. They share a directory with keys, a password, the message, and the programs.
type bench struct {
	*options
	dir    string
	stderr io.Writer
	table  table
}

// newBench makes the directory. Others may enter it, because sshd and dropbear read files as the user guest, but only
// its owner can read the secrets.
func newBench(ctx context.Context, o *options, stderr io.Writer) (*bench, error) {
	dir, err := os.MkdirTemp("", "foyer-bench-")
	if err != nil {
		return nil, err
	}
	b := &bench{options: o, dir: dir, stderr: stderr}
	if err := b.prepare(ctx); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return b, nil
}

func (b *bench) prepare(ctx context.Context) error {
	for _, name := range []string{"ssh_host_ed25519_key", "id_ed25519"} {
		if _, err := keygen.New(b.path(name), keygen.WithKeyType(keygen.Ed25519), keygen.WithWrite()); err != nil {
			return err
		}
	}
	public, err := os.ReadFile(b.path("id_ed25519.pub"))
	if err != nil {
		return err
	}
	for name, text := range map[string]string{
		"authorized_keys": string(public), "password": rand.Text() + "\n", "message": middleware.SimpleMessage,
	} {
		if err := os.WriteFile(b.path(name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	if err := errors.Join(os.CopyFS(b.dir, scripts), os.Chmod(b.dir, 0o711)); err != nil { // keygen makes it 0700
		return err
	}
	const programs = "foyer/cmd/knock/peers/"
	build := exec.CommandContext(ctx, "go", "build", "-o", b.path("bin")+string(filepath.Separator),
		"foyer/cmd/foyer", "foyer/cmd/knock", programs+"wish", programs+"bare")
	build.Stderr = b.stderr
	return build.Run()
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

// methods are the authentication methods that are measured.
var methods = []string{"publickey", "password"}

// credentials returns the flags by which knock logs in.
func (b *bench) credentials(method string) []string {
	if method == "password" {
		return []string{"--password-file", b.path("password")}
	}
	return []string{"--key", b.path("id_ed25519")}
}

// knock runs knock with the algorithms that all peers have, and reads its report. Conch has no chacha20-poly1305.
func (b *bench) knock(ctx context.Context, result any, args ...string) error {
	cmd := exec.CommandContext(ctx, b.path("bin/knock"), append(args, "--json", "--kex", "curve25519-sha256",
		"--cipher", "chacha20-poly1305@openssh.com,aes128-ctr")...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if args[0] == "compare" {
		cmd.Stderr = b.stderr // shows the progress
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it still prints its report
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	if stdout.Len() == 0 {
		return fmt.Errorf("knock: %v: %s", err, strings.TrimSpace(stderr.String()))
	}
	return errors.Join(json.Unmarshal(stdout.Bytes(), result), err)
}

// run measures each peer by itself and then all of them in turn.
func (b *bench) run(ctx context.Context, chosen []peer, stdout io.Writer) error {
	var started []*running
	defer func() {
		for _, r := range started {
			r.stop()
		}
	}()
	for _, p := range chosen {
		r, err := b.inspect(ctx, p)
		if err != nil && (ctx.Err() != nil || p.install == "") {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		if err != nil {
			_, _ = fmt.Fprintf(b.stderr, "%s skipped: %v; to install: %s\n", p.name, err, p.install)
			continue
		}
		_, _ = fmt.Fprintf(b.stderr, "%s started\n", p.name)
		started = append(started, r)
	}
	for _, method := range methods {
		result, err := b.compare(ctx, started, method)
		if err != nil {
			return err
		}
		if b.table.add(method, result); b.bench {
			result.BenchAs(stdout, "Login/by="+method)
		}
	}
	if b.bench {
		return nil
	}
	_, err := io.WriteString(stdout, b.table.markdown())
	return err
}

// modes are the modes of knock that hold connections.
var modes = []string{"hold", "preauth"}

// inspect measures the memory of a peer's connections, and starts it for the comparison. Each kind of connection gets a
// new process: one that has served many connections has memory left for more, and foyer blocks an address for a while
// that connects without logging in.
func (b *bench) inspect(ctx context.Context, p peer) (*running, error) {
	memory := map[string]*float64{}
	for _, mode := range modes {
		if b.held == 0 {
			continue
		}
		r, err := b.startAndLogin(ctx, p, methods[0]) // no password: its hash takes memory
		if err != nil {
			return nil, err
		}
		memory[mode], err = b.hold(ctx, r, mode)
		if r.stop(); err != nil {
			return nil, err
		}
	}
	r, err := b.startAndLogin(ctx, p, methods...)
	if err == nil {
		b.table.rows = append(b.table.rows, row{p, memory, map[string]report.Compared{}})
	}
	return r, err
}

// startAndLogin starts a peer, and waits until a login by each method succeeds.
func (b *bench) startAndLogin(ctx context.Context, p peer, methods ...string) (*running, error) {
	r, err := b.start(ctx, p)
	if err != nil {
		return nil, err
	}
	for _, method := range methods {
		args := append(b.credentials(method), "guest@127.0.0.1:"+r.port, "-n1", "--expect", b.path("message"))
		if err := r.await(ctx, func() error { return b.knock(ctx, &report.Measurement{}, args...) }); err != nil {
			r.stop()
			return nil, err
		}
	}
	return r, nil
}

// rest is how long a server is left alone before its memory is read. Some servers free memory in that time.
const rest = 3 * time.Second

// hold returns the memory of a connection.
func (b *bench) hold(ctx context.Context, r *running, mode string) (*float64, error) {
	select {
	case <-time.After(rest):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	number := b.held
	if mode == "preauth" {
		number = limit(number, r.unauthenticated)
	}
	var m report.Measurement
	err := b.knock(ctx, &m, append([]string{mode, strconv.Itoa(number), "guest@127.0.0.1:" + r.port,
		"--for", rest.String(), "-c", strconv.Itoa(limit(b.concurrency, r.concurrency)),
		"--pid", strconv.Itoa(r.cmd.Process.Pid)}, b.credentials(methods[0])...)...)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", err, m.Failures)
	}
	return m.Usage.MemoryEach, nil
}

func (b *bench) compare(ctx context.Context, servers []*running, method string) (*report.Compare, error) {
	args := append([]string{"compare", "--expect", b.path("message"), "--rounds", strconv.Itoa(b.rounds),
		"--window", b.window.String(), "-c", strconv.Itoa(b.concurrency)}, b.credentials(method)...)
	for _, r := range servers {
		args = append(args, fmt.Sprintf("%s=guest@127.0.0.1:%s,pid=%d,concurrency=%d", r.name, r.port, r.cmd.Process.Pid,
			limit(b.concurrency, r.concurrency)))
	}
	result := &report.Compare{}
	if err := b.knock(ctx, result, args...); result.Rounds == 0 {
		return nil, err
	}
	return result, nil
}
