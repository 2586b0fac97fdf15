// Wish is what a Wish server looks like when it is written in the obvious way: a host key, a password, a key, the
// logging middleware and a handler. It is what foyer is measured against first. Arguments: PORT DIRECTORY.
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
	port, house := os.Args[1], os.Args[2]
	message := read(house, "message")
	password := string(bytes.TrimSpace(read(house, "password")))
	visitor, _, _, _, err := ssh.ParseAuthorizedKey(read(house, "authorized_keys"))
	if err != nil {
		log.Fatal(err)
	}
	srv, err := wish.NewServer(
		wish.WithAddress("127.0.0.1:"+port),
		wish.WithHostKeyPath(filepath.Join(house, "ssh_host_ed25519_key")),
		wish.WithPasswordAuth(func(ctx ssh.Context, given string) bool {
			return ctx.User() == "guest" && given == password
		}),
		wish.WithPublicKeyAuth(func(ctx ssh.Context, key ssh.PublicKey) bool {
			return ctx.User() == "guest" && ssh.KeysEqual(key, visitor)
		}),
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

func read(house, name string) []byte {
	text, err := os.ReadFile(filepath.Join(house, name))
	if err != nil {
		log.Fatal(err)
	}
	return text
}
