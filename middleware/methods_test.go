package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"charm.land/ssh"
	"charm.land/wish/v2"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
	"foyer/middleware/auth/keyfile"
	"foyer/middleware/auth/passwords"
	"foyer/middleware/penalties"
	"foyer/middleware/source"
	"foyer/middleware/sshtest"
)

// fixture is a server with keys and passwords. Alice and mallory have one of each. The user and the password "panic" make
// the sources panic.
type fixture struct {
	*sshtest.Server
	log       *sshtest.Log
	keys      map[string]gossh.Signer
	passwords *users
	served    chan string // user and fingerprint of each session

	mu    sync.Mutex
	asked []string // the users in calls of authorize
}

func newFixture(t *testing.T, combinations ...string) *fixture {
	t.Helper()
	h := &fixture{
		log:       sshtest.NewLog(),
		keys:      map[string]gossh.Signer{"alice": sshtest.HostKey(t), "mallory": sshtest.HostKey(t)},
		passwords: &users{passwords: map[string]string{"alice": "alice's", "mallory": "mallory's"}},
		served:    make(chan string, 10),
	}
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	h.Server = sshtest.Serve(t, middleware.Recover(), middleware.Penalties(trackerOf(t, penalties.Config{Networks: source.Networks{Exempt: loopback}})), middleware.Logging(h.log.Events()), middleware.PublicKey(sourceFunc(h.authorize)), passwordLayer(func(user, password string) bool {
		if password == "panic" {
			panic("no password\nfile")
		}
		return h.passwords.verify(user, password)
	}), middleware.Methods(combinations...), middleware.Handler("test", h.serve))
	return h
}

func (h *fixture) serve(sess ssh.Session) {
	h.served <- strings.TrimSpace(sess.User() + " " + sess.Permissions().Extensions[middleware.KeyFingerprint])
}

func (h *fixture) authorize(user string, key gossh.PublicKey) (*gossh.Permissions, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked = append(h.asked, user)
	if user == "panic" {
		panic("no key\nfile")
	}
	if own, known := h.keys[user]; known && string(own.PublicKey().Marshal()) == string(key.Marshal()) {
		return &gossh.Permissions{}, nil
	}
	return nil, nil
}

func (h *fixture) calls() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.asked)
}

// step is an attempt of user: "none", "query", "key", "password", "change" or another method, with the key or password of
// owner.
type step struct{ user, method, owner, want string }

// try returns the result of an attempt: "accepted" (a query), "authenticated", "ended", or the methods that can continue,
// which it asks for by "none".
func (h *fixture) try(c *sshtest.Raw, s step) string {
	var in bool
	var err error
	switch s.method {
	case "query":
		if ok, _ := c.Query(s.user, h.keys[s.owner].PublicKey()); ok {
			return "accepted"
		}
	case "key":
		in, err = c.PublicKey(s.user, h.keys[s.owner])
	case "password":
		in, err = c.Password(s.user, s.owner+"'s")
	case "change":
		in, err = c.Attempt(s.user, "ssh-connection", "password", gossh.Marshal(struct {
			Change   bool
			Old, New string
		}{true, s.owner + "'s", "new"}))
	default:
		in, err = c.Attempt(s.user, "ssh-connection", s.method, gossh.Marshal(struct{ Language, Submethods string }{}))
	}
	switch {
	case err != nil:
		return "ended"
	case in:
		return "authenticated"
	}
	return offered(c, s.user)
}

// offered returns the methods that can continue.
func offered(c *sshtest.Raw, user string) string {
	_ = c.Write(sshtest.Message(sshtest.MsgUserauthRequest, user, "ssh-connection", "none"))
	answer, err := c.Read()
	var refusal struct {
		Methods []string `sshtype:"51"`
		Partial bool
	}
	if err != nil || gossh.Unmarshal(answer, &refusal) != nil {
		return "ended"
	}
	return strings.Join(refusal.Methods, ",")
}

