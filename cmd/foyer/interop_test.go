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

// answer is the answer to a command, on stderr.
const answer = "You are logged in, but this server runs no commands and transfers no files.\n" +
	"This session is very simple.  Goodbye!\n"

const (
	host     = "127.0.0.1"
	user     = "guest"
	dumbTerm = "dumb" // the greeting has no colours

)

// rows are the cases for every client. Several requests use one connection at the same time. Their outputs are joined in
// the order of the requests, and the status is the highest one.
var rows = []struct {
	server   string
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

// clients are the clients, each with the requests that it cannot make: dbclient has no multiplexing and needs a terminal
// for -t, plink shares a connection only during its first session, and x/crypto's Session cannot wait for the exit status
// of a subsystem. Conch has no encrypt-then-MAC.
var clients = []struct {
	name       string
	algorithms string
	find       func(*testing.T) visit
	cannot     []string
}{
	{"openssh", "strict", openSSH, nil},
	{"dropbear", "strict", dropbear, []string{several, "pty"}},
	{"putty", "strict", putty, []string{several}},
	{"paramiko", "strict", python("paramiko", "python3-paramiko", "paramiko_client.py"), nil},
	{"asyncssh", "strict", python("asyncssh", "python3-asyncssh", "asyncssh_client.py"), nil},
	{"conch", "default", python("twisted.conch.ssh.transport", "python3-twisted", "conch_client.py"), nil},
	{"ssh2", "strict", ssh2, nil},
	{"go", "strict", goClient, []string{"subsystem"}},
}

// visit logs in and makes requests.
type visit func(t *testing.T, srv *clientHome, requests ...string) result

type result struct {
	stdout, stderr string
	status         int
}

// TestInterop runs the common SSH clients against the foyer program.
func TestInterop(t *testing.T) {
	servers := map[string]*clientHome{}
	for _, algorithms := range []string{"strict", "default"} {
		open := func(args ...string) *clientHome {
			return newClientHome(t, startServer(t, append(args, "--algorithms", algorithms)...))
		}
		servers[algorithms+"/default"] = open()
		servers[algorithms+"/accept"] = open("--pty", "accept")
		servers[algorithms+"/rsa"] = open("--hostkeys", rsaKeys(t))
	}
	for _, client := range clients {
		t.Run(client.name, func(t *testing.T) {
			t.Parallel()
			visit := client.find(t)
			for _, row := range rows {
				if slices.Contains(client.cannot, row.requests) {
					continue
				}
				t.Run(row.server+"/"+row.requests, func(t *testing.T) {
					t.Parallel()
					got := visit(t, servers[client.algorithms+"/"+row.server], strings.Fields(row.requests)...)
					if row.requests == "pty" && strings.HasPrefix(got.stderr, greeting) {
						got.stderr = greeting // layers that are added to the list write after it
					}
					if got != row.want {
						t.Errorf("got  %#v\nwant %#v", got, row.want)
					}
				})
			}
		})
	}
}

// clientHome is a process, and the home directory of its clients.
type clientHome struct {
	*process
	key  hostkeys.Key
	home string
}

// rsaKeys returns a directory with an RSA host key, to which foyer adds no other one.
func rsaKeys(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "hostkeys")
	if _, err := hostkeys.Create(dir, "rsa"); err != nil {
		t.Fatal(err)
	}
	return dir
}

// newClientHome writes the files that clients read: the host key under both of its names, since dbclient omits the port,
// and for plink the password and the TERM, which it reads from files only.
func newClientHome(t *testing.T, srv *process) *clientHome {
	t.Helper()
	keys, err := hostkeys.Load(srv.hostKeys())
	if err != nil {
		t.Fatal(err)
	}
	d := &clientHome{process: srv, key: keys[0], home: t.TempDir()}
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

// command returns the command of a client, in the home directory and with the password in every form that a client reads.
func (d *clientHome) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = d.home
	// With an empty SSH_AUTH_SOCK dbclient reports that it cannot reach the agent.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "SSH_AUTH_SOCK=") })
	cmd.Env = append(cmd.Env,
		"HOME="+d.home, "PUTTYDIR="+filepath.Join(d.home, ".putty"),
		"LC_ALL=C", "TERM="+dumbTerm,
		"SSH_ASKPASS="+clientFile("askpass"), "SSH_ASKPASS_REQUIRE=force",
		"DROPBEAR_PASSWORD="+d.password,
		"FOYER_TEST_HOST="+host, "FOYER_TEST_PORT="+d.port,
		"FOYER_TEST_USER="+user, "FOYER_TEST_PASSWORD="+d.password)
	cmd.WaitDelay = time.Second // a killed client may leave a child that holds its output open
	return cmd
}

