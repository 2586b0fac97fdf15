//go:build !windows

package authorizedkeys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
	"foyer/middleware/sshtest"
)

// The lines of an authorized_keys file. Each is given to sshd and to foyer, which then have to let in the same client. ~ is a
// line end, ^ a carriage return, KEY, RSAKEY and ECKEY the lines of the client's keys, and BLOB, RSABLOB and ECBLOB the keys
// alone.
const (
	admitted = `KEY
KEY ada at home
KEY	ada
  KEY
	KEY
# KEY~KEY
garbage~KEY
KEY~garbage
KEY^
#x^~KEY^
~~KEY
RSAKEY
ECKEY
KEY KEY
-----BEGIN PUBLIC KEY-----~KEY
rsa-sha2-512 RSABLOB
rsa-sha2-256 RSABLOB ada
no-pty rsa-sha2-512 RSABLOB
ssh-ed25519  BLOB
ssh-ed25519	BLOB
restrict KEY
restrict,pty KEY
RESTRICT,No-PTY KEY
no-pty, KEY
no-pty,restrict, KEY
no-pty,, KEY
no-pty,,restrict KEY
,no-pty KEY
, KEY
no-pty,restrict	KEY
no-pty	 KEY
no-x11-forwarding,no-agent-forwarding,no-port-forwarding,no-user-rc KEY
agent-forwarding,port-forwarding,X11-forwarding,user-rc,pty KEY
from="127.0.0.1" KEY
FROM="127.0.0.1" KEY
from="127.0.0.1"  KEY
from="127.0.0.1",no-pty KEY
from="127.0.0.1", KEY
from="10.0.0.1,127.0.0.1" KEY
from="127.0.0.0/8" KEY
from="127.0.0.1/32" KEY
from="127.0.0.*" KEY
from="127.*" KEY
from="127.0.0.?" KEY
from="*" KEY
from="!10.0.0.1,*" KEY
from="::1,127.0.0.1" KEY
from="0.0.0.0/0" KEY
from="10.0.0.1" KEY~from="127.0.0.1" KEY
expiry-time="20991231" KEY
expiry-time="20991231Z" KEY
expiry-time="209912312359" KEY
expiry-time="20991231235959" KEY
expiry-time="20200101" KEY~KEY`

	refused = `#KEY
 # KEY
ssh-ed25519
BLOB
1024 KEY
rsa-sha2-512 BLOB
ssh-rsa BLOB
ssh-ed25519 RSABLOB
RSA-SHA2-512 RSABLOB
rsa RSABLOB
ed25519 BLOB
SSH-ED25519 BLOB
ecdsa ECBLOB
ecdsa-sha2-nistp384 ECBLOB
ssh-ed25519 BLOB==
ssh-ed25519 BLOBAAAA
ssh-ed25519 HALF
no-pty
no-pty , KEY
no-pty restrict KEY
restrict, pty KEY
restrict,
restrict,KEY
restrict=KEY
restrict;pty KEY
restrict="" KEY
pty="yes" KEY
"restrict" KEY
restrict\ KEY
no-restrict KEY
no-no-pty KEY
unknown KEY
unknown="x" KEY
cert-authority KEY
from KEY
from="" KEY
from=127.0.0.1 KEY
from='127.0.0.1' KEY
from="10.0.0.1" KEY
from="10.0.0.1, 127.0.0.1" KEY
from=" 127.0.0.1" KEY
from="127.0.0.1 " KEY
from="10.0.0.1,	127.0.0.1" KEY
from="127.0.0.1/8" KEY
from="127.0.0.1,10.0.0.1/8" KEY
from="127.0.0.1/33" KEY
from="127.0.0.1/" KEY
from="127.0.0.??" KEY
from="127.0.0.[0-9]" KEY
from="127\.0.0.1" KEY
from="!127.0.0.1,*" KEY
from="*,!127.0.0.1" KEY
from="!10.0.0.1" KEY
from="!127.0.0.0/8,127.0.0.1" KEY
from="::ffff:127.0.0.1" KEY
from="localhost" KEY
from=",127.0.0.1" KEY
from="127.0.0.1,",no-pty KEY
from="127.0.0.1,,10.0.0.1" KEY
from="127.0.0.1"no-pty KEY
from="127.0.0.1",from="127.0.0.1" KEY
from="127.0.0.1,KEY
expiry-time KEY
expiry-time="" KEY
expiry-time=20991231 KEY
expiry-time="20200101" KEY
expiry-time="20200101",expiry-time="20991231" KEY
expiry-time="20991231",expiry-time="20200101" KEY
expiry-time="20991301" KEY
expiry-time="2099-12-31" KEY
expiry-time="2099123" KEY
expiry-time="19691231" KEY`

	// foyer skips a byte order mark, which editors on Windows write. sshd reads it as a part of the first line.
	onlyFoyer = `BOMKEY`

	// sshd honours these options, and foyer cannot.
	cannotHonour = `command="true" KEY
command="say \"a\"" KEY
environment="A=b" KEY
permitopen="h:1" KEY
permitlisten="1" KEY
tunnel="0" KEY
verify-required KEY
no-touch-required KEY
touch-required KEY`

	// An entry of from= that can match no address is an error, because with "!" it would never refuse anything. sshd takes
	// it for a host name, for an address in an old notation, or ignores it.
	noAddress = `from="127.0.0.1, 10.0.0.1" KEY
from="*, !127.0.0.1" KEY
from="127.0.0.1,example.com" KEY
from="127.0.0.1,host*" KEY
from="!!127.0.0.1,*" KEY
from="127.0.0.01" KEY
from="127.1" KEY
from="127.0.0.1/032" KEY
from="127.0.0.1,fe80::1%lo" KEY`

	// sshd moves a time that does not exist to one that does.
	noTime = `expiry-time="20990230" KEY
expiry-time="20991231235960" KEY`
)