// follow makes the steps on one connection, and checks that the session and the log have the user of the last one.
func (h *fixture) follow(t *testing.T, steps ...step) {
	t.Helper()
	c := h.Server.DialRaw(t)
	want := ""
	for _, s := range steps {
		if got := h.try(c, s); got != s.want {
			t.Errorf("%s of %s as %s: %q, want %q", s.method, s.owner, s.user, got, s.want)
		}
		if s.want == "authenticated" {
			want = s.user
		}
	}
	if want != "" {
		if err := c.Shell(); err != nil {
			t.Fatal(err)
		}
		got, _, _ := strings.Cut(sshtest.Receive(t, h.served), " ")
		if got != want {
			t.Errorf("%q was served, want %q", got, want)
		}
		h.log.Line(t, "session closed")
	}
	sshtest.HalfClose(c.Conn)
	h.log.Line(t, "connection closed")
	h.expectOne(t, want)
}

// expectOne checks that the log has one login of user, or none where user is empty.
func (h *fixture) expectOne(t *testing.T, user string) {
	t.Helper()
	for _, event := range []string{"authentication succeeded", "session opened", "session closed"} {
		var of []string
		for line := range strings.Lines(h.log.String()) {
			if strings.Contains(line, event) {
				of = append(of, line)
			}
		}
		switch {
		case user == "" && len(of) > 0:
			t.Errorf("%s: %q", event, of)
		case user != "" && (len(of) != 1 || !strings.Contains(of[0], " user="+user+" ")):
			t.Errorf("%s: %q, want one line with user=%s", event, of, user)
		}
	}
	if len(h.served) > 0 {
		t.Errorf("another session was served: %q", <-h.served)
	}
}

func TestMethods(t *testing.T) {
	const key, password, both = "publickey", "password", "publickey+password"
	for _, tt := range []struct {
		name         string
		combinations []string
		steps        []step
	}{
		{"the password", []string{password}, []step{{"alice", "password", "alice", "authenticated"}}},
		{"the key", []string{key}, []step{{"alice", "key", "alice", "authenticated"}}},
		{"a key where there are passwords", []string{password}, []step{{"alice", "key", "alice", "password"}, {"alice", "query", "alice", "password"}}},
		{"a password where there are keys", []string{key}, []step{{"alice", "password", "alice", "publickey"}}},
		{"either, the key", []string{key, password}, []step{{"alice", "none", "", "password,publickey"}, {"alice", "key", "alice", "authenticated"}}},
		{"either, the password", []string{key, password}, []step{{"alice", "key", "mallory", "password,publickey"}, {"alice", "password", "alice", "authenticated"}}},
		{"the key, then the password", []string{both}, []step{{"alice", "key", "alice", "password"}, {"alice", "password", "alice", "authenticated"}}},
		{"a key that is only queried", []string{both}, []step{{"alice", "query", "alice", "accepted"}, {"alice", "password", "alice", "publickey"}}},
		{"the key twice", []string{both}, []step{{"alice", "key", "alice", "password"}, {"alice", "key", "alice", "password"}}},
		{"the key, queried again", []string{both}, []step{{"alice", "key", "alice", "password"}, {"alice", "query", "alice", "password"}}},
		{"the password first", []string{both}, []step{{"alice", "password", "alice", "publickey"}, {"alice", "key", "alice", "password"}}},
		{"another's password", []string{both}, []step{{"alice", "key", "alice", "password"}, {"alice", "password", "mallory", "password"}}},
		{"another's key", []string{both}, []step{{"alice", "key", "mallory", "publickey"}, {"alice", "password", "alice", "publickey"}}},
		{"another user after the key", []string{both}, []step{{"alice", "key", "alice", "password"}, {"mallory", "password", "mallory", "ended"}}},
		{"none after the key", []string{both}, []step{{"alice", "key", "alice", "password"}, {"alice", "none", "", "password"}}},
		{"another user before the key", []string{both}, []step{{"mallory", "key", "alice", "publickey"}, {"alice", "key", "alice", "password"}, {"alice", "password", "alice", "authenticated"}}},
		{"the password, then the key", []string{"password+publickey"}, []step{{"alice", "password", "alice", "publickey"}, {"alice", "key", "alice", "authenticated"}}},
		{"the key before its turn", []string{"password+publickey"}, []step{{"alice", "key", "alice", "password"}}},
		{"another's key after the password", []string{"password+publickey"}, []step{{"alice", "password", "alice", "publickey"}, {"alice", "key", "mallory", "publickey"}}},
		{"another user after the password", []string{"password+publickey"}, []step{{"alice", "password", "alice", "publickey"}, {"mallory", "key", "mallory", "ended"}}},
		{"the shorter combination", []string{both, password}, []step{{"alice", "password", "alice", "authenticated"}}},
		{"the longer combination", []string{both, password}, []step{{"alice", "key", "alice", "password"}, {"alice", "password", "alice", "authenticated"}}},
		{"the shorter combination, a key", []string{both, key}, []step{{"alice", "key", "alice", "authenticated"}}},
		{"both orders, the key", []string{both, "password+publickey"}, []step{{"alice", "none", "", "password,publickey"}, {"alice", "key", "alice", "password"}, {"alice", "password", "alice", "authenticated"}}},
		{"both orders, the password", []string{both, "password+publickey"}, []step{{"alice", "password", "alice", "publickey"}, {"alice", "password", "alice", "publickey"}, {"alice", "key", "alice", "authenticated"}}},
	} {
		t.Run(tt.name, func(t *testing.T) { newFixture(t, tt.combinations...).follow(t, tt.steps...) })
	}
}

