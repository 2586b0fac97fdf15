//go:build !windows

package main

import (
	"fmt"
	"slices"
	"strings"
)

// peer is a server that the bench can start. Its command gets two more arguments: the port, and the directory in which
// it is started. If it cannot run here, it exits with a message.
type peer struct {
	name    string
	about   string
	command []string
	install string // what to type if it is missing

	// concurrency and unauthenticated are how many connections it accepts from one address; 0 means no limit.
	concurrency, unauthenticated int
}

// peers are all servers, in the order of the table. Ratios are to the first one.
var peers = []peer{
	{name: "foyer", about: "all layers, its defaults", command: []string{"sh", "scripts/foyer.sh"}},
	{name: "foyer again", about: "the same again, to show the noise", command: []string{"sh", "scripts/foyer.sh"}},
	{name: "wish", about: "plain Wish", command: []string{"bin/wish"}},
	{name: "bare", about: "x/crypto without a framework", command: []string{"bin/bare"}},
	{name: "conch", about: "Twisted Conch", command: []string{"/usr/bin/python3", "scripts/conch.py"},
		install: "apt-get install python3-twisted"},
	{name: "asyncssh", about: "AsyncSSH", command: []string{"/usr/bin/python3", "scripts/asyncssh_server.py"},
		install: "apt-get install python3-asyncssh"},
	{name: "openssh", about: "sshd with ForceCommand", command: []string{"sh", "scripts/openssh.sh"},
		install: "apt-get install openssh-server, and run as root"},
	{name: "dropbear", about: "dropbear with a forced command", command: []string{"sh", "scripts/dropbear.sh"},
		install:     "apt-get install dropbear-bin, and run as root",
		concurrency: 4, unauthenticated: 5}, // MAX_UNAUTH_PER_IP in its default_options.h
	{name: "ssh2", about: "ssh2 for Node.js", command: []string{"node", "scripts/ssh2.js"},
		install: "npm install ssh2, and set NODE_PATH to its node_modules"},
	{name: "erlang", about: "ssh of Erlang/OTP", command: []string{"escript", "scripts/erlang_ssh.escript"},
		install: "apt-get install erlang-base erlang-ssh"},
}

func names(list []peer) (names []string) {
	for _, p := range list {
		names = append(names, p.name)
	}
	return names
}

// choose returns foyer, twice, and the peers with the names; without names it returns all peers.
func choose(only []string) ([]peer, error) {
	for _, name := range only {
		if !slices.Contains(names(peers), name) {
			return nil, fmt.Errorf("unknown peer %q; the peers are %s", name, strings.Join(names(peers), ", "))
		}
	}
	return slices.DeleteFunc(slices.Clone(peers), func(p peer) bool {
		return len(only) > 0 && !strings.HasPrefix(p.name, "foyer") && !slices.Contains(only, p.name)
	}), nil
}

// limit returns a number of connections that a server with a limit accepts.
func limit(number, most int) int {
	if most > 0 {
		return min(number, most)
	}
	return number
}
