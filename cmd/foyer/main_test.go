//go:build !windows

package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"syscall"
	"testing"

	"foyer/middleware/sshtest"

	"github.com/rogpeppe/go-internal/testscript"
)

// The scripts in testdata/script run this test binary as foyer, and the system's ssh.
func TestMain(m *testing.M) {
	// A program built with -race sleeps for a second before it exits, and the scripts run many.
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0")
	testscript.Main(m, map[string]func(){
		"foyer": underTest,
		// ssh runs this to read the password (SSH_ASKPASS).
		"askpass": func() { fmt.Println(os.Getenv("PASSWORD")) },
	})
}

func TestScripts(t *testing.T) {
	_, err := exec.LookPath("ssh")
	sshtest.Need(t, "ssh", "apt-get install openssh-client", err == nil)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", os.Getenv("GORACE"))
			env.Setenv("SSH_ASKPASS", "askpass")
			env.Setenv("SSH_ASKPASS_REQUIRE", "force")
			env.Values[scriptKey] = &scriptState{}
			return os.Chmod(env.WorkDir, 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve":     startCommand,
			"terminate": stopCommand,
			"signal":    signalCommand,
			"log":       waitForLog,
			"mode":      checkMode,
		},
	})
}

// scriptState is the state that the commands of a script share.
type scriptState struct{ srv *process }

type key string

const scriptKey = key("state")

// startCommand is "serve [FLAG...]": it starts foyer on a free port and waits for its announcement. It sets $PORT, and
// $PASSWORD where one is printed, and writes ssh_config for "ssh -F ssh_config server". The announcement is in server.out,
// the log in server.log.
func startCommand(ts *testscript.TestScript, _ bool, args []string) {
	var env []string
	for _, name := range []string{"FOYER_PTY", "FOYER_MESSAGE", "FOYER_GREETING", "FOYER_OPEN"} {
		env = append(env, name+"="+ts.Getenv(name))
	}
	srv, err := start(ts.MkAbs("."), env, args)
	ts.Check(err)
	ts.Defer(srv.kill)
	ts.Value(scriptKey).(*scriptState).srv = srv
	ts.Setenv("PORT", srv.port)
	if srv.password != "" {
		ts.Setenv("PASSWORD", srv.password)
	}
	ts.Check(os.WriteFile(ts.MkAbs("server.out"), []byte(srv.announcement), 0o600))
}

// stopCommand is "[!] terminate [TERM|INT|KILL]": it sends the signal, TERM by default, and waits for foyer to exit, with
// status 0 unless it is negated. It cannot be called "stop", which is testscript's own and ends the script.
func stopCommand(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]os.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "KILL": syscall.SIGKILL}
	name := "TERM"
	if len(args) > 0 {
		name = args[0]
	}
	err := ts.Value(scriptKey).(*scriptState).srv.stop(signals[name])
	if (err != nil) != neg {
		ts.Fatalf("after %s foyer exited with %v", name, err)
	}
}

// signalCommand is "signal HUP|USR1": it sends the signal.
func signalCommand(ts *testscript.TestScript, _ bool, args []string) {
	signals := map[string]os.Signal{"HUP": syscall.SIGHUP, "USR1": syscall.SIGUSR1}
	ts.Check(ts.Value(scriptKey).(*scriptState).srv.cmd.Process.Signal(signals[args[0]]))
}

// waitForLog is "[!] log REGEXP": it waits for a line of the log that matches, or checks that there is none.
func waitForLog(ts *testscript.TestScript, neg bool, args []string) {
	pattern := regexp.MustCompile("(?m)" + args[0])
	found := func() bool { return pattern.MatchString(ts.ReadFile("server.log")) }
	switch {
	case neg && found():
		ts.Fatalf("the log has %q:\n%s", args[0], ts.ReadFile("server.log"))
	case !neg && !sshtest.Within(sshtest.Patience, found):
		ts.Fatalf("the log has no %q:\n%s", args[0], ts.ReadFile("server.log"))
	}
}

// checkMode is "mode MODE FILE": the file's permissions are these.
func checkMode(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[0] {
		ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
	}
}