// A source is not called for a method that is not offered.
func TestMethodsAskOnlyOfferedSources(t *testing.T) {
	for _, tt := range []struct {
		combination, method string
		calls               string // of the sources: passwords, keys
	}{
		{"password", "key", "0 0"},
		{"password", "query", "0 0"},
		{"password", "password", "1 0"},
		{"publickey", "password", "0 0"},
		{"publickey", "key", "0 2"},
		{"publickey+password", "password", "0 0"},
		{"password+publickey", "key", "0 0"},
		{"password+publickey", "query", "0 0"},
	} {
		h := newFixture(t, tt.combination)
		h.try(h.Server.DialRaw(t), step{user: "alice", method: tt.method, owner: "alice"})
		if got := fmt.Sprint(len(h.passwords.answered()), h.calls()); got != tt.calls {
			t.Errorf("%s where %s is configured: %s calls, want %s", tt.method, tt.combination, got, tt.calls)
		}
	}
}

// A session has the user of the attempt that succeeded, whatever the client claimed, queried or attempted before.
func TestIdentity(t *testing.T) {
	const all = "password,publickey"
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"another's password before", []step{{"alice", "password", "mallory", all}, {"mallory", "password", "mallory", "ended"}}},
		{"another's password before a key", []step{{"alice", "password", "mallory", all}, {"mallory", "key", "mallory", "ended"}}},
		{"another's password after a query", []step{{"mallory", "query", "mallory", "accepted"}, {"alice", "password", "mallory", all}, {"mallory", "password", "mallory", "ended"}}},
		{"another's password between a query and its key", []step{{"mallory", "query", "mallory", "accepted"}, {"alice", "password", "mallory", all}, {"mallory", "key", "mallory", "ended"}}},
		{"a second password", []step{{"mallory", "password", "alice", all}, {"mallory", "password", "mallory", "authenticated"}}},
		{"a query, then another user's key", []step{{"alice", "query", "alice", "accepted"}, {"mallory", "key", "mallory", "authenticated"}}},
		{"a query, then another key for the same user", []step{{"alice", "query", "alice", "accepted"}, {"alice", "key", "mallory", all}}},
		{"a query, then another user's password", []step{{"alice", "query", "alice", "accepted"}, {"mallory", "password", "mallory", "authenticated"}}},
		{"a query, then another's password for the same user", []step{{"alice", "query", "alice", "accepted"}, {"alice", "password", "mallory", all}}},
		{"a query, then the same key for another user", []step{{"alice", "query", "alice", "accepted"}, {"mallory", "key", "alice", all}}},
		{"none first", []step{{"alice", "none", "", all}, {"mallory", "key", "mallory", "authenticated"}}},
		{"none in between", []step{{"mallory", "query", "mallory", "accepted"}, {"alice", "none", "", all}, {"mallory", "key", "mallory", "authenticated"}}},
		{"another method in between", []step{{"alice", "query", "alice", "accepted"}, {"alice", "keyboard-interactive", "", all}, {"mallory", "password", "mallory", "authenticated"}}},
		{"other methods only", []step{{"alice", "keyboard-interactive", "", all}, {"alice", "hostbased", "", all}, {"alice", "", "", all}}},
		{"a change of password", []step{{"alice", "change", "alice", "ended"}}},
		{"a change of password after a query", []step{{"alice", "query", "alice", "accepted"}, {"mallory", "change", "mallory", "ended"}}},
		{"another's key", []step{{"mallory", "key", "alice", all}, {"alice", "key", "alice", "authenticated"}}},
	} {
		t.Run(tt.name, func(t *testing.T) { newFixture(t, "publickey", "password").follow(t, tt.steps...) })
	}
}

