package middleware_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"charm.land/ssh"
	"charm.land/wish/v2"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
	"foyer/middleware/sshtest"
)

// offer is a server's KEXINIT (RFC 4253 section 7.1).
type offer struct {
	Cookie       [16]byte `sshtype:"20"`
	KeyExchanges []string
	HostKeys     []string
	CiphersIn    []string
	CiphersOut   []string
	MACsIn       []string
	MACsOut      []string
	Rest         []byte `ssh:"rest"`
}

// readOffer returns the server's KEXINIT.
func readOffer(t *testing.T, srv *sshtest.Server) offer {
	t.Helper()
	client := sshtest.NewRaw(srv.DialTCP(t))
	if err := client.Greet("SSH-2.0-raw"); err != nil {
		t.Fatal(err)
	}
	packet, err := client.Await(sshtest.MsgKexInit)
	if err != nil {
		t.Fatal(err)
	}
	var got offer
	if err := gossh.Unmarshal(packet, &got); err != nil {
		t.Fatal(err)
	}
	return got
}

// signer returns a new key of a type.
func signer(t testing.TB, keyType string) gossh.Signer {
	t.Helper()
	var private crypto.PrivateKey
	var err error
	switch keyType {
	case "rsa":
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ecdsa":
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	default:
		return sshtest.HostKey(t)
	}
	if err != nil {
		t.Fatal(err)
	}
	key, err := gossh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// withKeys returns the option that gives a server these host keys and no other.
func withKeys(keys ...gossh.Signer) ssh.Option {
	return func(srv *ssh.Server) error {
		srv.HostSigners = nil
		for _, key := range keys {
			srv.AddHostKey(key)
		}
		return nil
	}
}

// serveAlgorithms serves a set of algorithms with these host keys.
func serveAlgorithms(t *testing.T, set string, keys ...gossh.Signer) *sshtest.Server {
	t.Helper()
	return sshtest.Start(t, withKeys(keys...),
		middleware.NewStack(middleware.Algorithms(set), middleware.Open(), middleware.Handler("test", whoami)).Install)
}

const (
	strictKex = "mlkem768x25519-sha256 curve25519-sha256 curve25519-sha256@libssh.org"
	ciphers   = "chacha20-poly1305@openssh.com aes128-gcm@openssh.com aes256-gcm@openssh.com" +
		" aes128-ctr aes192-ctr aes256-ctr"
	strictMACs   = "hmac-sha2-256-etm@openssh.com hmac-sha2-512-etm@openssh.com"
	defaultKex   = strictKex + " ecdh-sha2-nistp256 ecdh-sha2-nistp384 ecdh-sha2-nistp521"
	defaultMACs  = strictMACs + " hmac-sha2-256 hmac-sha2-512"
	strictServer = "kex-strict-s-v00@openssh.com"
)

// A server offers these algorithms and no other. The library leaves out names that it does not know.
func TestAlgorithmsOffered(t *testing.T) {
	for _, tt := range []struct{ set, kex, macs string }{
		{"strict", strictKex, strictMACs},
		{"default", defaultKex, defaultMACs},
		{"compat", defaultKex + " diffie-hellman-group14-sha256 diffie-hellman-group14-sha1", defaultMACs + " hmac-sha1"},
	} {
		got := readOffer(t, serveAlgorithms(t, tt.set, signer(t, "ed25519")))
		for _, list := range []struct {
			name, want string
			got        []string
		}{
			{"key exchanges", tt.kex + " " + strictServer, got.KeyExchanges},
			{"ciphers in", ciphers, got.CiphersIn},
			{"ciphers out", ciphers, got.CiphersOut},
			{"MACs in", tt.macs, got.MACsIn},
			{"MACs out", tt.macs, got.MACsOut},
		} {
			if joined := strings.Join(list.got, " "); joined != list.want {
				t.Errorf("%s %s:\n%s, want\n%s", tt.set, list.name, joined, list.want)
			}
		}
	}
}

func TestAlgorithmsOfHostKeys(t *testing.T) {
	ed25519, rsa, ecdsa := signer(t, "ed25519"), signer(t, "rsa"), signer(t, "ecdsa")
	for _, tt := range []struct {
		set  string
		keys []gossh.Signer
		want string
	}{
		{"strict", []gossh.Signer{ed25519}, "ssh-ed25519"},
		{"strict", []gossh.Signer{rsa}, "rsa-sha2-256 rsa-sha2-512"},
		{"strict", []gossh.Signer{ecdsa, ed25519, rsa}, "ssh-ed25519 rsa-sha2-256 rsa-sha2-512"},
		{"default", []gossh.Signer{rsa}, "rsa-sha2-256 rsa-sha2-512"},
		{"default", []gossh.Signer{ecdsa, ed25519, rsa}, "ecdsa-sha2-nistp256 ssh-ed25519 rsa-sha2-256 rsa-sha2-512"},
		{"compat", []gossh.Signer{ed25519}, "ssh-ed25519"},
		{"compat", []gossh.Signer{rsa}, "rsa-sha2-256 rsa-sha2-512 ssh-rsa"},
		{"compat", []gossh.Signer{ecdsa, ed25519, rsa}, "ecdsa-sha2-nistp256 ssh-ed25519 rsa-sha2-256 rsa-sha2-512 ssh-rsa"},
	} {
		if got := strings.Join(readOffer(t, serveAlgorithms(t, tt.set, tt.keys...)).HostKeys, " "); got != tt.want {
			t.Errorf("%s with %d keys: %s, want %s", tt.set, len(tt.keys), got, tt.want)
		}
	}
}

// Set strict has no algorithm that the library calls insecure. Set compat has two, by name.
func TestAlgorithmsAgainstTheLibrary(t *testing.T) {
	keys := []gossh.Signer{signer(t, "ed25519"), signer(t, "rsa"), signer(t, "ecdsa")}
	supported, insecure := gossh.SupportedAlgorithms(), gossh.InsecureAlgorithms()
	// The library adds these and lists neither.
	supported.KeyExchanges = append(supported.KeyExchanges, "curve25519-sha256@libssh.org", strictServer)
	for set, tolerated := range map[string][]string{
		"strict": nil, "default": nil,
		"compat": {gossh.InsecureKeyExchangeDH14SHA1, gossh.KeyAlgoRSA},
	} {
		got := readOffer(t, serveAlgorithms(t, set, keys...))
		for _, list := range []struct{ got, supported, insecure []string }{
			{got.KeyExchanges, supported.KeyExchanges, insecure.KeyExchanges},
			{got.HostKeys, supported.HostKeys, insecure.HostKeys},
			{got.CiphersIn, supported.Ciphers, insecure.Ciphers},
			{got.MACsIn, supported.MACs, insecure.MACs},
		} {
			for _, name := range list.got {
				secure := slices.Contains(list.supported, name) && !slices.Contains(list.insecure, name)
				if !secure && !slices.Contains(tolerated, name) {
					t.Errorf("%s offers %s", set, name)
				}
			}
		}
	}
}

// Each algorithm that is offered works by itself.
func TestAlgorithmsServed(t *testing.T) {
	srv := serveAlgorithms(t, "compat", signer(t, "ed25519"), signer(t, "rsa"), signer(t, "ecdsa"))
	offered := readOffer(t, srv)
	try := func(name string, choose func(*gossh.ClientConfig)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := login(srv, choose); err != nil {
				t.Error(err)
			}
		})
	}
	for _, kex := range offered.KeyExchanges {
		if kex != strictServer {
			try(kex, func(cfg *gossh.ClientConfig) { cfg.KeyExchanges = []string{kex} })
		}
	}
	for _, key := range offered.HostKeys {
		try(key, func(cfg *gossh.ClientConfig) { cfg.HostKeyAlgorithms = []string{key} })
	}
	for _, cipher := range offered.CiphersIn {
		try(cipher, func(cfg *gossh.ClientConfig) { cfg.Ciphers = []string{cipher} })
	}
	for _, mac := range offered.MACsIn {
		try(mac, func(cfg *gossh.ClientConfig) {
			cfg.Ciphers, cfg.MACs = []string{gossh.CipherAES128CTR}, []string{mac}
		})
	}
}

