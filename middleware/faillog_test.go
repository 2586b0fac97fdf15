package middleware_test

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
	"foyer/middleware/eventlog"
	"foyer/middleware/sshtest"
)

func knowsAda(user string) bool { return user == "ada" }

// serveFailLog serves a FailLog, where only ada can log in, and returns the log.
func serveFailLog(t *testing.T, layers ...middleware.Layer) (*sshtest.Server, *sshtest.Log) {
	t.Helper()
	l := sshtest.NewLog()
	right := func(user, password string) bool { return user == "ada" && password == "right" }
	layers = append(layers, middleware.FailLog(l, knowsAda), passwordLayer(right))
	return sshtest.Serve(t, append(layers, middleware.Handler("test", whoami))...), l
}

// attempts connects, attempts a wrong password for each user, and disconnects. It returns the client's port.
func attempts(t *testing.T, srv *sshtest.Server, l *sshtest.Log, users ...string) string {
	t.Helper()
	client := srv.DialRaw(t)
	for _, user := range users {
		if in, err := client.Password(user, "wrong"); in || err != nil {
			t.Fatalf("%q: authenticated: %t, error: %v", user, in, err)
		}
	}
	_, port, _ := strings.Cut(client.Conn.LocalAddr().String(), ":")
	sshtest.HalfClose(client.Conn)
	l.Line(t, "Connection closed", "port "+port+" ")
	return port
}

var failPrefix = regexp.MustCompile(`(?m)^[A-Z][a-z]{2} [ 1-3][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} [A-Za-z0-9._-]+ sshd\[([0-9]+)\]: `)

// wantLines compares the lines of the log after their prefixes, of which the number of the connection stays, counted from 1.
func wantLines(t *testing.T, l *sshtest.Log, want ...string) {
	t.Helper()
	first := 0
	got := failPrefix.ReplaceAllStringFunc(l.String(), func(prefix string) string {
		number, err := strconv.Atoi(failPrefix.FindStringSubmatch(prefix)[1])
		if err != nil {
			t.Fatal(err)
		}
		first = cmp.Or(first, number)
		return strconv.Itoa(number-first+1) + " "
	})
	if want := strings.Join(want, "\n") + "\n"; got != want {
		t.Errorf("the log is\n%swant\n%s", got, want)
	}
}

func TestFailLog(t *testing.T) {
	srv, l := serveFailLog(t)
	first := attempts(t, srv, l, "ada", "ada")
	second := attempts(t, srv, l, "bob", "bob")
	nameless := attempts(t, srv, l, "")
	client, err := srv.Dial("ada", "right")
	if err != nil {
		t.Fatal(err)
	}
	_, third, _ := strings.Cut(client.LocalAddr().String(), ":")
	_ = client.Close()
	fourth := attempts(t, srv, l, strings.Repeat("u", 300)) // the end of the one before writes no line
	at := func(port string) string { return " 127.0.0.1 port " + port }
	wantLines(t, l,
		"1 Failed password for ada from"+at(first)+" ssh2",
		"1 Failed password for ada from"+at(first)+" ssh2",
		"1 Connection closed by authenticating user ada"+at(first)+" [preauth]",
		"2 Failed password for invalid user bob from"+at(second)+" ssh2",
		"2 Failed password for invalid user bob from"+at(second)+" ssh2",
		"2 Invalid user bob from"+at(second),
		"2 Connection closed by invalid user bob"+at(second)+" [preauth]",
		"3 Failed password for invalid user _ from"+at(nameless)+" ssh2",
		"3 Invalid user _ from"+at(nameless),
		"3 Connection closed by invalid user _"+at(nameless)+" [preauth]",
		"4 Accepted password for ada from"+at(third)+" ssh2",
		"5 Failed password for invalid user "+strings.Repeat("u", 64)+" from"+at(fourth)+" ssh2",
		"5 Invalid user "+strings.Repeat("u", 64)+" from"+at(fourth),
		"5 Connection closed by invalid user "+strings.Repeat("u", 64)+at(fourth)+" [preauth]",
	)
}

