package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/sshtest"
)

// balancers are the programs that send PROXY headers to foyer, each as it is started: with its configuration, the addresses
// on which it listens and to which it connects, and the descriptor of its listener.
var balancers = []struct {
	name, program, install string
	args                   []string
	env                    string
	config                 string // %[1]s listens, %[2]s is foyer, %[3]s is a directory
	checks                 bool   // it checks whether foyer serves
}{
	{"haproxy version 1", "haproxy", "haproxy", haproxyArgs, "", fmt.Sprintf(haproxyConfig, "send-proxy", ""), true},
	{"haproxy version 2", "haproxy", "haproxy", haproxyArgs, "", fmt.Sprintf(haproxyConfig, "send-proxy-v2 proxy-v2-options unique-id,crc32c", ""), true},
	{"haproxy that reads the version line", "haproxy", "haproxy", haproxyArgs, "",
		fmt.Sprintf(haproxyConfig, "send-proxy-v2", "option tcp-check\n tcp-check expect string SSH-2.0-"), true},
	{"nginx", "nginx", "nginx libnginx-mod-stream", []string{"-p", ".", "-e", "stderr", "-c"}, "NGINX=3;", nginxConfig, false},
}

var haproxyArgs = []string{"-db", "-f"}

const haproxyConfig = `
global
 maxconn 100
defaults
 mode tcp
 timeout connect 10s
 timeout client 60s
 timeout server 60s
listen foyer
 bind fd@3
 unique-id-format %%[1]s
 %[2]s
 server foyer %%[2]s check inter 50ms fall 1000 %[1]s
# %%[3]s
`

const nginxConfig = `
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
worker_processes 1;
pid %[3]s/nginx.pid;
error_log stderr;
events { worker_connections 100; }
stream {
  server { listen %[1]s; proxy_pass %[2]s; proxy_protocol on; }
}
`

func findBalancer(t *testing.T, program, install string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + program)
	}
	if _, missing := os.Stat("/usr/lib/nginx/modules/ngx_stream_module.so"); program == "nginx" && missing != nil {
		err = missing
	}
	sshtest.Need(t, program, "apt-get install "+install, err == nil)
	return path
}

// startBalancer starts a balancer in front of foyer and returns its address. It inherits a listener, so its port is free.
func startBalancer(t *testing.T, i int, foyer string) string {
	t.Helper()
	b, dir := balancers[i], t.TempDir()
	path := findBalancer(t, b.program, b.install)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	inherited, err := listener.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = inherited.Close() }()
	config := filepath.Join(dir, "config")
	if err := os.WriteFile(config, fmt.Appendf(nil, b.config, listener.Addr(), foyer, dir), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, append(b.args, config)...)
	cmd.Dir, cmd.ExtraFiles, cmd.Env = dir, []*os.File{inherited}, append(os.Environ(), b.env)
	output, err := os.Create(filepath.Join(dir, "output"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // on which nginx ends its worker
		_ = cmd.Wait()
		if text, _ := os.ReadFile(output.Name()); t.Failed() {
			t.Logf("%s:\n%s", b.name, text)
		}
	})
	return listener.Addr().String()
}

// dialFrom connects from an address of loopback.
func dialFrom(t *testing.T, from, to string) net.Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := dialer.Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(sshtest.Patience))
	return conn
}

