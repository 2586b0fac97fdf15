package middleware

import gossh "golang.org/x/crypto/ssh"

// KeyboardInteractive returns the layer that asks for the password in a prompt of the server's (RFC 4256), for clients that
// know no other method. It is [Password] in all else: the same check and the same number of attempts. OpenSSH and PuTTY
// prefer it where it is offered, and then show another prompt.
func KeyboardInteractive(source PasswordSource) Layer {
	return checkPasswords(source, "keyboardinteractive", "keyboard-interactive", func(cfg *gossh.ServerConfig, check passwordCheck) {
		cfg.KeyboardInteractiveCallback = func(conn gossh.ConnMetadata, ask gossh.KeyboardInteractiveChallenge) (*gossh.Permissions, error) {
			answers, err := ask("", "", []string{"Password: "}, []bool{false})
			if err != nil {
				return nil, err
			}
			if len(answers) != 1 {
				return nil, errWrongPassword
			}
			return check(conn, []byte(answers[0]))
		}
	})
}