// A session that was authenticated by a password has no key, also where the client queried one before.
func TestIdentityHasNoOtherKey(t *testing.T) {
	h := newFixture(t, "publickey", "password")
	c := h.Server.DialRaw(t)
	for _, s := range []step{{"alice", "query", "alice", "accepted"}, {"alice", "password", "alice", "authenticated"}} {
		if got := h.try(c, s); got != s.want {
			t.Fatalf("%s: %q, want %q", s.method, got, s.want)
		}
	}
	if err := c.Shell(); err != nil {
		t.Fatal(err)
	}
	if got := sshtest.Receive(t, h.served); got != "alice" {
		t.Errorf("served %q, want alice without a fingerprint", got)
	}
	if line := h.log.Line(t, "session opened"); strings.Contains(line, "SHA256:") {
		t.Errorf("the log has a key: %s", line)
	}
}

func TestMethodsAreLogged(t *testing.T) {
	h := newFixture(t, "publickey+password")
	h.follow(t, step{"alice", "key", "alice", "password"}, step{"alice", "password", "mallory", "password"}, step{"alice", "password", "alice", "authenticated"})
	first := h.log.Line(t, "authentication continues", "user=alice", "method=publickey")
	if !strings.HasPrefix(first, "level=info") || strings.Contains(first, "err=") {
		t.Errorf("the first step is logged as a failure: %s", first)
	}
	h.log.Line(t, "level=warn", "authentication failed", "user=alice", "method=password")
	h.log.Line(t, "level=info", "authentication succeeded", "user=alice", "method=password")
	h.log.Line(t, "session opened", "user=alice", "key="+gossh.FingerprintSHA256(h.keys["alice"].PublicKey()))
}

// permissions is a handler that writes the key, the PTY permission and the source-address of the login.
func permissions(sess ssh.Session) {
	p := sess.Permissions()
	_, pty := p.Extensions[keyfile.PermitPTY]
	_, _ = fmt.Fprint(sess, p.Extensions[middleware.KeyFingerprint], " ", pty, " ", p.CriticalOptions["source-address"])
}

// The permissions and restrictions of a key hold also where a password is required in addition.
func TestMethodsKeepRestrictions(t *testing.T) {
	key := sshtest.HostKey(t)
	free := map[string]string{keyfile.PermitPTY: ""}
	from := func(network string) map[string]string { return map[string]string{"source-address": network} }
	fingerprint := gossh.FingerprintSHA256(key.PublicKey())
	for _, tt := range []struct {
		name          string
		first, second gossh.Permissions // the source's answers to the query and to the attempt
		want          string            // empty: not authenticated
		pty           bool
	}{
		{"free", gossh.Permissions{Extensions: free}, gossh.Permissions{Extensions: free}, fingerprint + " true ", true},
		{"no PTY", gossh.Permissions{}, gossh.Permissions{}, fingerprint + " false ", false},
		{"no PTY in the second answer", gossh.Permissions{Extensions: free}, gossh.Permissions{}, fingerprint + " false ", false},
		{"from here", gossh.Permissions{}, gossh.Permissions{CriticalOptions: from("127.0.0.0/8")}, fingerprint + " false 127.0.0.0/8", false},
		{"from elsewhere", gossh.Permissions{CriticalOptions: from("192.0.2.1")}, gossh.Permissions{}, "", false},
		{"from elsewhere in the second answer", gossh.Permissions{}, gossh.Permissions{CriticalOptions: from("192.0.2.1")}, "", false},
	} {
		for _, combination := range []string{"publickey", "publickey+password", "password+publickey"} {
			t.Run(tt.name+", "+combination, func(t *testing.T) {
				var asked atomic.Int64
				source := sourceFunc(func(string, gossh.PublicKey) (*gossh.Permissions, error) {
					if asked.Add(1) == 1 {
						return &tt.first, nil
					}
					return &tt.second, nil
				})
				srv := sshtest.Serve(t, middleware.PublicKey(source), passwordLayer(func(_, password string) bool { return password == "open" }), middleware.Methods(combination), middleware.Handler("test", permissions))
				client, err := dialBoth(t, srv, key)
				if in := err == nil; in != (tt.want != "") {
					t.Fatalf("authenticated: %t, error: %v", in, err)
				}
				if err == nil {
					expect(t, sshtest.Run(t, client, sshtest.Visit{Term: "xterm"}), sshtest.Result{Stdout: tt.want, PTY: tt.pty})
				}
			})
		}
	}
}

