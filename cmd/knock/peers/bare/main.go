// Bare is the least that x/crypto needs to be a server: no framework, no layers, no log. It is what everything that is
// built on the library is measured against. Arguments: PORT DIRECTORY.
package main

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"log"
	"net"
	"os"
	"path/filepath"

	gossh "golang.org/x/crypto/ssh"
)

func main() {
	port, house := os.Args[1], os.Args[2]
	config := configure(house)
	message := read(house, "message")
	listener, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		log.Fatal(err)
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go serve(conn, config, message)
	}
}

var errDenied = errors.New("denied")

func configure(house string) *gossh.ServerConfig {
	password := bytes.TrimSpace(read(house, "password"))
	visitor, _, _, _, err := gossh.ParseAuthorizedKey(read(house, "authorized_keys"))
	if err != nil {
		log.Fatal(err)
	}
	hostKey, err := gossh.ParsePrivateKey(read(house, "ssh_host_ed25519_key"))
	if err != nil {
		log.Fatal(err)
	}
	config := &gossh.ServerConfig{
		PasswordCallback: func(conn gossh.ConnMetadata, given []byte) (*gossh.Permissions, error) {
			if conn.User() != "guest" || subtle.ConstantTimeCompare(given, password) != 1 {
				return nil, errDenied
			}
			return nil, nil
		},
		PublicKeyCallback: func(conn gossh.ConnMetadata, key gossh.PublicKey) (*gossh.Permissions, error) {
			if conn.User() != "guest" || !bytes.Equal(key.Marshal(), visitor.Marshal()) {
				return nil, errDenied
			}
			return nil, nil
		},
	}
	config.AddHostKey(hostKey)
	return config
}

func read(house, name string) []byte {
	text, err := os.ReadFile(filepath.Join(house, name))
	if err != nil {
		log.Fatal(err)
	}
	return text
}

func serve(conn net.Conn, config *gossh.ServerConfig, message []byte) {
	defer func() { _ = conn.Close() }()
	_, channels, requests, err := gossh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go gossh.DiscardRequests(requests)
	for offered := range channels {
		if offered.ChannelType() != "session" {
			_ = offered.Reject(gossh.UnknownChannelType, "sessions only")
			continue
		}
		channel, requests, err := offered.Accept()
		if err != nil {
			return
		}
		go session(channel, requests, message)
	}
}

func session(channel gossh.Channel, requests <-chan *gossh.Request, message []byte) {
	for request := range requests {
		shell := request.Type == "shell"
		if request.WantReply {
			_ = request.Reply(shell, nil)
		}
		if shell {
			_, _ = channel.Write(message)
			_, _ = channel.SendRequest("exit-status", false, gossh.Marshal(struct{ Status uint32 }{0}))
			_ = channel.Close()
		}
	}
}
