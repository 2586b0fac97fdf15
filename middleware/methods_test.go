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
	"testing"

	"charm.land/ssh"
	"charm.land/wish/v2"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
	"foyer/middleware/auth/keyfile"
	"foyer/middleware/auth/passwords"
	"foyer/middleware/source"
	"foyer/middleware/sshtest"
)

// house is the stack of a whole door. Alice and mallory have a key and a password each; the user and the
// password "panic" make the sources panic.
type house struct {
	*sshtest.Server
	log       *sshtest.Log
	keys      map[string]gossh.Signer
	passwords *users
	served    chan string // user and fingerprint of each session

	mu    sync.Mutex
	shown []string // whose keys were asked about
}

func openHouse(t *testing.T, ways ...string) *house {
	t.Helper()
	h := &house{
		log:       sshtest.NewLog(),
		keys:      map[string]gossh.Signer{"alice": sshtest.HostKey(t), "mallory": sshtest.HostKey(t)},
		passwords: &users{passwords: map[string]string{"alice": "alice's", "mallory": "mallory's"}},
		served:    make(chan string, 10),
	}
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	h.Server = sshtest.Serve(t, middleware.Recover(), middleware.Penalties(middleware.PenaltiesConfig{Networks: source.Networks{Exempt: loopback}}), middleware.Logging(h.log.Events()), middleware.PublicKey(sourceFunc(h.authorize)), checks(func(user, password string) bool {
		if password == "panic" {
			panic("no password\nfile")
		}
		return h.passwords.verify(user, password)
	}), middleware.Methods(ways...), middleware.Handler("test", h.serve))
	return h
}

func (h *house) serve(sess ssh.Session) {
	h.served <- strings.TrimSpace(sess.User() + " " + sess.Permissions().Extensions[middleware.KeyFingerprint])
}

func (h *house) authorize(user string, key gossh.PublicKey) (*gossh.Permissions, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.shown = append(h.shown, user)
	if user == "panic" {
		panic("no key\nfile")
	}
	if own, known := h.keys[user]; known && string(own.PublicKey().Marshal()) == string(key.Marshal()) {
		return &gossh.Permissions{}, nil
	}
	return nil, nil
}

func (h *house) asked() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.shown)
}

// step is an attempt of a user: "none", "show", "key", "password", "change" or another method, and whose.
type step struct{ user, method, owner, want string }