// dialBoth authenticates with keys and the password "open", in the order that the server asks for.
func dialBoth(t *testing.T, srv *sshtest.Server, keys ...gossh.Signer) (*gossh.Client, error) {
	t.Helper()
	client, err := gossh.Dial("tcp", srv.Address, &gossh.ClientConfig{
		User:            "guest",
		Auth:            []gossh.AuthMethod{gossh.PublicKeys(keys...), gossh.Password("open")},
		HostKeyCallback: gossh.InsecureIgnoreHostKey(),
		Timeout:         sshtest.Patience,
	})
	if err == nil {
		t.Cleanup(func() { _ = client.Close() })
	}
	return client, err
}

// A client with an agent that has many keys can still attempt a password.
func TestMethodsWithAnAgent(t *testing.T) {
	refuse := sourceFunc(func(string, gossh.PublicKey) (*gossh.Permissions, error) { return nil, nil })
	srv := sshtest.Serve(t, middleware.Logging(sshtest.NewLog().Events()), middleware.PublicKey(refuse), passwordLayer(func(_, password string) bool { return password == "open" }), middleware.Methods("publickey", "password"), middleware.Handler("test", whoami))
	for n, want := range map[int]bool{20: true, 29: true, 30: false} {
		var agent []gossh.Signer
		for range n {
			agent = append(agent, sshtest.HostKey(t))
		}
		if _, err := dialBoth(t, srv, agent...); (err == nil) != want {
			t.Errorf("with %d keys: %v", n, err)
		}
	}
}

func TestMethodsBudgets(t *testing.T) {
	attempts := func(n int, method, owner string) []step {
		return slices.Repeat([]step{{user: "alice", method: method, owner: owner}}, n)
	}
	for _, tt := range []struct {
		name  string
		steps [][]step
		ended bool // by the last step
	}{
		{"five wrong passwords", [][]step{attempts(5, "password", "mallory")}, false},
		{"six wrong passwords", [][]step{attempts(6, "password", "mallory")}, true},
		{"none and five wrong passwords", [][]step{attempts(1, "none", ""), attempts(5, "password", "mallory")}, false},
		{"none and six wrong passwords", [][]step{attempts(1, "none", ""), attempts(6, "password", "mallory")}, true},
		{"none seven times", [][]step{attempts(7, "none", "")}, true},
		{"questions about 29 keys", [][]step{attempts(29, "query", "")}, false},
		{"questions about 30 keys", [][]step{attempts(30, "query", "")}, true},
		{"six questions about one key", [][]step{attempts(6, "query", "mallory")}, false},
		{"seven questions about one key", [][]step{attempts(7, "query", "mallory")}, true},
		{"five signatures", [][]step{attempts(5, "key", "mallory")}, false},
		{"six signatures", [][]step{attempts(6, "key", "mallory")}, true},
		{"six signatures by six keys", [][]step{attempts(6, "key", "")}, true},
		{"six signatures after a question", [][]step{attempts(1, "query", "mallory"), attempts(6, "key", "mallory")}, true},
		{"passwords after keys", [][]step{attempts(29, "query", ""), attempts(5, "password", "mallory")}, false},
		{"six passwords after keys", [][]step{attempts(29, "query", ""), attempts(6, "password", "mallory")}, true},
		{"a signature after passwords", [][]step{attempts(5, "password", "mallory"), attempts(1, "key", "mallory")}, true},
		{"keys after passwords", [][]step{attempts(5, "password", "mallory"), attempts(30, "query", "")}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newFixture(t, "publickey", "password")
			c := h.Server.DialRaw(t)
			steps := slices.Concat(tt.steps...)
			for i, s := range steps {
				if err := h.attempt(t, c, s); (err != nil) != (tt.ended && i == len(steps)-1) {
					t.Fatalf("attempt %d of %d: %v", i+1, len(steps), err)
				}
			}
			if tt.ended {
				h.log.Line(t, "level=warn", "too many failures")
				h.log.Line(t, "connection closed", `err="closed by the server"`)
				return
			}
			if in, err := c.Password("alice", "alice's"); !in {
				t.Errorf("not authenticated after that: %v", err)
			}
		})
	}
}

