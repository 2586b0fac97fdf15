package middleware_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
	"foyer/middleware/content"
	"foyer/middleware/sshtest"
)

// said returns what these rules say.
func said(t testing.TB, s content.Settings) *middleware.Content {
	t.Helper()
	table, err := content.New(s)
	if err != nil {
		t.Fatal(err)
	}
	return &middleware.Content{Table: table, Server: "example.org"}
}

// textFile returns texts with one file.
func textFile(t testing.TB, name, text string) *content.Texts {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return content.NewTexts(dir, nil)
}

func serveAnswers(t testing.TB, s content.Settings, before ...middleware.Layer) *sshtest.Server {
	t.Helper()
	layers := append([]middleware.Layer{middleware.Open()}, before...)
	return sshtest.Serve(t, append(layers, middleware.Answers(said(t, s)), middleware.Message(middleware.Fixed("the message\n")))...)
}

func TestAnswers(t *testing.T) {
	three := 3
	srv := serveAnswers(t, content.Settings{Answers: []content.Rule{
		{Users: []string{"alice"}, Text: "Hi {user}, from {address} by {method}.\n100% {command}", Exit: &three},
		{Request: []string{"exec", "subsystem"}, Text: "Not here:\n{command}"},
	}})
	for _, tt := range []struct {
		name  string
		visit sshtest.Visit
		want  sshtest.Result
	}{
		{"no rule fits", sshtest.Visit{}, sshtest.Result{Stdout: "the message\n"}},
		{"shell", sshtest.Visit{User: "alice"}, sshtest.Result{Stdout: "Hi alice, from 127.0.0.1 by none.\n100% \n", Status: 3}},
		{"terminal", sshtest.Visit{User: "alice", Term: "xterm"}, sshtest.Result{Stdout: "Hi alice, from 127.0.0.1 by none.\r\n100% \r\n", Status: 3, PTY: true}},
		{"command", sshtest.Visit{Command: "ls\x1b[2J"}, sshtest.Result{Stderr: "Not here:\nls\\x1b[2J\n", Status: 1}},
		{"git", sshtest.Visit{Command: "git-upload-pack 'a'"}, sshtest.Result{Stdout: "0025ERR Not here:\ngit-upload-pack 'a'", Status: 1}},
		{"scp", sshtest.Visit{Command: "scp -f a"}, sshtest.Result{Stdout: "\x02Not here: scp -f a\n", Status: 1}},
		{"subsystem", sshtest.Visit{Subsystem: "netconf"}, sshtest.Result{Stderr: "Not here:\nnetconf\n", Status: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) { expect(t, srv.Visit(t, tt.visit), tt.want) })
	}
}

// A page is laid out for a terminal, and the same for all programs.
func TestAnswersInMarkdown(t *testing.T) {
	const page = "# Welcome\n\nThis is *one* long line that does not fit into the width of a narrow terminal; see [home](https://example.org)."
	s := content.Settings{Answers: []content.Rule{{File: "page.md"}}, Texts: textFile(t, "page.md", page)}
	srv := serveAnswers(t, s)
	const program = "Welcome\n=======\n\nThis is one long line that does not fit into the width of a narrow terminal; see\nhome (https://example.org).\n"
	expect(t, srv.Visit(t, sshtest.Visit{}), sshtest.Result{Stdout: program})
	expect(t, srv.Visit(t, sshtest.Visit{Command: "ls"}), sshtest.Result{Stderr: program, Status: 1})
	dumb := srv.Visit(t, sshtest.Visit{Term: "dumb", Width: 40})
	expect(t, dumb, sshtest.Result{PTY: true, Stdout: "Welcome\r\n=======\r\n\r\n" +
		"This is one long line that does not fit\r\ninto the width of a narrow terminal; see\r\nhome (https://example.org).\r\n"})
	for term, want := range map[string]string{"xterm-256color": "home\x1b[m (https://example.org)", "xterm-kitty": "(https://example.org)", "kitty": "\x1b]8;;https://example.org\x07"} {
		got := srv.Visit(t, sshtest.Visit{Term: term, Width: 80})
		if !strings.Contains(got.Stdout, want) || !strings.Contains(got.Stdout, "\x1b[") {
			t.Errorf("%s: %q", term, got.Stdout)
		}
	}
	refusing := serveAnswers(t, s, refusePTY())
	expect(t, refusing.Visit(t, sshtest.Visit{Term: "xterm", Width: 40}), sshtest.Result{Stdout: program})
}

