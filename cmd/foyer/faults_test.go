//go:build !windows

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"foyer/hostkeys"
	"foyer/middleware"
	"foyer/middleware/auth/passwords"
	"foyer/middleware/sshtest"
)

// The tests of this file have faults of the machine: the process is killed, the disk is full, the clock jumps.

// program returns the command of foyer with these arguments in dir.
func program(dir, stdin string, args ...string) (cmd *exec.Cmd, stdout, stderr *bytes.Buffer) {
	cmd = exec.Command(os.Args[0], args...)
	cmd.Args[0] = "foyer" // TestMain selects the program by this name
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(stdin)
	stdout, stderr = &bytes.Buffer{}, &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	return cmd, stdout, stderr
}

// files returns the contents of the files in dir by name, without locks and the exceptions.
func files(t testing.TB, dir string, except ...string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || strings.HasSuffix(path, ".lock") || slices.Contains(except, entry.Name()) {
			return err
		}
		text, err := os.ReadFile(path)
		files[strings.TrimPrefix(path, dir+"/")] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// ownFiles are the files in the directory of a process that belong to the test.
var ownFiles = []string{"server.log", "ssh_config", "watch", "watch.new"}

// A server that is killed during 200 logins can start again immediately, on the same port, with the same files.
func TestFaultKilled(t *testing.T) {
	dir := privateDir(t)
	srv, err := start(dir, nil, []string{"--penalties=false"})
	if err != nil {
		t.Fatal(err)
	}
	key, password := srv.authorize(t, "guest"), gossh.Password(srv.password)
	before := files(t, dir, ownFiles...)
	for range 3 {
		running := startLogins(srv, 200, key)
		sshtest.Eventually(t, "no login succeeds", func() bool { return running.succeeded.Load() > 20 })
		if err := srv.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-srv.exited
		srv, err = start(dir, nil, []string{"--listen", "127.0.0.1:" + srv.port, "--penalties=false"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(srv.kill)
		running.stop()
		for name, auth := range map[string]gossh.AuthMethod{"key": key, "password": password} {
			if text, err := srv.login("127.0.0.1", "guest", auth); err != nil || text != middleware.SimpleMessage {
				t.Errorf("with the %s: %q, %v", name, text, err)
			}
		}
		if after := files(t, dir, ownFiles...); !maps.Equal(before, after) {
			t.Errorf("before: %q, after: %q", before, after)
		}
	}
	if err := srv.stop(os.Interrupt); err != nil {
		t.Error(err)
	}
}

// logins is a number of clients that log in again and again.
type logins struct {
	succeeded atomic.Int64
	stop      func()
}

func startLogins(srv *process, n int, auth gossh.AuthMethod) *logins {
	c := &logins{}
	var enough atomic.Bool
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			for !enough.Load() {
				if _, err := srv.login("127.0.0.1", "guest", auth); err != nil {
					return // the server is killed
				}
				c.succeeded.Add(1)
			}
		})
	}
	c.stop = func() { enough.Store(true); all.Wait() }
	return c
}

// unread returns the write end of a pipe that nobody reads.
func unread(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	t.Cleanup(func() { _ = w.Close() })
	return w
}