// Other methods write a line only when the connection ends, and only where the client has named a user.
func TestFailLogOfOtherMethods(t *testing.T) {
	srv, l := serveFailLog(t)
	sshtest.HalfClose(srv.DialTCP(t))
	client := srv.DialRaw(t)
	if _, err := client.Attempt("bob", "ssh-connection", "none", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := client.PublicKey("bob", sshtest.HostKey(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Attempt("bob", "ssh-connection", "password for root from 192.0.2.1", nil); err != nil {
		t.Fatal(err)
	}
	if l.String() != "" {
		t.Errorf("the log is\n%s", l)
	}
	_, port, _ := strings.Cut(client.Conn.LocalAddr().String(), ":")
	sshtest.HalfClose(client.Conn)
	l.Line(t, "Connection closed by invalid user bob 127.0.0.1 port "+port+" [preauth]")
	if got := strings.Count(l.String(), "\n"); got != 2 {
		t.Errorf("%d lines, want two:\n%s", got, l)
	}
}

// A correct password that is the first of two factors is not a failure.
func TestFailLogOfAFirstFactor(t *testing.T) {
	l := sshtest.NewLog()
	half := configures(func(cfg *gossh.ServerConfig) {
		cfg.PasswordCallback = func(gossh.ConnMetadata, []byte) (*gossh.Permissions, error) {
			return nil, &gossh.PartialSuccessError{Next: gossh.ServerAuthCallbacks{
				KeyboardInteractiveCallback: func(gossh.ConnMetadata, gossh.KeyboardInteractiveChallenge) (*gossh.Permissions, error) {
					return nil, errors.New("wrong code")
				},
			}}
		}
	}, "password", "keyboard-interactive")
	srv := sshtest.Serve(t, middleware.FailLog(l, nil), half, middleware.Handler("test", whoami))
	client := srv.DialRaw(t)
	if _, err := client.Password("bob", "right"); err != nil {
		t.Fatal(err)
	}
	questions := gossh.Marshal(struct{ Language, Hints string }{})
	if _, err := client.Attempt("bob", "ssh-connection", "keyboard-interactive", questions); err != nil {
		t.Fatal(err)
	}
	l.Line(t, "]: Partial password for bob from 127.0.0.1 port ")
	l.Line(t, "]: Failed keyboard-interactive for bob from 127.0.0.1 port ", " ssh2")
	sshtest.HalfClose(client.Conn)
	l.Line(t, "Connection closed by authenticating user bob")
}

func TestFailLogWriteError(t *testing.T) {
	logged := sshtest.NewLog()
	full := middleware.FailLog(badWriter{}, nil)
	right := func(_, password string) bool { return password == "right" }
	srv := sshtest.Serve(t, middleware.Logging(logged.Events()), full, passwordLayer(right), middleware.Handler("test", whoami))
	expect(t, srv.Visit(t, sshtest.Visit{Password: "right"}), sshtest.Result{Stdout: "guest"})
	logged.Line(t, "failed login not written", "no space left")
}

type badWriter struct{}

func (badWriter) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestFailLogNeedsAWriter(t *testing.T) {
	err := middleware.NewStack(middleware.Open(), middleware.FailLog(nil, nil), middleware.Handler("test", whoami)).Install(&ssh.Server{})
	if err == nil || err.Error() != "layer faillog: no writer" {
		t.Errorf("error %v", err)
	}
}

// lines notes writes that are not exactly one line.
type lines struct{ *sshtest.Log }

func (l lines) Write(p []byte) (int, error) {
	if n := strings.Count(string(p), "\n"); n != 1 || p[len(p)-1] != '\n' {
		_, _ = fmt.Fprintf(l.Log, "%d lines at once", n)
	}
	return l.Log.Write(p)
}

func TestFailLogWritesWholeLines(t *testing.T) {
	l := sshtest.NewLog()
	srv := sshtest.Serve(t, middleware.FailLog(lines{l}, nil), passwordLayer(func(string, string) bool { return false }), middleware.Handler("test", whoami))
	concurrently(20, func(i int) {
		if client, err := srv.Dial(fmt.Sprint("user", i, "\n"), "wrong"); err == nil {
			_ = client.Close()
			t.Error("authenticated")
		}
	})
	for i := range 20 {
		l.Line(t, fmt.Sprintf("Failed password for user%d_ from", i))
		l.Line(t, fmt.Sprintf("Connection closed by authenticating user user%d_ ", i))
	}
	if rest := failPrefix.ReplaceAllString(l.String(), ""); strings.Count(rest, "\n") != 40 || strings.Contains(rest, "at once") {
		t.Errorf("the log is\n%s", l)
	}
}

// spoofs are user names that look like the rest of a line, for every place where a line has a name.
var spoofs = []string{
	"x from 192.0.2.1 port 22 ssh2", "x from 192.0.2.1 port 22 ssh2: ", "x from 192.0.2.1", "from 192.0.2.1", " from 192.0.2.1 port 22 ssh2",
	"invalid user x from 192.0.2.1 port 22 ssh2", "x\u00a0from\u00a0192.0.2.1\u00a0port\u00a022\u00a0ssh2", "x\tfrom\t192.0.2.1",
	"x\nNov 22 16:20:00 host sshd[2]: Failed password for root from 192.0.2.1 port 22 ssh2", "192.0.2.1", "x 192.0.2.1 port 22 [preauth]",
	"x\r\nNov 22 16:20:00 host sshd[2]: Invalid user root from 192.0.2.1 port 22\r\n", "x\u2028from 192.0.2.1", "", " ", ":", "\xff", "é", "\x00",
}

// fail2ban finds every failure with its stock filter, whatever the user name, and only the addresses that have connected.
func TestFailLogForFail2ban(t *testing.T) {
	const filter = "/etc/fail2ban/filter.d/sshd.conf"
	_, err := exec.LookPath("fail2ban-regex")
	sshtest.Need(t, "fail2ban-regex", "apt-get install fail2ban", err == nil)
	srv, l := serveFailLog(t)
	for _, user := range append(spoofs, "ada", "bob") {
		attempts(t, srv, l, user)
	}
	client, err := srv.Dial("ada", "right")
	if err != nil {
		t.Fatal(err)
	}
	_ = client.Close()
	path := filepath.Join(t.TempDir(), "auth.log")
	if err := os.WriteFile(path, []byte(l.String()), 0o600); err != nil {
		t.Fatal(err)
	}

	report, err := exec.Command("fail2ban-regex", "--print-all-missed", path, filter).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, report)
	}
	// In the stock filter's default mode the passwords and the invalid users are failures. The ends of the connections and
	// ada's success are not.
	n, others := 2*(len(spoofs)+1)+1, len(spoofs)+3
	if want := fmt.Sprintf("Lines: %d lines, %d ignored, %d matched, 0 missed", n+others, others, n); !strings.Contains(string(report), want) {
		t.Errorf("want %q in\n%s\nof\n%s", want, report, l)
	}
	hosts, err := exec.Command("fail2ban-regex", "-o", "ip", path, filter).Output()
	if want := strings.Repeat("127.0.0.1\n", n); err != nil || strings.TrimSpace(string(hosts))+"\n" != want {
		t.Errorf("hosts %q, error %v, want %d times 127.0.0.1", hosts, err, n)
	}
}

// crowdsec has the patterns of crowdsecurity/sshd-logs for these lines. None of them matches the end of an invalid user's
// connection.
var crowdsec = regexp.MustCompile(strings.NewReplacer("USERNAME", `[a-zA-Z0-9._-]+`, "IP", `([0-9.]+|[0-9a-f:]+)`, "NUMBER", `[0-9]+`).Replace(
	`]: (?:Failed password for (?:invalid user )?USERNAME from IP port NUMBER ssh2|Invalid user\s*USERNAME from IP port NUMBER|` +
		`Connection closed by authenticating user USERNAME IP port NUMBER \[preauth\])\n$`))

func TestFailLogForCrowdSec(t *testing.T) {
	srv, l := serveFailLog(t)
	for _, user := range append(spoofs, "ada") {
		attempts(t, srv, l, user)
	}
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, "closed by invalid") {
			continue
		}
		if found := crowdsec.FindStringSubmatch(line); found == nil || slices.Max(found[1:]) != "127.0.0.1" {
			t.Errorf("line %q", line)
		}
	}
}

// The lines are taken from the log's budget. Otherwise one address could write half a megabyte a second.
func TestFailLogIsLimited(t *testing.T) {
	log := sshtest.NewLog()
	events := eventlog.New(eventlog.Config{Logger: log.Logger(), Rate: 1, Now: func() time.Time { return time.Unix(0, 0) }})
	closed := make(chan struct{}, 2)
	srv, l := serveFailLog(t, notifyClosed(closed), middleware.Logging(events))
	attempts(t, srv, l, "ada")
	sshtest.Receive(t, closed)
	before := l.String()
	for range int(eventlog.Burst / time.Second) {
		events.Unauthenticated().Warn("a flood")
	}
	client := srv.DialRaw(t)
	if _, err := client.Password("ada", "wrong"); err != nil {
		t.Fatal(err)
	}
	sshtest.HalfClose(client.Conn)
	sshtest.Receive(t, closed)
	if got := l.String(); got != before {
		t.Errorf("the log is\n%s", got)
	}
}