// login logs in with a client that choose configures.
func login(srv *sshtest.Server, choose func(*gossh.ClientConfig)) error {
	cfg := &gossh.ClientConfig{User: "guest", HostKeyCallback: gossh.InsecureIgnoreHostKey(), Timeout: sshtest.Patience}
	choose(cfg)
	client, err := gossh.Dial("tcp", srv.Address, cfg)
	if err != nil {
		return err
	}
	return client.Close()
}

// A client without modern algorithms is refused, and the error names the kind that is missing.
func TestAlgorithmsRefused(t *testing.T) {
	srv := serveAlgorithms(t, "strict", signer(t, "ed25519"), signer(t, "rsa"), signer(t, "ecdsa"))
	for _, tt := range []struct {
		what   string
		choose func(*gossh.ClientConfig)
	}{
		{"key exchange", func(cfg *gossh.ClientConfig) { cfg.KeyExchanges = []string{"diffie-hellman-group14-sha256"} }},
		{"key exchange", func(cfg *gossh.ClientConfig) { cfg.KeyExchanges = []string{"ecdh-sha2-nistp256"} }},
		{"host key", func(cfg *gossh.ClientConfig) { cfg.HostKeyAlgorithms = []string{"ssh-rsa"} }},
		{"host key", func(cfg *gossh.ClientConfig) { cfg.HostKeyAlgorithms = []string{"ecdsa-sha2-nistp256"} }},
		{"cipher", func(cfg *gossh.ClientConfig) { cfg.Ciphers = []string{"aes128-cbc"} }},
		{"MAC", func(cfg *gossh.ClientConfig) {
			cfg.Ciphers, cfg.MACs = []string{"aes128-ctr"}, []string{"hmac-sha2-256"}
		}},
	} {
		err := login(srv, tt.choose)
		missing, ok := errors.AsType[*gossh.AlgorithmNegotiationError](err)
		if !ok || !strings.Contains(missing.What, tt.what) {
			t.Errorf("%v, want no common %s", err, tt.what)
		}
	}
}

