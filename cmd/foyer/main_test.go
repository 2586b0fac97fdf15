package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"syscall"
	"testing"
	"time"

	"foyer/middleware/sshtest"

	"github.com/rogpeppe/go-internal/testscript"
)

// The stories in testdata/script run the real programs: this test binary as foyer, and the system's ssh.
func TestMain(m *testing.M) {
	// A program built with -race sleeps for a second before it exits, and stories run many.
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0")
	testscript.Main(m, map[string]func(){
		"foyer": underTest,
		// ssh asks this for the password (SSH_ASKPASS).
		"askpass": func() { fmt.Println(os.Getenv("PASSWORD")) },
	})
}

func TestStories(t *testing.T) {
	_, err := exec.LookPath("ssh")
	sshtest.Need(t, "ssh", "apt-get install openssh-client", err == nil)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", os.Getenv("GORACE"))
			env.Setenv("SSH_ASKPASS", "askpass")
			env.Setenv("SSH_ASKPASS_REQUIRE", "force")
			env.Values[storyKey] = &story{}
			return os.Chmod(env.WorkDir, 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"door":  openDoor,
			"close": closeDoor,
			"log":   waitForLog,
			"mode":  checkMode,
		},
	})
}

// story is what the commands of one script share.
type story struct{ door *process }

type key string

const storyKey = key("story")

// openDoor is "door [FLAG...]": it starts foyer on a free port and waits until it has announced itself. It sets
// $PORT, and $PASSWORD where one is printed, and writes ssh_config for "ssh -F ssh_config door". The announcement is
// in door.out, the log in door.log.
func openDoor(ts *testscript.TestScript, _ bool, args []string) {
	var env []string
	for _, name := range []string{"FOYER_PTY", "FOYER_MESSAGE", "FOYER_GREETING", "FOYER_OPEN"} {
		env = append(env, name+"="+ts.Getenv(name))
	}
	door, err := start(ts.MkAbs("."), env, append([]string{"--log-format", "logfmt"}, args...))
	ts.Check(err)
	ts.Defer(door.kill)
	ts.Value(storyKey).(*story).door = door
	ts.Setenv("PORT", door.port)
	if door.password != "" {
		ts.Setenv("PASSWORD", door.password)
	}
	ts.Check(os.WriteFile(ts.MkAbs("door.out"), []byte(door.card), 0o600))
}

// closeDoor is "[!] close [TERM|INT|KILL]": it sends the signal, TERM by default, and waits for foyer to exit, with
// status 0 unless it is negated.
func closeDoor(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]os.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "KILL": syscall.SIGKILL}
	name := "TERM"
	if len(args) > 0 {
		name = args[0]
	}
	err := ts.Value(storyKey).(*story).door.stop(signals[name])
	if (err != nil) != neg {
		ts.Fatalf("after %s foyer exited with %v", name, err)
	}
}

// waitForLog is "[!] log REGEXP": it waits for a line of the log that matches, or checks that there is none.
func waitForLog(ts *testscript.TestScript, neg bool, args []string) {
	pattern := regexp.MustCompile("(?m)" + args[0])
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		text := ts.ReadFile("door.log")
		switch found := pattern.MatchString(text); {
		case found && neg:
			ts.Fatalf("the log has %q:\n%s", args[0], text)
		case found, neg:
			return
		case time.Now().After(deadline):
			ts.Fatalf("the log has no %q:\n%s", args[0], text)
		}
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