// A client that has failed too often reads why, in a banner: after the key exchange the library sends no disconnect message.
func TestMethodsSaysWhy(t *testing.T) {
	h := newFixture(t, "publickey", "password")
	c := h.Server.DialRaw(t)
	for range 5 {
		if _, err := c.Password("alice", "wrong"); err != nil {
			t.Fatal(err)
		}
	}
	mustWrite(t, c, sshtest.Message(sshtest.MsgUserauthRequest, "alice", "ssh-connection", "password", false, "wrong"))
	banner, err := c.Await(sshtest.MsgUserauthBanner)
	if err != nil || !strings.Contains(string(banner), "Too many authentication failures\r\n") {
		t.Errorf("the client reads %q, error %v", banner, err)
	}
	if _, err := c.Read(); err == nil {
		t.Error("the connection goes on")
	}
}

// attempt makes the attempt of a step, with a new key where it names no owner. The error is that of a connection that has
// ended.
func (h *fixture) attempt(t *testing.T, c *sshtest.Raw, s step) (err error) {
	key := h.keys[s.owner]
	if key == nil {
		key = sshtest.HostKey(t)
	}
	switch s.method {
	case "password":
		_, err = c.Password(s.user, s.owner+"'s")
	case "key":
		_, err = c.PublicKey(s.user, key)
	case "query":
		_, err = c.Query(s.user, key.PublicKey())
	default:
		_, err = c.Attempt(s.user, "ssh-connection", s.method, gossh.Marshal(struct{ Language, Submethods string }{}))
	}
	return err
}

// The attempts count for the connection: a partial success does not reset them.
func TestMethodsBudgetOfTwoSteps(t *testing.T) {
	for wrong, want := range map[int]bool{2: true, 3: false} {
		h := newFixture(t, "publickey+password")
		c := h.Server.DialRaw(t)
		for range 3 {
			_, _ = c.Password("alice", "alice's") // out of order
		}
		_, _ = c.PublicKey("alice", h.keys["alice"])
		for range wrong {
			_, _ = c.Password("alice", "mallory's")
		}
		if in, _ := c.Password("alice", "alice's"); in != want {
			t.Errorf("after three failures and %d: authenticated: %t", wrong, in)
		}
	}
}

// A partial success does not count as a failure.
func TestMethodsBudgetAfterPartialSuccess(t *testing.T) {
	h := newFixture(t, "password+publickey")
	c := h.Server.DialRaw(t)
	for range 5 {
		_, _ = c.Password("alice", "mallory's")
	}
	_, _ = c.Password("alice", "alice's")
	if in, err := c.PublicKey("alice", h.keys["alice"]); !in {
		t.Errorf("not authenticated: %v", err)
	}
}

// No request is served before authentication, and a client cannot declare its own success.
func TestNothingBeforeAuthentication(t *testing.T) {
	keepalive := sshtest.Message(sshtest.MsgGlobalRequest, "keepalive@openssh.com", true)
	shell := sshtest.Message(sshtest.MsgChannelRequest, uint32(0), "shell", true)
	for name, packet := range map[string][]byte{
		"a channel":        sshtest.OpenChannel("session", 0),
		"a global request": keepalive,
		"a request":        shell,
		"success":          {sshtest.MsgUserauthSuccess},
		"another service":  sshtest.Message(sshtest.MsgServiceRequest, "ssh-connection"),
		"data":             sshtest.Message(sshtest.MsgChannelData, uint32(0), ""),
	} {
		for _, before := range []string{"nothing", "none", "query", "password", "partial"} {
			t.Run(name+" after "+before, func(t *testing.T) { tryToSkip(t, before, packet) })
		}
	}
}

// tryToSkip sends a packet that is not allowed before authentication, and then opens a session.
func tryToSkip(t *testing.T, before string, packet []byte) {
	combination := "publickey"
	if before == "partial" {
		before, combination = "key", "publickey+password"
	}
	h := newFixture(t, combination)
	served := make(chan string, 10)
	h.RequestHandlers["default"] = func(_ ssh.Context, _ *ssh.Server, req *gossh.Request) (bool, []byte) {
		served <- req.Type
		return true, nil
	}
	c := h.Server.DialRaw(t)
	if before != "nothing" {
		_ = h.attempt(t, c, step{user: "alice", method: before, owner: "alice"})
	}
	mustWrite(t, c, packet)
	if answer, err := c.Read(); err == nil && answer[0] != sshtest.MsgDisconnect {
		t.Errorf("answered with %d", answer[0])
	}
	_ = c.Shell()
	h.log.Line(t, "connection closed", "err=")
	h.expectOne(t, "")
	if len(served) > 0 {
		t.Errorf("%s was handled", <-served)
	}
}