// foyer reads authorized_keys as sshd does. Where it does not, it refuses the line for a reason of the package comment.
func TestAgainstSSHD(t *testing.T) {
	s := newBoth(t)
	for _, tt := range []struct {
		name, lines string
		sshd, foyer bool
	}{
		{"admitted", admitted, true, true},
		{"refused", refused, false, false},
		{"only foyer", onlyFoyer, false, true},
		{"options that foyer cannot honour", cannotHonour, true, false},
		{"entries that are no address", noAddress, true, false},
		{"times that do not exist", noTime, true, false},
	} {
		for line := range strings.SplitSeq(tt.lines, "\n") {
			if sshd, foyer := s.ask(t, line); sshd != tt.sshd || foyer != tt.foyer {
				t.Errorf("%s: %s: sshd %v, foyer %v", tt.name, line, sshd, foyer)
			}
		}
	}
}

// both is a real sshd and foyer, with one file of keys.
type both struct {
	user, file  string
	sshd, foyer string // addresses
	keys        []gossh.Signer
	expand      *strings.Replacer
}

func newBoth(t *testing.T) both {
	t.Helper()
	self, err := user.Current()
	must(t, err)
	dir := newDir(t, nil)
	s := both{user: self.Username, file: filepath.Join(dir, self.Username), keys: signers(t)}
	s.expand = replacer(s.keys)
	s.foyer = sshtest.Serve(t, middleware.PublicKey(Open(dir, Options{})), middleware.Message(middleware.Fixed("hi"))).Address
	s.sshd = startSSHD(t, s.file)
	admits, _ := s.ask(t, "KEY")
	sshtest.Need(t, "an sshd that admits "+s.user, "run the test as root", admits)
	return s
}

// signers returns an Ed25519, an RSA and an ECDSA key.
func signers(t *testing.T) []gossh.Signer {
	t.Helper()
	short, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	keys := []gossh.Signer{newSigner(t)}
	for _, private := range []crypto.PrivateKey{short, curve} {
		key, err := gossh.NewSignerFromKey(private)
		must(t, err)
		keys = append(keys, key)
	}
	return keys
}

func replacer(keys []gossh.Signer) *strings.Replacer {
	var words []string
	for i, name := range []string{"", "RSA", "EC"} {
		line := strings.TrimSpace(text(keys[i].PublicKey()))
		words = append(words, name+"KEY", line, name+"BLOB", strings.Fields(line)[1])
	}
	return strings.NewReplacer(append(words, "HALF", words[3][:40], "~", "\n", "^", "\r", "BOM", "\ufeff")...)
}

// startSSHD serves each connection with an sshd of its own, as inetd does, and returns the address. That needs no free port,
// and neither MaxStartups nor PerSourcePenalties apply.
func startSSHD(t *testing.T, file string) string {
	t.Helper()
	dir := newDir(t, nil)
	hostKey := filepath.Join(dir, "host_key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", hostKey).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	config := filepath.Join(dir, "sshd_config")
	must(t, os.WriteFile(config, fmt.Appendf(nil, "HostKey %s\nAuthorizedKeysFile %s\nStrictModes no\nUsePAM no\nUseDNS no\n"+
		"PermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n", hostKey, file), 0o600))
	const bin = "/usr/sbin/sshd" // it must be an absolute path
	err := exec.Command(bin, "-t", "-f", config).Run()
	sshtest.Need(t, "sshd", "apt-get install openssh-server && mkdir -p /run/sshd", err == nil)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			f, _ := conn.(*net.TCPConn).File()
			cmd := exec.Command(bin, "-i", "-f", config)
			cmd.Stdin, cmd.Stdout = f, f
			running.Go(func() { _, _ = cmd.Run(), f.Close() })
			_ = conn.Close()
		}
	})
	t.Cleanup(func() { _ = listener.Close(); running.Wait() })
	return listener.Addr().String()
}

// ask reports who lets the client in with this file.
func (s both) ask(t *testing.T, line string) (sshd, foyer bool) {
	t.Helper()
	must(t, os.WriteFile(s.file, []byte(s.expand.Replace(line)), 0o600))
	return s.login(t, s.sshd), s.login(t, s.foyer)
}

func (s both) login(t *testing.T, address string) bool {
	t.Helper()
	client, err := gossh.Dial("tcp", address, &gossh.ClientConfig{
		User: s.user, Auth: []gossh.AuthMethod{gossh.PublicKeys(s.keys...)}, HostKeyCallback: gossh.InsecureIgnoreHostKey(), Timeout: time.Minute,
	})
	if err != nil && !strings.Contains(err.Error(), "unable to authenticate") {
		t.Fatal(err)
	}
	if err == nil {
		_ = client.Close()
	}
	return err == nil
}