func TestAlgorithmsErrors(t *testing.T) {
	ed25519 := []gossh.Signer{signer(t, "ed25519")}
	strict, compat := middleware.Algorithms("strict"), middleware.Algorithms("compat")
	misspelt, none := middleware.Algorithms("Strict"), middleware.Algorithms("")
	const taken = "it stands in the list twice"
	for _, tt := range []struct {
		name       string
		keys       []gossh.Signer
		layers     []middleware.Layer
		want, hint string
	}{
		{"an unknown set", ed25519, []middleware.Layer{misspelt}, `unknown algorithms "Strict": use strict, default, compat`, ""},
		{"an empty set", ed25519, []middleware.Layer{none}, `unknown algorithms ""`, ""},
		{"a layer twice", ed25519, []middleware.Layer{strict, compat}, taken, ""},
		{"no host key", nil, []middleware.Layer{strict}, "no host keys: add them before the layers", ""},
		{
			"no host key left", []gossh.Signer{signer(t, "ecdsa")}, []middleware.Layer{strict},
			"the algorithms exclude every host key: ecdsa-sha2-nistp256", "run: foyer hostkey add ed25519, or ",
		},
		{
			"SHA-1 alone", []gossh.Signer{plainSigner{signer(t, "rsa")}}, []middleware.Layer{strict},
			"the algorithms exclude every host key: ssh-rsa", "run: ",
		},
	} {
		layers := append(tt.layers, middleware.Open())
		_, err := wish.NewServer(withKeys(tt.keys...), middleware.NewStack(append(layers, middleware.Handler("test", whoami))...).Install)
		if err == nil || !strings.HasPrefix(err.Error(), "layer algorithms: "+tt.want) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.want)
			continue
		}
		if hint := hintOf(err); !strings.HasPrefix(hint, tt.hint) || (hint == "") != (tt.hint == "") {
			t.Errorf("%s: hint %q, want %q", tt.name, hint, tt.hint)
		}
	}
}

