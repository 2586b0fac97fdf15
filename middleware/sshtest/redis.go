package sshtest

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Redis is a redis-server of Debian on a Unix socket, which can be stopped and started again. It is stopped when the test
// ends.
type Redis struct {
	Socket string

	t    testing.TB
	cmd  *exec.Cmd
	log  *Log
	args []string
}

// StartRedis starts a redis-server that keeps nothing on disk, with these arguments in addition.
func StartRedis(t testing.TB, args ...string) *Redis {
	t.Helper()
	_, err := exec.LookPath("redis-server")
	Need(t, "redis-server", "apt-get install redis-server", err == nil)
	dir := t.TempDir()
	r := &Redis{Socket: filepath.Join(dir, "redis.sock"), t: t}
	r.args = append([]string{"--port", "0", "--unixsocket", r.Socket, "--dir", dir, "--save", "", "--appendonly", "no"}, args...)
	r.Start()
	t.Cleanup(r.Stop)
	return r
}

// Start starts it.
func (r *Redis) Start() {
	r.t.Helper()
	r.log = NewLog()
	r.cmd = exec.Command("redis-server", r.args...)
	r.cmd.Stdout, r.cmd.Stderr = r.log, r.log
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.log.Line(r.t, "server is now ready to accept connections at "+r.Socket)
}

// Stop ends it, and what it has stored is lost.
func (r *Redis) Stop() {
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
}

// CLI returns the answer to a command.
func (r *Redis) CLI(args ...string) string {
	r.t.Helper()
	out, err := exec.Command("redis-cli", append([]string{"-s", r.Socket}, args...)...).CombinedOutput()
	if err != nil {
		r.t.Fatalf("redis-cli %q: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}
