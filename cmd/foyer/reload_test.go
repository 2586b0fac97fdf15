//go:build !windows

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/sshtest"
)

// reloads is how often the server reads its settings again.
const reloads = 1000 / slowness

// startWithFile starts foyer in a directory that has these files, with its settings in foyer.toml.
func startWithFile(t *testing.T, files map[string]string) *process {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	srv, err := start(dir, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.kill)
	return srv
}

// replaceFile replaces a file of the server's directory at once, and reloads.
func (p *process) replaceFile(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// descriptors returns how many the process has open.
func (p *process) descriptors(t *testing.T) int {
	t.Helper()
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(open)
}

var reportLine = regexp.MustCompile(`msg=report .* goroutines=(\d+)`)

// goroutines returns how many the process has.
func (p *process) goroutines(t *testing.T) int {
	t.Helper()
	before := len(reportLine.FindAllString(p.log(t), -1))
	if err := p.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	sshtest.Eventually(t, "no report", func() bool { return len(reportLine.FindAllString(p.log(t), -1)) > before })
	all := reportLine.FindAllStringSubmatch(p.log(t), -1)
	n, err := strconv.Atoi(all[len(all)-1][1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// While knock logs in 8 at a time, a thousand reloads lose no login, leave nothing behind and are never half applied: the
// greeting and the message, which change together, are of one version in each session.
func TestReloadUnderLoad(t *testing.T) {
	files := map[string]string{"foyer.toml": settingsOf(0)}
	for i := range 2 {
		files[fmt.Sprintf("greeting%d", i)] = fmt.Sprintf("version %d", i)
		files[fmt.Sprintf("message%d", i)] = fmt.Sprintf("version %d", i)
	}
	srv := startWithFile(t, files)
	if err := srv.pair(); err != nil {
		t.Fatal(err)
	}
	descriptors, goroutines := srv.descriptors(t), srv.goroutines(t)
	knock := startKnock(t, "guest@127.0.0.1:"+srv.port)
	for i := range reloads {
		want := fmt.Sprintf("setting=greeting old=greeting%d new=greeting%d", i%2, (i+1)%2)
		before := strings.Count(srv.log(t), want)
		srv.replaceFile(t, "foyer.toml", settingsOf((i+1)%2))
		sshtest.Eventually(t, "the settings are not reloaded", func() bool { return strings.Count(srv.log(t), want) > before })
		if i%4 > 0 {
			continue
		}
		if err := srv.pair(); err != nil {
			t.Fatal(err)
		}
	}
	knock()
	sshtest.Eventually(t, "goroutines or descriptors are left", func() bool {
		return srv.goroutines(t) <= goroutines && srv.descriptors(t) <= descriptors
	})
	if err := srv.stop(os.Interrupt); err != nil {
		t.Error(err)
	}
}

// buildKnock returns the path of a knock that it has built.
func buildKnock(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "knock")
	if out, err := exec.Command("go", "build", "-o", program, "foyer/cmd/knock").CombinedOutput(); err != nil {
		t.Fatalf("build knock: %v\n%s", err, out)
	}
	return program
}

// startKnock has knock log in, 8 at a time, until the function that it returns is called, which fails if a login has failed.
func startKnock(t *testing.T, target string) (stop func()) {
	t.Helper()
	var out bytes.Buffer
	knock := exec.Command(buildKnock(t), "--open", "-c", "8", "-d", "10m", target)
	knock.Stdout, knock.Stderr = &out, &out
	if err := knock.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = knock.Process.Kill() })
	return func() {
		_ = knock.Process.Signal(os.Interrupt)
		if err := knock.Wait(); err != nil {
			t.Errorf("knock: %v\n%s", err, &out)
		}
	}
}

// settingsOf returns one of two versions of the settings. The log is short, so that it can be searched a thousand times.
func settingsOf(i int) string {
	return fmt.Sprintf("greeting = \"greeting%d\"\nmessage = \"message%d\"\npty = \"accept\"\n[auth]\nopen = true\n"+
		"[penalties]\npenalties = %t\npenalty-exempt = \"127.0.0.0/8\"\n[limits]\nmax-sessions = %d\n[log]\nlog-rate = 10\n", i, i, i == 0, 5+i)
}

// pair logs in, and returns an error if the greeting and the message are not of one version.
func (p *process) pair() error {
	client, err := gossh.Dial("tcp", "127.0.0.1:"+p.port, &gossh.ClientConfig{
		User: "guest", HostKeyCallback: gossh.InsecureIgnoreHostKey(), Timeout: sshtest.Patience,
	})
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	sess, err := client.NewSession()
	if err != nil {
		return err
	}
	var stdout, stderr bytes.Buffer
	sess.Stdout, sess.Stderr = &stdout, &stderr
	if err := sess.RequestPty("dumb", 24, 80, nil); err != nil {
		return err
	}
	if err := sess.Shell(); err != nil {
		return err
	}
	if err := sess.Wait(); err != nil {
		return err
	}
	if greeting, message := strings.TrimSpace(stderr.String()), strings.TrimSpace(stdout.String()); greeting != message || greeting == "" {
		return fmt.Errorf("greeting %q, message %q", greeting, message)
	}
	return nil
}

// logrotate renames the log files and sends SIGHUP. Every line is in one of the files.
func TestLogRotation(t *testing.T) {
	srv := startWithFile(t, map[string]string{
		"foyer.toml": "[log]\nlog = \"foyer.log\"\nfail-log = \"fail.log\"\nlog-rate = -1\n[penalties]\npenalties = false\n[limits]\nmax-unauthenticated-per-source = 100\n",
	})
	const clients, each = 4, 60
	var all sync.WaitGroup
	for c := range clients {
		all.Go(func() {
			for i := range each {
				_, _ = gossh.Dial("tcp", "127.0.0.1:"+srv.port, &gossh.ClientConfig{
					User: fmt.Sprintf("visitor%dof%d", i, c), HostKeyCallback: gossh.InsecureIgnoreHostKey(),
					Auth: []gossh.AuthMethod{gossh.Password("x")},
				})
			}
		})
	}
	finished := make(chan struct{})
	go func() { all.Wait(); close(finished) }()
	rotations := 0
	for over := false; !over; rotations++ {
		select {
		case <-finished:
			over = true
		case <-time.After(20 * time.Millisecond):
		}
		for _, name := range []string{"foyer.log", "fail.log"} {
			path := filepath.Join(srv.dir, name)
			if err := os.Rename(path, fmt.Sprintf("%s.%d", path, rotations)); err != nil {
				t.Fatal(err)
			}
		}
		if err := srv.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"foyer.log", "fail.log"} {
			sshtest.Eventually(t, name+" is not opened again", func() bool {
				_, err := os.Stat(filepath.Join(srv.dir, name))
				return err == nil
			})
		}
	}
	if err := srv.stop(os.Interrupt); err != nil {
		t.Error(err)
	}
	if rotations < 3 {
		t.Errorf("rotated %d times", rotations)
	}
	for name, pattern := range map[string]string{
		"foyer.log": `(?m)^time=\S+ level=warn msg="authentication failed" .* user=(visitor\d+of\d+) method=password .*$`,
		"fail.log":  `(?m)^.* Failed password for invalid user (visitor\d+of\d+) from .*$`,
	} {
		seen := map[string]int{}
		for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(srv.rotated(t, name), -1) {
			seen[match[1]]++
		}
		if len(seen) != clients*each {
			t.Errorf("%s has lines of %d of %d visitors", name, len(seen), clients*each)
		}
	}
}

// rotated returns the text of a log file and of those that it was renamed to.
func (p *process) rotated(t *testing.T, name string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(p.dir, name+"*"))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, file := range files {
		part, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(part)
	}
	return text.String()
}
