// Wish is a plain Wish server, written as its documentation suggests: a host key, a password, a key, the logging
// middleware and a handler. Arguments: PORT DIRECTORY.
package main

import (
	"bytes"
	"log"
	"os"
	"path/filepath"

	"charm.land/ssh"
	"charm.land/wish/v2"
	"charm.land/wish/v2/logging"
)

func main() {
	port, dir := os.Args[1], os.Args[2]
	message := read(dir, "message")
	password := string(bytes.TrimSpace(read(dir, "password")))
	srv, err := wish.NewServer(
		wish.WithAddress("127.0.0.1:"+port),
		wish.WithHostKeyPath(filepath.Join(dir, "ssh_host_ed25519_key")),
		wish.WithPasswordAuth(func(ctx ssh.Context, given string) bool {
			return ctx.User() == "guest" && given == password
		}),
		wish.WithAuthorizedKeys(filepath.Join(dir, "authorized_keys")),
		wish.WithMiddleware(
			func(ssh.Handler) ssh.Handler {
				return func(sess ssh.Session) { wish.WriteString(sess, string(message)) }
			},
			logging.Middleware(),
		),
	)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(srv.ListenAndServe())
}

func read(dir, name string) []byte {
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		log.Fatal(err)
	}
	return text
}
