package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"foyer/hostkeys"
	"foyer/middleware/sshtest"
)

// answer is what a command is answered with, on stderr.
const answer = "You are logged in, but this server runs no commands and transfers no files.\n" +
	"This session is very simple.  Goodbye!\n"

const (
	host     = "127.0.0.1"
	user     = "guest"
	dumbTerm = "dumb" // is greeted without colours

	// patience is beyond what the slowest client takes on a busy machine: one that hangs fails its own row.
	patience = 30 * time.Second
)

// rows are what every client is put to. Several requests go over one connection, at the same time; their
// output follows in their order, and the highest status stands for all.
var rows = []struct {
	door     string
	requests string
	want     result
}{
	{"default", "shell", result{message, "", 0}},
	{"default", "exec", result{"", answer, 1}},
	{"default", "subsystem", result{"", answer, 1}},
	{"default", several, result{message + message, answer, 1}},
	{"accept", "pty", result{message, greeting, 0}},
	{"rsa", "shell", result{message, "", 0}},
}

const several = "shell exec shell"

// clients are the clients, each with the rows that it has no way to take part in: dbclient has no multiplexing
// and wants a terminal of its own for -t, plink shares a connection only while its first session lasts, and x/crypto's
// Session cannot wait for a subsystem's exit status.
// Conch knows none of the modern message authentication codes.
var clients = []struct {
	name       string
	algorithms string
	find       func(*testing.T) visit
	cannot     []string
}{
	{"openssh", "modern", openSSH, nil},
	{"dropbear", "modern", dropbear, []string{several, "pty"}},
	{"putty", "modern", putty, []string{several}},
	{"paramiko", "modern", python("paramiko", "python3-paramiko", "paramiko_client.py"), nil},
	{"asyncssh", "modern", python("asyncssh", "python3-asyncssh", "asyncssh_client.py"), nil},
	{"conch", "compat", python("twisted.conch.ssh.transport", "python3-twisted", "conch_client.py"), nil},
	{"ssh2", "modern", ssh2, nil},
	{"go", "modern", goClient, []string{"subsystem"}},
}

// visit logs in at a door and makes requests there.
type visit func(t *testing.T, door *guestHouse, requests ...string) result

type result struct {
	stdout, stderr string
	status         int
}

// TestInterop lets the clients that people have visit the program that they would meet.
func TestInterop(t *testing.T) {
	doors := map[string]*guestHouse{}
	for _, algorithms := range []string{"modern", "compat"} {
		open := func(args ...string) *guestHouse {
			return furnish(t, startDoor(t, append(args, "--algorithms", algorithms)...))
		}
		doors[algorithms+"/default"] = open()
		doors[algorithms+"/accept"] = open("--pty", "accept")
		doors[algorithms+"/rsa"] = open("--hostkeys", rsaKeys(t))
	}
	for _, client := range clients {
		t.Run(client.name, func(t *testing.T) {
			t.Parallel()
			comeIn := client.find(t)
			for _, row := range rows {
				if slices.Contains(client.cannot, row.requests) {
					continue
				}
				t.Run(row.door+"/"+row.requests, func(t *testing.T) {
					t.Parallel()
					got := comeIn(t, doors[client.algorithms+"/"+row.door], strings.Fields(row.requests)...)
					if row.requests == "pty" && strings.HasPrefix(got.stderr, greeting) {
						got.stderr = greeting // what layers of one's own say comes after it
					}
					if got != row.want {
						t.Errorf("got  %#v\nwant %#v", got, row.want)
					}
				})
			}
		})
	}
}

// guestHouse is a running door, and the home directory of the clients that come to it.
type guestHouse struct {
	*process
	key  hostkeys.Key
	home string
}

// rsaKeys returns a directory with an RSA host key, where no other one is made.
func rsaKeys(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "hostkeys")
	if _, err := hostkeys.Create(dir, "rsa"); err != nil {
		t.Fatal(err)
	}
	return dir
}