// foyer serves on, and ends when it is told to, if nobody reads its log: if the reader is gone, and if it does not read and
// the pipe is full.
func TestHostileLogNotRead(t *testing.T) {
	r, full, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = errors.Join(r.Close(), full.Close()) }()
	if err := full.SetWriteDeadline(time.Now().Add(time.Second / 10)); err != nil {
		t.Fatal(err)
	}
	if _, err := full.Write(make([]byte, 1<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the pipe is not full: %v", err)
	}
	for name, stderr := range map[string]*os.File{"no reader": unread(t), "a reader that does not read": full} {
		t.Run(name, func(t *testing.T) {
			address := freeAddress(t)
			cmd, _, _ := program(privateDir(t), "", "--listen", address, "--open")
			cmd.Stdout, cmd.Stderr = unread(t), stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = cmd.Process.Kill() })
			config := &gossh.ClientConfig{User: "guest", HostKeyCallback: gossh.InsecureIgnoreHostKey()}
			for range 3 {
				sshtest.Eventually(t, "nobody is served", func() bool {
					conn, err := net.Dial("tcp", address)
					if err != nil {
						return false
					}
					defer func() { _ = conn.Close() }()
					_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
					_, _, _, err = gossh.NewClientConn(conn, address, config)
					return err == nil
				})
			}
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			exited := make(chan error, 1)
			go func() { exited <- cmd.Wait() }()
			if err := sshtest.Receive(t, exited); err != nil {
				t.Errorf("foyer exited with %v", err)
			}
		})
	}
}

// freeAddress returns an address of loopback on which nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// A first start that cannot show the password keeps none.
func TestFaultStdoutWithoutAReader(t *testing.T) {
	dir := privateDir(t)
	cmd, _, stderr := program(dir, "", "--listen", "127.0.0.1:0")
	cmd.Stdout = unread(t)
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != 1 || !strings.Contains(stderr.String(), "print how to log in: ") {
		t.Errorf("%v, stderr %q", err, stderr)
	}
	if _, err := os.Stat(filepath.Join(dir, "ssh-passwords")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a password that nobody has seen is left: %v", err)
	}
}

// A signal at any moment of a first start ends foyer. Every file that it leaves is complete: the host key, and the password
// file with the password that was printed. The next start succeeds, also after a kill.
func TestFaultStopped(t *testing.T) {
	const most = 300 * time.Millisecond * slowness
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	moments := rand.New(rand.NewPCG(seed, 0))
	for i := range 20 {
		part := moments.Float64()
		signal, moment := syscall.SIGTERM, time.Duration(part*part*float64(most)) // early moments are more frequent, since most happens then
		if i%4 == 3 {
			signal = syscall.SIGKILL
		}
		t.Run(fmt.Sprintf("%v after %v", signal, moment), func(t *testing.T) { stopAfter(t, moment, signal) })
	}
}

func stopAfter(t *testing.T, moment time.Duration, signal syscall.Signal) {
	dir := privateDir(t)
	cmd, stdout, stderr := program(dir, "", "--listen", "127.0.0.1:0")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	<-time.After(moment)
	if err := cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-exited:
		if status := new(exec.ExitError); err != nil && (!errors.As(err, &status) || status.ExitCode() != -1) {
			t.Errorf("foyer exited with %v\n%s", err, stderr)
		}
	case <-time.After(sshtest.Patience):
		_ = cmd.Process.Kill()
		t.Fatalf("foyer does not exit\n%s", stderr)
	}
	left := files(t, dir)
	if signal == syscall.SIGTERM {
		checkComplete(t, dir, stdout.String(), left)
	}
	srv, err := start(dir, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer srv.kill()
	for name, text := range left {
		if strings.HasSuffix(name, ".tmp") {
			text = "" // what a kill left behind is gone
		}
		if now := files(t, dir)[name]; now != text {
			t.Errorf("%s was %q and is %q", name, text, now)
		}
	}
}

// checkComplete checks the files that a start leaves when it is stopped.
func checkComplete(t *testing.T, dir, announcement string, left map[string]string) {
	t.Helper()
	for name := range left {
		if name != "ssh-passwords" && name != "hostkeys/ssh_host_ed25519_key" {
			t.Errorf("%s is left", name)
		}
	}
	if _, made := left["hostkeys/ssh_host_ed25519_key"]; made {
		if _, err := hostkeys.Load(filepath.Join(dir, "hostkeys")); err != nil {
			t.Error(err)
		}
	}
	shown := passwordLine.FindStringSubmatch(announcement)
	_, made := left["ssh-passwords"]
	if made != (shown != nil) {
		t.Errorf("the password file was made: %v; the announcement: %q", made, announcement)
	}
	if !made || shown == nil {
		return
	}
	file, err := passwords.Open(filepath.Join(dir, "ssh-passwords"), passwords.Options{})
	if err == nil {
		err = file.VerifyFrom(t.Context(), netip.IPv6Loopback(), "guest", shown[1])
	}
	if err != nil {
		t.Error(err)
	}
}