// try returns what became of an attempt: "in", "ended", or what is offered next, to which "none" is the question.
func (h *house) try(c *sshtest.Raw, s step) string {
	var in bool
	var err error
	switch s.method {
	case "show":
		if ok, _ := c.Query(s.user, h.keys[s.owner].PublicKey()); ok {
			return "shown"
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
		return "in"
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

// follow plays steps on one connection and compares who was served, and what the log says of it, with the last one.
func (h *house) follow(t *testing.T, steps ...step) {
	t.Helper()
	c := h.Server.DialRaw(t)
	want := ""
	for _, s := range steps {
		if got := h.try(c, s); got != s.want {
			t.Errorf("%s of %s as %s: %q, want %q", s.method, s.owner, s.user, got, s.want)
		}
		if s.want == "in" {
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

// expectOne asserts that the log knows of one login of one user, or of none where user is empty.
func (h *house) expectOne(t *testing.T, user string) {
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
		t.Errorf("also served: %q", <-h.served)
	}
}

func TestMethods(t *testing.T) {
	const key, password, both = "publickey", "password", "publickey+password"
	for _, tt := range []struct {
		name  string
		ways  []string
		steps []step
	}{
		{"the password", []string{password}, []step{{"alice", "password", "alice", "in"}}},
		{"the key", []string{key}, []step{{"alice", "key", "alice", "in"}}},
		{"a key where there are passwords", []string{password}, []step{{"alice", "key", "alice", "password"}, {"alice", "show", "alice", "password"}}},
		{"a password where there are keys", []string{key}, []step{{"alice", "password", "alice", "publickey"}}},
		{"either, the key", []string{key, password}, []step{{"alice", "none", "", "password,publickey"}, {"alice", "key", "alice", "in"}}},
		{"either, the password", []string{key, password}, []step{{"alice", "key", "mallory", "password,publickey"}, {"alice", "password", "alice", "in"}}},
		{"the key, then the password", []string{both}, []step{{"alice", "key", "alice", "password"}, {"alice", "password", "alice", "in"}}},
		{"a key that is only shown", []string{both}, []step{{"alice", "show", "alice", "shown"}, {"alice", "password", "alice", "publickey"}}},
		{"the key twice", []string{both}, []step{{"alice", "key", "alice", "password"}, {"alice", "key", "alice", "password"}}},
		{"the key again, shown", []string{both}, []step{{"alice", "key", "alice", "password"}, {"alice", "show", "alice", "password"}}},
		{"the password first", []string{both}, []step{{"alice", "password", "alice", "publickey"}, {"alice", "key", "alice", "password"}}},
		{"another's password", []string{both}, []step{{"alice", "key", "alice", "password"}, {"alice", "password", "mallory", "password"}}},
		{"another's key", []string{both}, []step{{"alice", "key", "mallory", "publickey"}, {"alice", "password", "alice", "publickey"}}},
		{"another user after the key", []string{both}, []step{{"alice", "key", "alice", "password"}, {"mallory", "password", "mallory", "ended"}}},
		{"none after the key", []string{both}, []step{{"alice", "key", "alice", "password"}, {"alice", "none", "", "password"}}},
		{"another user before the key", []string{both}, []step{{"mallory", "key", "alice", "publickey"}, {"alice", "key", "alice", "password"}, {"alice", "password", "alice", "in"}}},
		{"the password, then the key", []string{"password+publickey"}, []step{{"alice", "password", "alice", "publickey"}, {"alice", "key", "alice", "in"}}},
		{"the key before its turn", []string{"password+publickey"}, []step{{"alice", "key", "alice", "password"}}},
		{"another's key after the password", []string{"password+publickey"}, []step{{"alice", "password", "alice", "publickey"}, {"alice", "key", "mallory", "publickey"}}},
		{"another user after the password", []string{"password+publickey"}, []step{{"alice", "password", "alice", "publickey"}, {"mallory", "key", "mallory", "ended"}}},
		{"the short way", []string{both, password}, []step{{"alice", "password", "alice", "in"}}},
		{"the long way", []string{both, password}, []step{{"alice", "key", "alice", "password"}, {"alice", "password", "alice", "in"}}},
		{"a short way with a key", []string{both, key}, []step{{"alice", "key", "alice", "in"}}},
		{"both orders, the key", []string{both, "password+publickey"}, []step{{"alice", "none", "", "password,publickey"}, {"alice", "key", "alice", "password"}, {"alice", "password", "alice", "in"}}},
		{"both orders, the password", []string{both, "password+publickey"}, []step{{"alice", "password", "alice", "publickey"}, {"alice", "password", "alice", "publickey"}, {"alice", "key", "alice", "in"}}},
	} {
		t.Run(tt.name, func(t *testing.T) { openHouse(t, tt.ways...).follow(t, tt.steps...) })
	}
}

// What is not offered is not asked of anybody either.
func TestMethodsAskNobodyElse(t *testing.T) {
	for _, tt := range []struct {
		way, method string
		asked       string // what the sources were asked: passwords, keys
	}{
		{"password", "key", "0 0"},
		{"password", "show", "0 0"},
		{"password", "password", "1 0"},
		{"publickey", "password", "0 0"},
		{"publickey", "key", "0 2"},
		{"publickey+password", "password", "0 0"},
		{"password+publickey", "key", "0 0"},
		{"password+publickey", "show", "0 0"},
	} {
		h := openHouse(t, tt.way)
		h.try(h.Server.DialRaw(t), step{user: "alice", method: tt.method, owner: "alice"})
		if got := fmt.Sprint(len(h.passwords.answered()), h.asked()); got != tt.asked {
			t.Errorf("%s where %s leads in: %s asked, want %s", tt.method, tt.way, got, tt.asked)
		}
	}
}

// Who comes in is the user of the attempt that succeeded, whatever was claimed, shown or tried before.
func TestIdentity(t *testing.T) {
	const all = "password,publickey"
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"another's password before", []step{{"alice", "password", "mallory", all}, {"mallory", "password", "mallory", "in"}}},
		{"a shown key, proven by another", []step{{"alice", "show", "alice", "shown"}, {"mallory", "key", "mallory", "in"}}},
		{"a shown key, and another's for it", []step{{"alice", "show", "alice", "shown"}, {"alice", "key", "mallory", all}}},
		{"a shown key, another's password", []step{{"alice", "show", "alice", "shown"}, {"mallory", "password", "mallory", "in"}}},
		{"a shown key, another's password for it", []step{{"alice", "show", "alice", "shown"}, {"alice", "password", "mallory", all}}},
		{"a shown key, another's name for it", []step{{"alice", "show", "alice", "shown"}, {"mallory", "key", "alice", all}}},
		{"a question", []step{{"alice", "none", "", all}, {"mallory", "key", "mallory", "in"}}},
		{"a question in between", []step{{"mallory", "show", "mallory", "shown"}, {"alice", "none", "", all}, {"mallory", "key", "mallory", "in"}}},
		{"another method in between", []step{{"alice", "show", "alice", "shown"}, {"alice", "keyboard-interactive", "", all}, {"mallory", "password", "mallory", "in"}}},
		{"other methods only", []step{{"alice", "keyboard-interactive", "", all}, {"alice", "hostbased", "", all}, {"alice", "", "", all}}},
		{"a new password", []step{{"alice", "change", "alice", "ended"}}},
		{"a new password after a shown key", []step{{"alice", "show", "alice", "shown"}, {"mallory", "change", "mallory", "ended"}}},
		{"another's key", []step{{"mallory", "key", "alice", all}, {"alice", "key", "alice", "in"}}},
	} {
		t.Run(tt.name, func(t *testing.T) { openHouse(t, "publickey", "password").follow(t, tt.steps...) })
	}
}

// A session with a password has no key, also where one was shown before.
func TestIdentityHasNoOtherKey(t *testing.T) {
	h := openHouse(t, "publickey", "password")
	c := h.Server.DialRaw(t)
	h.try(c, step{user: "alice", method: "show", owner: "alice"})
	h.try(c, step{user: "alice", method: "password", owner: "alice"})
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
	h := openHouse(t, "publickey+password")
	h.follow(t, step{"alice", "key", "alice", "password"}, step{"alice", "password", "mallory", "password"}, step{"alice", "password", "alice", "in"})
	first := h.log.Line(t, "authentication continues", "user=alice", "method=publickey")
	if !strings.HasPrefix(first, "level=info") || strings.Contains(first, "err=") {
		t.Errorf("the first step is no failure: %s", first)
	}
	h.log.Line(t, "level=warn", "authentication failed", "user=alice", "method=password")
	h.log.Line(t, "level=info", "authentication succeeded", "user=alice", "method=password")
	h.log.Line(t, "session opened", "user=alice", "key="+gossh.FingerprintSHA256(h.keys["alice"].PublicKey()))
}

// permissions is a handler that says what the login may do and where from, and with which key.
func permissions(sess ssh.Session) {
	p := sess.Permissions()
	_, pty := p.Extensions[keyfile.PermitPTY]
	_, _ = fmt.Fprint(sess, p.Extensions[middleware.KeyFingerprint], " ", pty, " ", p.CriticalOptions["source-address"])
}

// What a key demands and permits is not forgotten over a password.
func TestMethodsKeepRestrictions(t *testing.T) {
	key := sshtest.HostKey(t)
	free := map[string]string{keyfile.PermitPTY: ""}
	from := func(network string) map[string]string { return map[string]string{"source-address": network} }
	fingerprint := gossh.FingerprintSHA256(key.PublicKey())
	for _, tt := range []struct {
		name         string
		shown, asked gossh.Permissions // the source's answers
		want         string            // empty: not let in
		pty          bool
	}{
		{"free", gossh.Permissions{Extensions: free}, gossh.Permissions{Extensions: free}, fingerprint + " true ", true},
		{"no PTY", gossh.Permissions{}, gossh.Permissions{}, fingerprint + " false ", false},
		{"no PTY any more", gossh.Permissions{Extensions: free}, gossh.Permissions{}, fingerprint + " false ", false},
		{"from here", gossh.Permissions{}, gossh.Permissions{CriticalOptions: from("127.0.0.0/8")}, fingerprint + " false 127.0.0.0/8", false},
		{"from elsewhere", gossh.Permissions{CriticalOptions: from("192.0.2.1")}, gossh.Permissions{}, "", false},
		{"from elsewhere by now", gossh.Permissions{}, gossh.Permissions{CriticalOptions: from("192.0.2.1")}, "", false},
	} {
		for _, way := range []string{"publickey", "publickey+password", "password+publickey"} {
			t.Run(tt.name+", "+way, func(t *testing.T) {
				answers := make(chan *gossh.Permissions, 2)
				answers <- &tt.shown
				answers <- &tt.asked
				source := sourceFunc(func(string, gossh.PublicKey) (*gossh.Permissions, error) { return <-answers, nil })
				srv := sshtest.Serve(t, middleware.PublicKey(source), checks(func(_, password string) bool { return password == "open" }), middleware.Methods(way), middleware.Handler("test", permissions))
				client, err := dialBoth(t, srv, key)
				if in := err == nil; in != (tt.want != "") {
					t.Fatalf("let in: %t, %v", in, err)
				}
				if err == nil {
					expect(t, sshtest.Run(t, client, sshtest.Visit{Term: "xterm"}), sshtest.Result{Stdout: tt.want, PTY: tt.pty})
				}
			})
		}
	}
}

// dialBoth connects with keys and the password "open", in whatever order is asked for.
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

// An agent with many keys reaches the password prompt.
func TestMethodsWithAnAgent(t *testing.T) {
	refuse := sourceFunc(func(string, gossh.PublicKey) (*gossh.Permissions, error) { return nil, nil })
	srv := sshtest.Serve(t, middleware.Logging(sshtest.NewLog().Events()), middleware.PublicKey(refuse), checks(func(_, password string) bool { return password == "open" }), middleware.Methods("publickey", "password"), middleware.Handler("test", whoami))
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
		{"a question and five", [][]step{attempts(1, "none", ""), attempts(5, "password", "mallory")}, false},
		{"a question and six", [][]step{attempts(1, "none", ""), attempts(6, "password", "mallory")}, true},
		{"a question too many", [][]step{attempts(7, "none", "")}, true},
		{"keys that are shown", [][]step{attempts(29, "show", "mallory")}, false},
		{"one too many", [][]step{attempts(30, "show", "mallory")}, true},
		{"keys that are proven", [][]step{attempts(30, "key", "mallory")}, true},
		{"passwords after keys", [][]step{attempts(29, "key", "mallory"), attempts(5, "password", "mallory")}, false},
		{"six passwords after keys", [][]step{attempts(29, "key", "mallory"), attempts(6, "password", "mallory")}, true},
		{"keys after passwords", [][]step{attempts(5, "password", "mallory"), attempts(30, "key", "mallory")}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := openHouse(t, "publickey", "password")
			c := h.Server.DialRaw(t)
			steps := slices.Concat(tt.steps...)
			for i, s := range steps {
				if err := h.refused(c, s); (err != nil) != (tt.ended && i == len(steps)-1) {
					t.Fatalf("attempt %d of %d: %v", i+1, len(steps), err)
				}
			}
			if tt.ended {
				h.log.Line(t, "level=warn", "too many failures")
				h.log.Line(t, "connection closed", `err="hung up on"`)
				return
			}
			if in, err := c.Password("alice", "alice's"); !in {
				t.Errorf("not let in after that: %v", err)
			}
		})
	}
}

// refused makes an attempt that asks nothing after it. The error is that of a connection that has ended.
func (h *house) refused(c *sshtest.Raw, s step) (err error) {
	switch s.method {
	case "password":
		_, err = c.Password(s.user, s.owner+"'s")
	case "key":
		_, err = c.PublicKey(s.user, h.keys[s.owner])
	case "show":
		_, err = c.Query(s.user, h.keys[s.owner].PublicKey())
	default:
		_, err = c.Attempt(s.user, "ssh-connection", s.method, gossh.Marshal(struct{ Language, Submethods string }{}))
	}
	return err
}

// The tries are those of the connection: a first step gives no new ones.
func TestMethodsBudgetOfTwoSteps(t *testing.T) {
	for wrong, want := range map[int]bool{2: true, 3: false} {
		h := openHouse(t, "publickey+password")
		c := h.Server.DialRaw(t)
		for range 3 {
			_, _ = c.Password("alice", "alice's") // before its turn
		}
		_, _ = c.PublicKey("alice", h.keys["alice"])
		for range wrong {
			_, _ = c.Password("alice", "mallory's")
		}
		if in, _ := c.Password("alice", "alice's"); in != want {
			t.Errorf("after three failures and %d: let in: %t", wrong, in)
		}
	}
}

// A first step that succeeds is no failure.
func TestMethodsBudgetSparesTheFirstStep(t *testing.T) {
	h := openHouse(t, "password+publickey")
	c := h.Server.DialRaw(t)
	for range 5 {
		_, _ = c.Password("alice", "mallory's")
	}
	_, _ = c.Password("alice", "alice's")
	if in, err := c.PublicKey("alice", h.keys["alice"]); !in {
		t.Errorf("not let in: %v", err)
	}
}

// Nothing is served to who is not in, and success is not for a client to declare.
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
		for _, before := range []string{"nothing", "none", "show", "password", "partial"} {
			t.Run(name+" after "+before, func(t *testing.T) { tryToSkip(t, before, packet) })
		}
	}
}