// start starts a client, and returns a function that waits for it.
func (d *clientHome) start(t *testing.T, requests []string, name string, args ...string) func() result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), sshtest.Patience)
	t.Cleanup(cancel)
	cmd := d.command(ctx, name, args...)
	cmd.Env = append(cmd.Env, "FOYER_TEST_REQUESTS="+strings.Join(requests, " "))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() result {
		_ = cmd.Wait() // the error has only the status, which is compared
		if ctx.Err() != nil {
			t.Errorf("%s did not end within %s", cmd, sshtest.Patience)
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

// clientFile returns the path of a file in testdata/interop.
func clientFile(name string) string {
	path, _ := filepath.Abs(filepath.Join("testdata", "interop", name)) // fails without a working directory
	return path
}

// look returns the path of a client, which is in this Debian package.
func look(t *testing.T, client, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(client)
	sshtest.Need(t, client, "apt-get install "+pkg, err == nil)
	return path
}

// sshArgs returns the arguments with which ssh, dbclient and plink make a request. OpenSSH needs the second -t where its
// stdin is not a terminal.
func sshArgs(request string) []string {
	switch request {
	case "exec":
		return []string{"-T", host, "echo hi"}
	case "subsystem":
		return []string{"-T", "-s", host, "netconf"}
	case "pty":
		return []string{"-t", "-t", host}
	}
	return []string{"-T", host}
}

func openSSH(t *testing.T) visit {
	ssh := look(t, "ssh", "openssh-client")
	return func(t *testing.T, srv *clientHome, requests ...string) result {
		args := []string{
			"-F", "none", "-p", srv.port, "-l", user,
			"-o", "LogLevel=ERROR", // no "Connection to 127.0.0.1 closed." after a session with a PTY
			"-o", "PreferredAuthentications=password", "-o", "StrictHostKeyChecking=yes", "-o", "GlobalKnownHostsFile=none",
			"-o", "UserKnownHostsFile=" + filepath.Join(srv.home, ".ssh", "known_hosts"),
		}
		if len(requests) > 1 {
			return multiplex(t, srv, requests, append([]string{ssh}, args...))
		}
		return srv.start(t, requests, ssh, append(args, sshArgs(requests[0])...)...)()
	}
}

// multiplex makes requests over the connection of a master, which makes none itself. An ssh that finds no master would
// connect by itself: ProxyCommand prevents that.
func multiplex(t *testing.T, srv *clientHome, requests, ssh []string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), sshtest.Patience)
	defer cancel()
	ssh = append(ssh, "-S", "master")
	master := func(args ...string) error {
		args = append(slices.Clone(ssh), args...)
		// The process that -f leaves behind would keep pipes open, so there are none.
		return srv.command(ctx, args[0], args[1:]...).Run()
	}
	if err := master("-M", "-N", "-f", host); err != nil {
		t.Fatalf("ssh -M: %v", err)
	}
	defer func() { _ = master("-O", "exit", host) }()

	var waits []func() result
	for _, request := range requests {
		args := slices.Concat(ssh, []string{"-o", "ProxyCommand=false"}, sshArgs(request))
		waits = append(waits, srv.start(t, nil, args[0], args[1:]...))
	}
	var results []result
	for _, wait := range waits {
		results = append(results, wait())
	}
	return join(results)
}

func dropbear(t *testing.T) visit {
	dbclient := look(t, "dbclient", "dropbear-bin")
	return func(t *testing.T, srv *clientHome, requests ...string) result {
		args := append([]string{"-p", srv.port, "-l", user}, sshArgs(requests[0])...)
		return srv.start(t, requests, dbclient, args...)()
	}
}

func putty(t *testing.T) visit {
	plink := look(t, "plink", "putty-tools")
	return func(t *testing.T, srv *clientHome, requests ...string) result {
		args := []string{
			"-batch", "-noagent", "-P", srv.port, "-l", user, "-pwfile", "password", "-hostkey", srv.key.Fingerprint(),
		}
		got := srv.start(t, requests, plink, append(args, sshArgs(requests[0])...)...)()
		// plink prints this before a shell, and no option prevents it.
		got.stderr = strings.TrimPrefix(got.stderr, "Using username \""+user+"\".\r\n")
		return got
	}
}

// python returns a finder for a client that is a script around a Python module.
func python(module, pkg, name string) func(*testing.T) visit {
	return func(t *testing.T) visit {
		python := interpreterWith(module)
		sshtest.Need(t, "a python3 with "+module, "apt-get install "+pkg, python != "")
		// On import, cryptography warns of ciphers that a module only supports.
		return script(python, "-W", "ignore", clientFile(name))
	}
}

// interpreterWith returns the path of a Python that has a module, or "". The python3 on PATH may not be
// Debian's, or may be a shim that depends on HOME.
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

// script returns the visit of a script, which reads its parameters from the environment.
func script(interpreter string, args ...string) visit {
	return func(t *testing.T, srv *clientHome, requests ...string) result {
		return srv.start(t, requests, interpreter, args...)()
	}
}

func goClient(*testing.T) visit {
	return func(t *testing.T, srv *clientHome, requests ...string) result {
		client, err := gossh.Dial("tcp", net.JoinHostPort(host, srv.port), &gossh.ClientConfig{
			User:            user,
			Auth:            []gossh.AuthMethod{gossh.Password(srv.password)},
			HostKeyCallback: gossh.FixedHostKey(srv.key.Signer.PublicKey()),
			Timeout:         sshtest.Patience,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = client.Close() }()
		defer time.AfterFunc(sshtest.Patience, func() { _ = client.Close() }).Stop()
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