// loginFrom logs in from an address of loopback, and ends the connection.
func loginFrom(t *testing.T, from, to, user string, auth gossh.AuthMethod) error {
	t.Helper()
	conn, channels, requests, err := gossh.NewClientConn(dialFrom(t, from, to), "", &gossh.ClientConfig{
		User: user, Auth: []gossh.AuthMethod{auth}, HostKeyCallback: gossh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		return err
	}
	client := gossh.NewClient(conn, channels, requests)
	defer func() { _ = client.Close() }()
	if got := sshtest.Run(t, client, sshtest.Visit{}); got.Stdout != message {
		t.Errorf("from %s %s receives %+v", from, user, got)
	}
	return nil
}

// Behind a balancer every visitor has an address: in the log, in a key's from= and a certificate's source-address, and for
// the penalties. The balancer's own checks are quiet.
func TestBehindBalancer(t *testing.T) {
	for i, b := range balancers {
		t.Run(b.name, func(t *testing.T) {
			authority, key := sshtest.HostKey(t), sshtest.HostKey(t)
			ca := filepath.Join(t.TempDir(), "ca.pub")
			if err := os.WriteFile(ca, gossh.MarshalAuthorizedKey(authority.PublicKey()), 0o600); err != nil {
				t.Fatal(err)
			}
			srv := startServer(t, "--proxy-from", "127.0.0.1/32", "--log-level", "debug", "--log-format", "logfmt", "--user-ca", ca)
			authorize(t, srv, "guest", `from="127.0.0.3" `+string(gossh.MarshalAuthorizedKey(key.PublicKey())))
			to := startBalancer(t, i, "127.0.0.1:"+srv.port)

			visitBySSH(t, srv, to, "127.0.0.3")
			logged(t, srv, `msg="authentication succeeded"`, "addr=127.0.0.3:")
			checkKeys(t, to, key, certificate(t, authority, "127.0.0.3"))
			refusedWhole(t, to)
			checkPenalties(t, srv, to)
			if b.checks {
				checked := func() bool { return strings.Count(srv.log(t), "addr=\"proxy 127.0.0.1:") > 5 }
				sshtest.Eventually(t, "the balancer does not check", checked)
			}
			for line := range strings.Lines(srv.log(t)) {
				if strings.Contains(line, "level=warn") && strings.Contains(line, "127.0.0.1") {
					t.Errorf("the log warns of the balancer: %s", line)
				}
			}
		})
	}
}

func authorize(t *testing.T, srv *process, name, line string) {
	t.Helper()
	dir := filepath.Join(srv.dir, "authorized_keys.d")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
}

func logged(t *testing.T, srv *process, parts ...string) {
	t.Helper()
	sshtest.Eventually(t, fmt.Sprintf("the log has no line with %q", parts), func() bool {
		for line := range strings.Lines(srv.log(t)) {
			missing := 0
			for _, part := range parts {
				if !strings.Contains(line, part) {
					missing++
				}
			}
			if missing == 0 {
				return true
			}
		}
		return false
	})
}

func visitBySSH(t *testing.T, srv *process, to, from string) {
	t.Helper()
	_, err := exec.LookPath("ssh")
	sshtest.Need(t, "ssh", "apt-get install openssh-client", err == nil)
	_, port, _ := net.SplitHostPort(to)
	askpass := filepath.Join(t.TempDir(), "askpass")
	if err := os.WriteFile(askpass, []byte("#!/bin/sh\necho "+srv.password+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("ssh", "-F", filepath.Join(srv.dir, "ssh_config"), "-o", "Port="+port, "-b", from, "-T", "server")
	cmd.Env = append(os.Environ(), "SSH_ASKPASS="+askpass, "SSH_ASKPASS_REQUIRE=force")
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != message {
		t.Errorf("ssh receives %q, error %v", out, err)
	}
}

// certificate returns a key with a certificate for guest that is valid from an address.
func certificate(t *testing.T, authority gossh.Signer, from string) gossh.Signer {
	t.Helper()
	key := sshtest.HostKey(t)
	cert := &gossh.Certificate{
		Key: key.PublicKey(), CertType: gossh.UserCert, KeyId: "test", ValidPrincipals: []string{"guest"}, ValidBefore: gossh.CertTimeInfinity,
		Permissions: gossh.Permissions{CriticalOptions: map[string]string{"source-address": from + "/32"}},
	}
	if err := cert.SignCert(rand.Reader, authority); err != nil {
		t.Fatal(err)
	}
	signer, err := gossh.NewCertSigner(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// checkKeys logs in with keys that are valid from 127.0.0.3.
func checkKeys(t *testing.T, to string, keys ...gossh.Signer) {
	t.Helper()
	for _, key := range keys {
		if err := loginFrom(t, "127.0.0.3", to, "guest", gossh.PublicKeys(key)); err != nil {
			t.Errorf("from the address of the key: %v", err)
		}
		if loginFrom(t, "127.0.0.4", to, "guest", gossh.PublicKeys(key)) == nil {
			t.Errorf("a %s is accepted from another address", key.PublicKey().Type())
		}
	}
}

// refusedWhole sends something else than SSH: the answer arrives whole, because the server closes only its own direction.
func refusedWhole(t *testing.T, to string) {
	t.Helper()
	conn := dialFrom(t, "127.0.0.5", to)
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\n\r\n")
	got, err := io.ReadAll(conn)
	if want := "SSH-2.0-foyer\r\nInvalid SSH identification string.\r\n"; err != nil || string(got) != want {
		t.Errorf("the client reads %q, error %v", got, err)
	}
}

// checkPenalties has one visitor blocked, and another one get in through the same balancer. Neither a stranger who connects
// to foyer directly nor a visitor can claim another address.
func checkPenalties(t *testing.T, srv *process, to string) {
	t.Helper()
	sshtest.Eventually(t, "the guesser is not blocked", func() bool {
		_ = loginFrom(t, "127.0.0.2", to, "guest", gossh.Password("wrong"))
		return strings.Contains(srv.log(t), `msg="source blocked" addr=127.0.0.2/32`)
	})
	if err := loginFrom(t, "127.0.0.2", to, "guest", gossh.Password(srv.password)); err == nil {
		t.Error("the source is blocked, and gets in")
	}
	if err := loginFrom(t, "127.0.0.3", to, "guest", gossh.Password(srv.password)); err != nil {
		t.Errorf("the next visitor: %v", err)
	}
	for _, direct := range []string{"127.0.0.1:" + srv.port, to} {
		conn := dialFrom(t, "127.0.0.6", direct)
		_, _ = io.WriteString(conn, "PROXY TCP4 127.0.0.9 127.0.0.1 1 2\r\nSSH-2.0-liar\r\n")
		if got, _ := io.ReadAll(conn); !strings.Contains(string(got), "Invalid SSH identification string.") {
			t.Errorf("the liar reads %q", got)
		}
	}
	logged(t, srv, "addr=127.0.0.6:", "looks like a PROXY header", "--proxy-from")
	if strings.Contains(srv.log(t), "127.0.0.9") {
		t.Error("a stranger's header is believed")
	}
}
