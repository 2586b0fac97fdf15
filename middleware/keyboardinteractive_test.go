package middleware_test

import (
	"errors"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
	"foyer/middleware/sshtest"
)

// answering is the method "keyboard-interactive" of a client that gives these answers, and notes the prompts.
func answering(prompts *[]string, answers ...string) gossh.AuthMethod {
	return gossh.KeyboardInteractive(func(_, _ string, questions []string, echos []bool) ([]string, error) {
		for i, question := range questions {
			*prompts = append(*prompts, question)
			if echos[i] {
				return nil, errors.New("the password would be shown")
			}
		}
		return answers[:min(len(answers), len(questions))], nil
	})
}

func TestKeyboardInteractive(t *testing.T) {
	users := verifier(func(user, password string) bool { return user == "alice" && password == "right" })
	srv := sshtest.Serve(t, middleware.Password(users), middleware.KeyboardInteractive(users), middleware.Methods("password", "keyboard-interactive"), middleware.Handler("test", whoami))
	for _, tt := range []struct {
		user, answer string
		in           bool
	}{{"alice", "right", true}, {"alice", "wrong", false}, {"bob", "right", false}, {"alice", "", false}} {
		var prompts []string
		client, err := gossh.Dial("tcp", srv.Address, &gossh.ClientConfig{
			User: tt.user, Auth: []gossh.AuthMethod{answering(&prompts, tt.answer)}, HostKeyCallback: gossh.InsecureIgnoreHostKey(), Timeout: sshtest.Patience,
		})
		if (err == nil) != tt.in {
			t.Errorf("%s with %q: %v", tt.user, tt.answer, err)
		}
		if len(prompts) != 1 || prompts[0] != "Password: " {
			t.Errorf("asked %q", prompts)
		}
		if client != nil {
			expect(t, sshtest.Run(t, client, sshtest.Visit{}), sshtest.Result{Stdout: "alice"})
			_ = client.Close()
		}
	}
}

// Its attempts and those with passwords have one budget, and a change of the user after an answer ends the connection.
func TestKeyboardInteractiveBudget(t *testing.T) {
	users := verifier(func(user, password string) bool { return password == "right" })
	srv := sshtest.Serve(t, middleware.Password(users), middleware.KeyboardInteractive(users), middleware.Methods("password", "keyboard-interactive"), middleware.Handler("test", whoami))
	answer := func(c *sshtest.Raw, user, password string) (in bool, err error) {
		if err := c.Write(sshtest.Message(sshtest.MsgUserauthRequest, user, "ssh-connection", "keyboard-interactive", "", "")); err != nil {
			return false, err
		}
		if _, err := c.Await(60); err != nil { // SSH_MSG_USERAUTH_INFO_REQUEST
			return false, err
		}
		if err := c.Write(sshtest.Message(61, uint32(1), password)); err != nil {
			return false, err
		}
		reply, err := c.Await(sshtest.MsgUserauthSuccess, sshtest.MsgUserauthFailure)
		return err == nil && reply[0] == sshtest.MsgUserauthSuccess, err
	}
	c := srv.DialRaw(t)
	for i := range 6 {
		var err error
		if i%2 == 0 {
			_, err = answer(c, "alice", "wrong")
		} else {
			_, err = c.Password("alice", "wrong")
		}
		if (err != nil) != (i == 5) {
			t.Fatalf("attempt %d: %v", i+1, err)
		}
	}
	c = srv.DialRaw(t)
	if in, err := answer(c, "alice", "wrong"); in || err != nil {
		t.Fatal(in, err)
	}
	if in, err := answer(c, "bob", "right"); in || err == nil {
		t.Errorf("another user on the same connection: authenticated %t, error %v", in, err)
	}
}
