// Bare is an SSH server of x/crypto, with no framework and no log: the least that a server based on x/crypto costs.
// Arguments: PORT DIRECTORY.
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
	port, dir := os.Args[1], os.Args[2]
	config, message := configure(dir), read(dir, "message")
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

func configure(dir string) *gossh.ServerConfig {
	password := bytes.TrimSpace(read(dir, "password"))
	userKey, _, _, _, err := gossh.ParseAuthorizedKey(read(dir, "authorized_keys"))
	if err != nil {
		log.Fatal(err)
	}
	hostKey, err := gossh.ParsePrivateKey(read(dir, "ssh_host_ed25519_key"))
	if err != nil {
		log.Fatal(err)
	}
	allow := func(conn gossh.ConnMetadata, a, b []byte) (*gossh.Permissions, error) {
		if conn.User() != "guest" || subtle.ConstantTimeCompare(a, b) != 1 {
			return nil, errors.New("permission denied")
		}
		return nil, nil
	}
	config := &gossh.ServerConfig{
		PasswordCallback: func(conn gossh.ConnMetadata, given []byte) (*gossh.Permissions, error) {
			return allow(conn, given, password)
		},
		PublicKeyCallback: func(conn gossh.ConnMetadata, key gossh.PublicKey) (*gossh.Permissions, error) {
			return allow(conn, key.Marshal(), userKey.Marshal())
		},
	}
	config.AddHostKey(hostKey)
	return config
}

func read(dir, name string) []byte {
	text, err := os.ReadFile(filepath.Join(dir, name))
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
			_ = offered.Reject(gossh.UnknownChannelType, "only sessions")
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
		_ = request.Reply(shell, nil)
		if shell {
			_, _ = channel.Write(message)
			_, _ = channel.SendRequest("exit-status", false, make([]byte, 4))
			_ = channel.Close()
		}
	}
}