// hintOf returns the hint of an error, or "".
func hintOf(err error) string {
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) {
		return hinted.Hint()
	}
	return ""
}

// plainSigner signs with the algorithm of its key type only. severalSigner signs with any algorithm of the key. fewSigner
// restricts and counts them.
type plainSigner struct{ gossh.Signer }

type severalSigner struct{ gossh.AlgorithmSigner }

type fewSigner struct {
	gossh.AlgorithmSigner
	algorithms []string
	signed     *atomic.Int32
}

func (s fewSigner) Algorithms() []string { return s.algorithms }

func (s fewSigner) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*gossh.Signature, error) {
	s.signed.Add(1)
	return s.AlgorithmSigner.SignWithAlgorithm(rand, data, algorithm)
}

// A host key that another layer has wrapped signs with no more algorithms than the wrapper allows.
func TestAlgorithmsKeepSigners(t *testing.T) {
	key := signer(t, "rsa").(gossh.AlgorithmSigner)
	var signed atomic.Int32
	counted := func(algorithms ...string) gossh.Signer { return fewSigner{key, algorithms, &signed} }
	for _, tt := range []struct {
		name, set string
		key       gossh.Signer
		want      string
		counts    bool
	}{
		{"the library's", "strict", key, "rsa-sha2-256 rsa-sha2-512", false},
		{"a wrapper without a list", "strict", severalSigner{key}, "rsa-sha2-256 rsa-sha2-512", false},
		{"a wrapper without a list", "compat", severalSigner{key}, "rsa-sha2-256 rsa-sha2-512 ssh-rsa", false},
		{"SHA-1 alone", "compat", plainSigner{key}, "ssh-rsa", false},
		{"all", "strict", counted("rsa-sha2-512", "ssh-rsa", "rsa-sha2-256"), "rsa-sha2-256 rsa-sha2-512", true},
		{"all", "compat", counted("rsa-sha2-512", "ssh-rsa", "rsa-sha2-256"), "rsa-sha2-256 rsa-sha2-512 ssh-rsa", true},
		{"one", "strict", counted("rsa-sha2-512"), "rsa-sha2-512", true},
		{"one and SHA-1", "strict", counted("ssh-rsa", "rsa-sha2-256"), "rsa-sha2-256", true},
	} {
		t.Run(tt.set+"/"+tt.name, func(t *testing.T) {
			srv := serveAlgorithms(t, tt.set, tt.key)
			offered := readOffer(t, srv).HostKeys
			if got := strings.Join(offered, " "); got != tt.want {
				t.Errorf("offers %q, want %q", got, tt.want)
			}
			before := signed.Load()
			if err := login(srv, func(cfg *gossh.ClientConfig) { cfg.HostKeyAlgorithms = offered[:1] }); err != nil {
				t.Error(err)
			}
			if counts := signed.Load() > before; counts != tt.counts {
				t.Errorf("the wrapper has signed: %v, want %v", counts, tt.counts)
			}
		})
	}
}

// Keys that need no restriction are unchanged, in the same order.
func TestAlgorithmsKeepKeys(t *testing.T) {
	ed25519, ecdsa := plainSigner{signer(t, "ed25519")}, signer(t, "ecdsa")
	srv := serveAlgorithms(t, "compat", ecdsa, ed25519)
	if !slices.Equal(srv.HostSigners, []ssh.Signer{ecdsa, ed25519}) {
		t.Errorf("the host keys are %v", srv.HostSigners)
	}
}