// A long answer is not copied for a visitor, who may read it slowly: it is written in pieces of a text that all share.
func TestAnswersAreShared(t *testing.T) {
	long := strings.Repeat("a line\n", 30000)
	s := said(t, content.Settings{Answers: []content.Rule{{Text: long}}})
	largest := &largestWrite{}
	record := middleware.Layer{Session: func(next ssh.Handler) ssh.Handler {
		return func(sess ssh.Session) { next(recorded{sess, largest}) }
	}}
	srv := sshtest.Serve(t, middleware.Open(), record, middleware.Answers(s), middleware.Message(middleware.Fixed("")))
	expect(t, srv.Visit(t, sshtest.Visit{}), sshtest.Result{Stdout: long})
	if largest.n > 8<<10 {
		t.Errorf("%d bytes are written at once", largest.n)
	}
	visit := &content.Visit{}
	answer, _ := s.Table.Answer(visit)
	if allocated := testing.AllocsPerRun(10, func() { _ = answer.Text(visit, content.View{}) }); allocated > 2 {
		t.Errorf("%v allocations", allocated)
	}
}

// recorded is a session that records its largest write.
type recorded struct {
	ssh.Session
	largest *largestWrite
}

type largestWrite struct{ n int }

func (r recorded) Write(p []byte) (int, error) {
	r.largest.n = max(r.largest.n, len(p))
	return r.Session.Write(p)
}

// Notices are for people, before the answer. Programs get none.
func TestNotices(t *testing.T) {
	s := said(t, content.Settings{
		Answers: []content.Rule{{Text: "the answer"}},
		Notices: []content.Rule{{Text: "one"}, {Users: []string{"bob"}, Text: "two"}, {Text: "three {left}", Until: time.Now().Add(3*time.Hour + time.Minute)}},
	})
	srv := sshtest.Serve(t, middleware.Open(), middleware.Notices(s), middleware.Answers(s), middleware.Message(middleware.Fixed("")))
	expect(t, srv.Visit(t, sshtest.Visit{}), sshtest.Result{Stdout: "the answer\n"})
	expect(t, srv.Visit(t, sshtest.Visit{Term: "xterm"}), sshtest.Result{Stdout: "the answer\r\n", Stderr: "one\r\nthree in 3 hours\r\n", PTY: true})
	expect(t, srv.Visit(t, sshtest.Visit{Command: "ls"}), sshtest.Result{Stderr: "the answer\n", Status: 1})
}

// The banner comes before authentication, also to those who cannot authenticate.
func TestBanner(t *testing.T) {
	s := said(t, content.Settings{Banner: &content.Rule{Text: "This is {server}, you are {address}."}})
	srv := sshtest.Serve(t, middleware.Banner(s), passwordLayer(func(_, password string) bool { return password == "right" }), middleware.Message(middleware.Fixed("")))
	for _, password := range []string{"right", "wrong"} {
		var banners []string
		client, err := gossh.Dial("tcp", srv.Address, &gossh.ClientConfig{
			User: "guest", Auth: []gossh.AuthMethod{gossh.Password(password)}, HostKeyCallback: gossh.InsecureIgnoreHostKey(),
			BannerCallback: func(text string) error { banners = append(banners, text); return nil },
		})
		if (err == nil) != (password == "right") {
			t.Errorf("%s: %v", password, err)
		}
		if err == nil {
			_ = client.Close()
		}
		if len(banners) != 1 || banners[0] != "This is example.org, you are 127.0.0.1.\n" {
			t.Errorf("%s: banners %q", password, banners)
		}
	}
}