// A panic in a source fails its attempt. The connection, other connections and the server go on.
func TestPanicFailsTheAttempt(t *testing.T) {
	for _, combinations := range [][]string{{"publickey", "password"}, {"password+publickey"}, {"publickey+password"}} {
		t.Run(strings.Join(combinations, ","), func(t *testing.T) {
			h := newFixture(t, combinations...)
			other := h.Server.DialRaw(t)
			panicked := h.Server.DialRaw(t)
			in, err := panicked.PublicKey("panic", h.keys["alice"])
			if in || err != nil {
				t.Errorf("key: authenticated: %t, error: %v", in, err)
			}
			if in, err = panicked.Password("alice", "panic"); in || err != nil {
				t.Errorf("password: authenticated: %t, error: %v", in, err)
			}
			h.log.Line(t, "level=error", "panic in authentication", "stack=")
			h.log.Line(t, "authentication failed", "panic in authentication")
			for _, c := range []*sshtest.Raw{panicked, other} {
				if !h.login(c) {
					t.Error("not authenticated after a panic")
				}
			}
		})
	}
}

// login reports whether alice is authenticated by her key and password, in any order.
func (h *fixture) login(c *sshtest.Raw) bool {
	for range 2 {
		if in, _ := c.PublicKey("alice", h.keys["alice"]); in {
			return true
		}
		if in, _ := c.Password("alice", "alice's"); in {
			return true
		}
	}
	return false
}

// A password that the server was too busy to check does not count as a failure.
func TestMethodsPasswordQueueFull(t *testing.T) {
	busy := passwordSource(func(password string) error {
		if password == "right" {
			return nil
		}
		return fmt.Errorf("%w: come back later", passwords.ErrBusy)
	})
	srv := sshtest.Serve(t, middleware.Password(busy), middleware.Methods("password"), middleware.Handler("test", whoami))
	c := srv.DialRaw(t)
	for i := range 10 {
		if in, err := c.Password("alice", "wrong"); in || err != nil {
			t.Fatalf("attempt %d: authenticated: %t, error: %v", i+1, in, err)
		}
	}
	if in, err := c.Password("alice", "right"); !in {
		t.Errorf("not authenticated after that: %v", err)
	}
}

type passwordSource func(password string) error

func (s passwordSource) VerifyFrom(_ context.Context, _ netip.Addr, _, password string) error {
	return s(password)
}

// A layer with a method of its own does not bypass the combinations, at any place in the list.
func TestMethodsAtAnyPlace(t *testing.T) {
	key := sshtest.HostKey(t)
	keys := middleware.PublicKey(sourceFunc(func(_ string, offered gossh.PublicKey) (*gossh.Permissions, error) {
		if string(offered.Marshal()) != string(key.PublicKey().Marshal()) {
			return nil, errors.New("key not authorized")
		}
		return &gossh.Permissions{}, nil
	}))
	password := passwordLayer(func(_, password string) bool { return password == "right" })
	interactive := configures(func(cfg *gossh.ServerConfig) {
		cfg.KeyboardInteractiveCallback = func(gossh.ConnMetadata, gossh.KeyboardInteractiveChallenge) (*gossh.Permissions, error) {
			return &gossh.Permissions{}, nil
		}
	}, "keyboard-interactive")
	both := middleware.Methods("publickey+password")
	answers := gossh.KeyboardInteractive(func(string, string, []string, []bool) ([]string, error) { return nil, nil })
	for i, list := range [][]middleware.Layer{
		{keys, password, both, interactive}, {interactive, keys, password, both}, {both, interactive, keys, password}, {both, password, keys, interactive},
	} {
		srv := sshtest.Serve(t, append(list, middleware.Handler("test", whoami))...)
		for _, tt := range []struct {
			methods []gossh.AuthMethod
			in      bool
		}{
			{[]gossh.AuthMethod{answers}, false},
			{[]gossh.AuthMethod{gossh.PublicKeys(key), answers}, false},
			{[]gossh.AuthMethod{gossh.Password("right"), answers}, false},
			{[]gossh.AuthMethod{gossh.PublicKeys(key), gossh.Password("right")}, true},
		} {
			client, err := gossh.Dial("tcp", srv.Address, &gossh.ClientConfig{
				User: "guest", Auth: tt.methods, HostKeyCallback: gossh.InsecureIgnoreHostKey(),
			})
			if (err == nil) != tt.in {
				t.Errorf("list %d, %d methods: error %v, want to be authenticated: %t", i, len(tt.methods), err, tt.in)
			}
			if err == nil {
				_ = client.Close()
			}
		}
	}
}