// tryToSkip sends a packet that is not for who is not in, and then asks for a session all the same.
func tryToSkip(t *testing.T, before string, packet []byte) {
	way := "publickey"
	if before == "partial" {
		before, way = "key", "publickey+password"
	}
	h := openHouse(t, way)
	served := make(chan string, 10)
	h.RequestHandlers["default"] = func(_ ssh.Context, _ *ssh.Server, req *gossh.Request) (bool, []byte) {
		served <- req.Type
		return true, nil
	}
	c := h.Server.DialRaw(t)
	if before != "nothing" {
		_ = h.refused(c, step{user: "alice", method: before, owner: "alice"})
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

// A panic in a source fails its attempt: not the connection, nor another one, nor the door.
func TestPanicFailsTheAttempt(t *testing.T) {
	for _, ways := range [][]string{{"publickey", "password"}, {"password+publickey"}, {"publickey+password"}} {
		t.Run(strings.Join(ways, ","), func(t *testing.T) {
			h := openHouse(t, ways...)
			other := h.Server.DialRaw(t)
			panicked := h.Server.DialRaw(t)
			in, err := panicked.Password("alice", "panic")
			if in || err != nil {
				t.Errorf("password: let in: %t, %v", in, err)
			}
			if in, err = panicked.PublicKey("panic", h.keys["alice"]); in || err != nil {
				t.Errorf("key: let in: %t, %v", in, err)
			}
			h.log.Line(t, "level=error", "panic in authentication", "stack=")
			h.log.Line(t, "authentication failed", "panic in authentication")
			for _, c := range []*sshtest.Raw{panicked, other} {
				if !h.letsIn(c) {
					t.Error("not let in after a panic")
				}
			}
		})
	}
}

// letsIn reports whether alice gets in with what she has, in whatever order.
func (h *house) letsIn(c *sshtest.Raw) bool {
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

// A password that nobody had the time to look at was no failure.
func TestMethodsForgiveABusyDoor(t *testing.T) {
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
			t.Fatalf("attempt %d: let in %t, error %v", i+1, in, err)
		}
	}
	if in, err := c.Password("alice", "right"); !in {
		t.Errorf("not let in after that: %v", err)
	}
}

type passwordSource func(password string) error

func (s passwordSource) VerifyFrom(_ context.Context, _ netip.Addr, _, password string) error {
	return s(password)
}

// A layer that lets in by a method of its own lets nobody in past the combinations, wherever it stands.
func TestMethodsWhereverTheyStand(t *testing.T) {
	key := sshtest.HostKey(t)
	keys := middleware.PublicKey(sourceFunc(func(_ string, offered gossh.PublicKey) (*gossh.Permissions, error) {
		if string(offered.Marshal()) != string(key.PublicKey().Marshal()) {
			return nil, errors.New("key not authorized")
		}
		return &gossh.Permissions{}, nil
	}))
	password := checks(func(_, password string) bool { return password == "right" })
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
				t.Errorf("list %d, %d methods: error %v, want to be let in: %t", i, len(tt.methods), err, tt.in)
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
	password := checks(func(_, password string) bool { return password == "right" })
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
	password := checks(func(_, _ string) bool { return false })
	other := middleware.Layer{Combinations: [][]string{{"publickey"}}}
	type layers = []middleware.Layer
	for _, tt := range []struct {
		name   string
		around layers
		ways   []string
		want   string
	}{
		{"none", layers{keys, password}, nil, "no authentication method is configured"},
		{"an empty one", layers{keys, password}, []string{""}, `unknown method ""`},
		{"one that nobody checks", layers{keys, password}, []string{"password", "keyboard-interactive"}, "no layer checks keyboard-interactive"},
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
		stack := append(slices.Clone(tt.around), middleware.Methods(tt.ways...))
		_, err := wish.NewServer(withKey(t), middleware.NewStack(append(stack, middleware.Message(""))...).Install)
		if err == nil || !strings.Contains(err.Error(), "layer methods: ") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one of layer methods with %q", tt.name, err, tt.want)
		}
	}
}