// furnish puts what clients read into their home: the host key by both names that it goes by, since dbclient leaves
// out the port, and for plink the password and the TERM that it takes from nowhere else.
func furnish(t *testing.T, door *process) *guestHouse {
	t.Helper()
	keys, err := hostkeys.Load(door.hostKeys())
	if err != nil {
		t.Fatal(err)
	}
	d := &guestHouse{process: door, key: keys[0], home: t.TempDir()}
	known := knownhosts.Line([]string{net.JoinHostPort(host, d.port)}, d.key.Signer.PublicKey()) + "\n" +
		knownhosts.Line([]string{host}, d.key.Signer.PublicKey()) + "\n"
	for name, content := range map[string]string{
		".ssh/known_hosts":                   known,
		"password":                           d.password + "\n",
		".putty/sessions/Default%20Settings": "TerminalType=" + dumbTerm + "\n",
	} {
		path := filepath.Join(d.home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// command returns a client's process, in the home and with the password in every way that one of them wants it.
func (d *guestHouse) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = d.home
	// An empty SSH_AUTH_SOCK is an agent that dbclient cannot reach, and says so.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "SSH_AUTH_SOCK=") })
	cmd.Env = append(cmd.Env,
		"HOME="+d.home, "PUTTYDIR="+filepath.Join(d.home, ".putty"),
		"LC_ALL=C", "TERM="+dumbTerm,
		"SSH_ASKPASS="+clientFile("askpass"), "SSH_ASKPASS_REQUIRE=force",
		"DROPBEAR_PASSWORD="+d.password,
		"FOYER_TEST_HOST="+host, "FOYER_TEST_PORT="+d.port,
		"FOYER_TEST_USER="+user, "FOYER_TEST_PASSWORD="+d.password)
	cmd.WaitDelay = time.Second // where a killed client leaves a child with its output
	return cmd
}

// start starts a client and returns what waits for it.
func (d *guestHouse) start(t *testing.T, requests []string, name string, args ...string) func() result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	cmd := d.command(ctx, name, args...)
	cmd.Env = append(cmd.Env, "FOYER_TEST_REQUESTS="+strings.Join(requests, " "))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() result {
		_ = cmd.Wait() // says no more than the status, which is compared
		if ctx.Err() != nil {
			t.Errorf("%s did not end within %s", cmd, patience)
		}
		return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
	}
}

func join(results []result) result {
	var all result
	for _, each := range results {
		all.stdout += each.stdout
		all.stderr += each.stderr
		all.status = max(all.status, each.status)
	}
	return all
}

// clientFile returns where a file that belongs to the clients lies.
func clientFile(name string) string {
	path, _ := filepath.Abs(filepath.Join("testdata", "interop", name)) // fails without a working directory
	return path
}

// look returns the path of a client that Debian has in a package.
func look(t *testing.T, client, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(client)
	sshtest.Need(t, client, "apt-get install "+pkg, err == nil)
	return path
}

// sshWords returns how ssh, dbclient and plink are told to make a request. The second -t is OpenSSH's, which
// wants to be told twice where its own stdin is no terminal; the others do not mind.
func sshWords(request string) []string {
	switch request {
	case "exec":
		return []string{"-T", host, "echo hi"}
	case "subsystem":
		return []string{"-T", "-s", host, "sftp"}
	case "pty":
		return []string{"-t", "-t", host}
	}
	return []string{"-T", host}
}

func openSSH(t *testing.T) visit {
	ssh := look(t, "ssh", "openssh-client")
	return func(t *testing.T, door *guestHouse, requests ...string) result {
		args := []string{
			"-F", "none", "-p", door.port, "-l", user,
			"-o", "LogLevel=ERROR", // no "Connection to 127.0.0.1 closed." after a session with a PTY
			"-o", "PreferredAuthentications=password", "-o", "StrictHostKeyChecking=yes", "-o", "GlobalKnownHostsFile=none",
			"-o", "UserKnownHostsFile=" + filepath.Join(door.home, ".ssh", "known_hosts"),
		}
		if len(requests) > 1 {
			return multiplex(t, door, requests, append([]string{ssh}, args...))
		}
		return door.start(t, requests, ssh, append(args, sshWords(requests[0])...)...)()
	}
}

// multiplex makes requests over the connection of a master that has none of its own. ssh that finds no master
// connects by itself; ProxyCommand keeps it from that.
func multiplex(t *testing.T, door *guestHouse, requests, ssh []string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ssh = append(ssh, "-S", "master")
	master := func(args ...string) error {
		args = append(slices.Clone(ssh), args...)
		// Without pipes for its output: the process that -f leaves behind would keep them open.
		return door.command(ctx, args[0], args[1:]...).Run()
	}
	if err := master("-M", "-N", "-f", host); err != nil {
		t.Fatalf("ssh -M: %v", err)
	}
	defer func() { _ = master("-O", "exit", host) }()

	var waits []func() result
	for _, request := range requests {
		args := slices.Concat(ssh, []string{"-o", "ProxyCommand=false"}, sshWords(request))
		waits = append(waits, door.start(t, nil, args[0], args[1:]...))
	}
	var results []result
	for _, wait := range waits {
		results = append(results, wait())
	}
	return join(results)
}

func dropbear(t *testing.T) visit {
	dbclient := look(t, "dbclient", "dropbear-bin")
	return func(t *testing.T, door *guestHouse, requests ...string) result {
		args := append([]string{"-p", door.port, "-l", user}, sshWords(requests[0])...)
		return door.start(t, requests, dbclient, args...)()
	}
}

func putty(t *testing.T) visit {
	plink := look(t, "plink", "putty-tools")
	return func(t *testing.T, door *guestHouse, requests ...string) result {
		args := []string{
			"-batch", "-noagent", "-P", door.port, "-l", user, "-pwfile", "password", "-hostkey", door.key.Fingerprint(),
		}
		got := door.start(t, requests, plink, append(args, sshWords(requests[0])...)...)()
		// plink says this to whoever gets a shell, and nothing turns it off.
		got.stderr = strings.TrimPrefix(got.stderr, "Using username \""+user+"\".\r\n")
		return got
	}
}

// python returns a finder for a client that is a script around a Python module.
func python(module, pkg, name string) func(*testing.T) visit {
	return func(t *testing.T) visit {
		python := interpreterWith(module)
		sshtest.Need(t, "a python3 with "+module, "apt-get install "+pkg, python != "")
		// On import, cryptography warns of ciphers that a module merely knows.
		return script(python, "-W", "ignore", clientFile(name))
	}
}

// interpreterWith returns the path of a Python that has a module, or "". The python3 on PATH may be another one
// than Debian's, and a shim that finds its own way home no more once HOME has changed.
func interpreterWith(module string) string {
	for _, python := range []string{"/usr/bin/python3", "python3"} {
		out, err := exec.Command(python, "-W", "ignore", "-c", "import sys, "+module+"; print(sys.executable)").Output()
		if err == nil {
			return strings.TrimSpace(string(out))
		}
	}
	return ""
}

func ssh2(t *testing.T) visit {
	const remedy = "apt-get install nodejs npm; npm install --ignore-scripts --no-audit --no-fund --prefix DIR ssh2@1.17.0;" +
		" export NODE_PATH=DIR/node_modules"
	err := exec.Command("node", "--eval", "require('ssh2')").Run()
	sshtest.Need(t, "node with ssh2", remedy, err == nil)
	return script("node", clientFile("ssh2.js"))
}

// script returns the visit of a script, which takes what it needs to know from the environment.
func script(interpreter string, args ...string) visit {
	return func(t *testing.T, door *guestHouse, requests ...string) result {
		return door.start(t, requests, interpreter, args...)()
	}
}

func goClient(*testing.T) visit {
	return func(t *testing.T, door *guestHouse, requests ...string) result {
		client, err := gossh.Dial("tcp", net.JoinHostPort(host, door.port), &gossh.ClientConfig{
			User:            user,
			Auth:            []gossh.AuthMethod{gossh.Password(door.password)},
			HostKeyCallback: gossh.FixedHostKey(door.key.Signer.PublicKey()),
			Timeout:         patience,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = client.Close() }()
		defer time.AfterFunc(patience, func() { _ = client.Close() }).Stop()
		results := make([]result, len(requests))
		var sessions sync.WaitGroup
		for i, request := range requests {
			sessions.Go(func() {
				if err := runSession(client, request, &results[i]); err != nil {
					t.Errorf("%s: %v", request, err)
				}
			})
		}
		sessions.Wait()
		return join(results)
	}
}

func runSession(client *gossh.Client, request string, got *result) error {
	sess, err := client.NewSession()
	if err != nil {
		return err
	}
	defer func() { _ = sess.Close() }()
	var stdout, stderr strings.Builder
	sess.Stdout, sess.Stderr = &stdout, &stderr
	if request == "pty" {
		if err := sess.RequestPty(dumbTerm, 24, 80, nil); err != nil {
			return err
		}
	}
	if request == "exec" {
		err = sess.Run("echo hi")
	} else if err = sess.Shell(); err == nil {
		err = sess.Wait()
	}
	*got = result{stdout: stdout.String(), stderr: stderr.String()}
	var exit *gossh.ExitError
	if errors.As(err, &exit) {
		got.status = exit.ExitStatus()
		return nil
	}
	return err
}