// Keyboard-interactive may be a step of a combination.
func TestMethodsWithKeyboardInteractive(t *testing.T) {
	code := configures(func(cfg *gossh.ServerConfig) {
		cfg.KeyboardInteractiveCallback = func(_ gossh.ConnMetadata, ask gossh.KeyboardInteractiveChallenge) (*gossh.Permissions, error) {
			if answers, err := ask("", "", []string{"Code: "}, []bool{true}); err != nil || answers[0] != "123456" {
				return nil, errors.New("wrong code")
			}
			return &gossh.Permissions{}, nil
		}
	}, "keyboard-interactive")
	password := passwordLayer(func(_, password string) bool { return password == "right" })
	srv := sshtest.Serve(t, password, code, middleware.Methods("password+keyboard-interactive"), middleware.Handler("test", whoami))
	for given, in := range map[string]bool{"123456": true, "654321": false} {
		answer := gossh.KeyboardInteractive(func(_, _ string, questions []string, _ []bool) ([]string, error) {
			answers := make([]string, len(questions))
			for i := range answers {
				answers[i] = given
			}
			return answers, nil
		})
		client, err := gossh.Dial("tcp", srv.Address, &gossh.ClientConfig{
			User: "guest", Auth: []gossh.AuthMethod{gossh.Password("right"), answer}, HostKeyCallback: gossh.InsecureIgnoreHostKey(),
		})
		if (err == nil) != in {
			t.Errorf("code %s: error %v", given, err)
		}
		if err == nil {
			_ = client.Close()
		}
	}
}

func TestMethodsErrors(t *testing.T) {
	keys := middleware.PublicKey(sourceFunc(func(string, gossh.PublicKey) (*gossh.Permissions, error) { return nil, io.EOF }))
	password := passwordLayer(func(_, _ string) bool { return false })
	other := middleware.Layer{Combinations: [][]string{{"publickey"}}}
	type layers = []middleware.Layer
	for _, tt := range []struct {
		name         string
		around       layers
		combinations []string
		want         string
	}{
		{"none", layers{keys, password}, nil, "no authentication method is configured"},
		{"an empty one", layers{keys, password}, []string{""}, `unknown method ""`},
		{"a method that no layer checks", layers{keys, password}, []string{"password", "keyboard-interactive"}, "no layer checks keyboard-interactive"},
		{"an unknown step", layers{keys, password}, []string{"publickey+otp"}, `unknown method "otp"`},
		{"a missing step", layers{keys, password}, []string{"publickey+"}, `unknown method ""`},
		{"another case", layers{keys, password}, []string{"Password"}, `unknown method "Password"`},
		{"a space", layers{keys, password}, []string{"publickey, password"}, `unknown method "publickey, password"`},
		{"a step twice", layers{keys, password}, []string{"publickey+publickey"}, "publickey twice"},
		{"a step again", layers{keys, password}, []string{"password+publickey+password"}, "password twice"},
		{"no passwords", layers{keys}, []string{"publickey+password"}, "no layer checks password"},
		{"no keys", layers{password}, []string{"publickey", "password"}, "no layer checks publickey"},
		{"two policies", layers{keys, other}, []string{"publickey"}, "another layer combines methods already"},
	} {
		stack := append(slices.Clone(tt.around), middleware.Methods(tt.combinations...))
		_, err := wish.NewServer(withKey(t), middleware.NewStack(append(stack, middleware.Message(middleware.Fixed("")))...).Install)
		if err == nil || !strings.Contains(err.Error(), "layer methods: ") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one of layer methods with %q", tt.name, err, tt.want)
		}
	}
}