// smallDisk returns a directory on a file system of its own, with this number of 4 KiB pages. Where the user must not
// mount, it runs the test again as root of a user namespace, and ok is false.
func smallDisk(t *testing.T, pages int) (dir string, ok bool) {
	t.Helper()
	dir = privateDir(t)
	unmount, err := mountMemory(dir, 4*pages)
	if err == nil {
		t.Cleanup(func() {
			if err := unmount(); err != nil {
				t.Error(err)
			}
		})
		return dir, true
	}
	cmd := exec.Command("unshare", "--user", "--map-root-user", "--mount", os.Args[0], "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "TEST_UNSHARED=1")
	can := os.Getenv("TEST_UNSHARED") == "" && exec.Command("unshare", "--user", "--map-root-user", "--mount", "true").Run() == nil
	sshtest.Need(t, "permission to mount", "run as root, or allow user namespaces", can)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, text)
	}
	return "", false
}

// fill fills the file system except for this number of pages.
func fill(t *testing.T, dir string, pages int) (release func()) {
	t.Helper()
	path := filepath.Join(dir, "ballast")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	page, size := make([]byte, 4096), int64(0)
	for ; err == nil; size += int64(len(page)) {
		_, err = f.Write(page)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if err := f.Truncate(max(0, size-int64((pages+1)*len(page)))); err != nil {
		t.Fatal(err)
	}
	return func() { _ = os.Remove(path) }
}

// noSpace reports whether a command has failed with exit status 1 and ENOSPC.
func noSpace(err error, stderr *bytes.Buffer) bool {
	exit := new(exec.ExitError)
	return errors.As(err, &exit) && exit.ExitCode() == 1 && strings.Contains(stderr.String(), "no space left on device")
}

// On a full disk the existing files stay unchanged, commands fail with the reason, and no incomplete file is left.
func TestFaultDiskFull(t *testing.T) {
	dir, ok := smallDisk(t, 64)
	if !ok {
		return
	}
	for i := range 60 { // more than one page
		if err := passwords.Add(filepath.Join(dir, "ssh-passwords"), fmt.Sprint("user", i), "secret", false); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := hostkeys.Create(filepath.Join(dir, "hostkeys"), "ed25519"); err != nil {
		t.Fatal(err)
	}
	for _, pages := range []int{0, 1} {
		release := fill(t, dir, pages)
		before := files(t, dir, "ballast")
		commands := [][]string{{"user", "add", "bob", "--password-stdin"}, {"user", "remove", "user7"}}
		if pages == 0 { // a page is enough for a key
			commands = append(commands, []string{"hostkey", "add", "rsa"}, []string{"hostkey", "add", "ecdsa"})
		}
		for _, args := range commands {
			cmd, _, stderr := program(dir, "secret\n", args...)
			if err := cmd.Run(); !noSpace(err, stderr) {
				t.Errorf("with %d pages free, foyer %q: %v\n%s", pages, args, err, stderr)
			}
			if after := files(t, dir, "ballast"); !maps.Equal(before, after) {
				t.Errorf("with %d pages free, foyer %q has changed %q to %q",
					pages, args, slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(after)))
			}
		}
		release()
	}
	for _, args := range [][]string{{"user", "add", "bob", "--password-stdin"}, {"hostkey", "add", "ecdsa"}} {
		cmd, _, stderr := program(dir, "secret\n", args...)
		if err := cmd.Run(); err != nil {
			t.Errorf("with free space again, foyer %q: %v\n%s", args, err, stderr)
		}
	}
}

// A first start on a full disk fails with the reason and leaves no incomplete file. With free space the first start
// succeeds.
func TestFaultFirstStartOnFullDisk(t *testing.T) {
	dir, ok := smallDisk(t, 16)
	if !ok {
		return
	}
	for _, pages := range []int{0, 1} { // none, and enough for the host key but not for the password
		release := fill(t, dir, pages)
		cmd, stdout, stderr := program(dir, "", "--listen", "127.0.0.1:0")
		if err := cmd.Run(); !noSpace(err, stderr) {
			t.Errorf("with %d pages free: %v\n%s", pages, err, stderr)
		}
		if stdout.Len() > 0 {
			t.Errorf("with %d pages free foyer prints an announcement: %s", pages, stdout)
		}
		for name := range files(t, dir, "ballast") {
			if pages == 0 || name != "hostkeys/ssh_host_ed25519_key" {
				t.Errorf("with %d pages free %s is left", pages, name)
			}
		}
		release()
	}
	srv, err := start(dir, nil, []string{"--fail-log", "fail.log"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.kill)
	defer fill(t, dir, 0)() // a running server goes on
	for _, password := range []string{"wrong", srv.password} {
		if _, err := srv.login("127.0.0.1", "guest", gossh.Password(password)); (err == nil) != (password == srv.password) {
			t.Errorf("on a full disk with the password %q: %v", password, err)
		}
	}
}

// The clock jumps between two versions of a file: the newest content counts, whatever the modification time.
func TestFaultClockOfFiles(t *testing.T) {
	const year = 365 * 24 * time.Hour
	srv := startServer(t, "--penalties=false")
	file := filepath.Join(srv.dir, "ssh-passwords")
	for i, jump := range []time.Duration{0, time.Hour, -time.Hour, 0, -10 * year, 10 * year, -time.Second, 0} {
		current, previous := fmt.Sprint("secret", i), fmt.Sprint("secret", i-1)
		if err := passwords.Add(file, "alice", current, false); err != nil {
			t.Fatal(err)
		}
		modified := time.Now().Add(jump)
		if err := os.Chtimes(file, modified, modified); err != nil {
			t.Fatal(err)
		}
		if _, err := srv.login("127.0.0.1", "alice", gossh.Password(current)); err != nil {
			t.Errorf("after a jump of %v the new password: %v", jump, err)
		}
		if _, err := srv.login("127.0.0.1", "alice", gossh.Password(previous)); err == nil {
			t.Errorf("after a jump of %v the previous password is accepted", jump)
		}
		key := srv.authorize(t, "bob")
		keys := filepath.Join(srv.dir, "authorized_keys.d", "bob")
		if err := os.Chtimes(keys, modified, modified); err != nil {
			t.Fatal(err)
		}
		if _, err := srv.login("127.0.0.1", "bob", key); err != nil {
			t.Errorf("after a jump of %v the new key: %v", jump, err)
		}
	}
}

// The expiry time of a key is checked at each login: an earlier login with the key does not count.
func TestFaultClockOfKeys(t *testing.T) {
	srv := startServer(t, "--penalties=false")
	signer := sshtest.HostKey(t)
	file := filepath.Join(srv.dir, "authorized_keys.d", "carol")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	key := gossh.PublicKeys(signer)
	end := time.Now().Add(2 * time.Second * slowness).Truncate(time.Second)
	line := fmt.Sprintf("expiry-time=%q %s", end.UTC().Format("20060102150405Z"), gossh.MarshalAuthorizedKey(signer.PublicKey()))
	if err := os.WriteFile(file, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := srv.login("127.0.0.1", "carol", key); err != nil {
		t.Errorf("before the key expires: %v", err)
	}
	sshtest.Eventually(t, "an expired key is accepted", func() bool {
		_, err := srv.login("127.0.0.1", "carol", key)
		return err != nil
	})
	if now := time.Now(); now.Before(end) {
		t.Errorf("the key was refused at %v, and expires at %v", now, end)
	}
}