// The fixed sentences can be replaced, each by its name.
func TestSentences(t *testing.T) {
	s := said(t, content.Settings{Groups: map[string][]string{"staff": {"guest"}}})
	srv := sshtest.Serve(t, middleware.Open(), middleware.Sentences(s, map[string]string{
		"greeting": "Welcome to {server}, {user}.", "pty-refused": "No terminal, {user}.", "commands": "No {command}.", "files": "No files.", "repositories": "No repositories, {group}.",
	}), middleware.PTYNotice(), middleware.ForwardNotice(), middleware.Greeting(middleware.Fixed("Hi")), middleware.Message(middleware.Fixed("bye\n")))
	for _, tt := range []struct {
		visit sshtest.Visit
		want  sshtest.Result
	}{
		{sshtest.Visit{Term: "xterm"}, sshtest.Result{Stdout: "bye\n", Stderr: "No terminal, guest.\r\nWelcome to example.org, guest.\r\n"}},
		{sshtest.Visit{Command: "ls"}, sshtest.Result{Stderr: "No ls.\nbye\n", Status: 1}},
		{sshtest.Visit{Command: "rsync --server"}, sshtest.Result{Stderr: "No files.\nbye\n", Status: 1}},
		{sshtest.Visit{Command: "git-upload-pack a"}, sshtest.Result{Stdout: "0023ERR No repositories, staff.\nbye", Status: 1}},
	} {
		expect(t, srv.Visit(t, tt.visit), tt.want)
	}
	for name, text := range map[string]string{"no-such": "a", "files": "{usr}"} {
		err := middleware.NewStack(middleware.Open(), middleware.Sentences(s, map[string]string{name: text}), middleware.Message(middleware.Fixed(""))).
			Install(newServer(t, middleware.Open(), middleware.Message(middleware.Fixed(""))))
		if err == nil || !strings.Contains(err.Error(), "layer sentences: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Who visits is taken from the method that was verified: from the certificate or the key that was proven, not from one that
// was only shown, and from all steps of a combination.
func TestAnswersKnowWhoVisits(t *testing.T) {
	ca, alice, mallory := sshtest.HostKey(t), sshtest.HostKey(t), sshtest.HostKey(t)
	print := func(key gossh.Signer) string { return gossh.FingerprintSHA256(key.PublicKey()) }
	answers := middleware.Answers(said(t, content.Settings{Answers: []content.Rule{
		{Principals: []string{"alice"}, Text: "certificate {certificate} {method}"},
		{Keys: []string{print(alice)}, Text: "alice's key"},
		{Keys: []string{print(mallory)}, Text: "mallory's key {key}"},
	}}))
	dir := keyDir(t, map[string]string{"alice": authorizedLine(alice), "mallory": authorizedLine(mallory)})
	srv, _ := serveKeys(t, middleware.Message(middleware.Fixed("")), dir, ca, answers)
	for _, tt := range []struct {
		user string
		key  gossh.Signer
		want string
	}{
		{"alice", certify(t, ca, alice, "alice"), "certificate id\\nof alice publickey\n"},
		{"alice", alice, "alice's key\n"},
		{"mallory", mallory, "mallory's key " + print(mallory) + "\n"},
	} {
		client, err := dialKey(t, srv, tt.user, tt.key)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, sshtest.Run(t, client, sshtest.Visit{}), sshtest.Result{Stdout: tt.want})
	}

	raw := srv.DialRaw(t)
	if ok, err := raw.Query("alice", alice.PublicKey()); !ok {
		t.Fatal(err)
	}
	if in, err := raw.PublicKey("mallory", mallory); !in {
		t.Fatal(err)
	}
	if err := raw.Shell(); err != nil {
		t.Fatal(err)
	}
	packet, err := raw.Await(sshtest.MsgChannelData)
	if err != nil || !strings.Contains(string(packet), "mallory's key") {
		t.Errorf("%q, %v", packet, err)
	}

	both := sshtest.Serve(t, middleware.PublicKey(sourceFunc(func(string, gossh.PublicKey) (*gossh.Permissions, error) { return &gossh.Permissions{}, nil })),
		passwordLayer(func(_, password string) bool { return password == "open" }), middleware.Methods("publickey+password"),
		middleware.Answers(said(t, content.Settings{Answers: []content.Rule{{Methods: []string{"publickey+password"}, Keys: []string{print(alice)}, Text: "both"}}})),
		middleware.Message(middleware.Fixed("")))
	client, err := dialBoth(t, both, alice)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, sshtest.Run(t, client, sshtest.Visit{}), sshtest.Result{Stdout: "both\n"})
}