// A host certificate signs as its key does.
func TestAlgorithmsOfCertificates(t *testing.T) {
	for keyType, want := range map[string]string{
		"ed25519": "ssh-ed25519-cert-v01@openssh.com",
		"rsa":     "rsa-sha2-256-cert-v01@openssh.com rsa-sha2-512-cert-v01@openssh.com",
	} {
		for _, wrap := range []func(gossh.Signer) gossh.Signer{
			func(key gossh.Signer) gossh.Signer { return key },
			func(key gossh.Signer) gossh.Signer { return severalSigner{key.(gossh.AlgorithmSigner)} },
		} {
			key := signer(t, keyType)
			cert := &gossh.Certificate{
				Key: key.PublicKey(), CertType: gossh.HostCert, ValidPrincipals: []string{"server"}, ValidBefore: gossh.CertTimeInfinity,
			}
			if err := cert.SignCert(rand.Reader, sshtest.HostKey(t)); err != nil {
				t.Fatal(err)
			}
			certified, err := gossh.NewCertSigner(cert, wrap(key))
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(readOffer(t, serveAlgorithms(t, "strict", certified)).HostKeys, " "); got != want {
				t.Errorf("%s: offers %q, want %q", keyType, got, want)
			}
		}
	}
}

// injector inserts a packet before the first one of a type, while packets are unencrypted, as an attacker between client
// and server does (Terrapin).
type injector struct {
	net.Conn
	before byte
	packet []byte
	done   bool
}

func (c *injector) Write(packet []byte) (int, error) {
	if !c.done && len(packet) > 5 && packet[5] == c.before {
		c.done = true
		if _, err := c.Conn.Write(c.packet); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(packet)
}

// With the strict key exchange a packet of another kind before the new keys ends the connection. (The version line has none
// of these types in its sixth byte.)
func TestAlgorithmsStrictKeyExchange(t *testing.T) {
	srv := serveAlgorithms(t, "strict", signer(t, "ed25519"))
	ignore := sshtest.Unencrypted(sshtest.Message(sshtest.MsgIgnore, ""))
	debug := sshtest.Unencrypted(sshtest.Message(sshtest.MsgDebug, false, "", ""))
	for _, tt := range []struct {
		name   string
		before byte
		packet []byte
		strict bool
		want   bool // the handshake succeeds
	}{
		{"nothing", 0, nil, true, true},
		{"IGNORE before KEXINIT", sshtest.MsgKexInit, ignore, true, false},
		{"IGNORE before the share", sshtest.MsgKexECDHInit, ignore, true, false},
		{"IGNORE before NEWKEYS", sshtest.MsgNewKeys, ignore, true, false},
		{"DEBUG before the share", sshtest.MsgKexECDHInit, debug, true, false},
		{"DEBUG before NEWKEYS", sshtest.MsgNewKeys, debug, true, false},
		{"IGNORE before KEXINIT", sshtest.MsgKexInit, ignore, false, true},
		{"IGNORE before the share", sshtest.MsgKexECDHInit, ignore, false, true},
		{"IGNORE before NEWKEYS", sshtest.MsgNewKeys, ignore, false, true},
		{"DEBUG before the share", sshtest.MsgKexECDHInit, debug, false, true},
	} {
		conn := &injector{Conn: srv.DialTCP(t), before: tt.before, packet: tt.packet}
		client := sshtest.NewRaw(conn)
		client.Strict = tt.strict
		err := client.Handshake("SSH-2.0-raw", sshtest.Curve25519)
		if (err == nil) != tt.want || errors.Is(err, os.ErrDeadlineExceeded) || conn.done != (tt.packet != nil) {
			t.Errorf("%s, strict %v: error %v, want success: %v", tt.name, tt.strict, err, tt.want)
		}
	}
}
