package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// door is a server that can be started.
type door struct {
	name   string
	about  string // for the table
	remedy string // what to type where it is missing
	compat bool   // it has no chacha20-poly1305: aes128-ctr

	// visitors and strangers are how many it takes at a time from one address, authenticated or not; 0 for all.
	visitors, strangers int

	prepare func(ctx context.Context, h *house) error // an error says what is missing
	command func(h *house, port string) []string
	version func(ctx context.Context, h *house) string
}

// The doors that are not peers: foyer itself, foyer for the peers that have only old algorithms, foyer once more to
// show how far two figures of the same thing are apart, and the least that there is to do for a server in Go.
const (
	itself = "foyer"
	again  = "foyer again"
	compat = "foyer compat"
	floor  = "floor"
)

// doors is THE LIST, in the order of the table.
func doors() []door {
	return []door{
		{name: itself, about: "all layers, its defaults", command: foyer(), version: built(itself, libraries...)},
		{name: again, about: "the same once more: the noise", command: foyer(), version: built(itself, libraries...)},
		{name: compat, about: "`--algorithms compat`, for Conch", compat: true,
			command: foyer("--algorithms", "compat"), version: built(itself, libraries...)},
		{name: "wish", about: "plain Wish, written in the obvious way",
			command: program("wish"), version: built("wish", libraries...)},
		{name: "bare", about: "x/crypto and no framework", command: program("bare"), version: built("bare", libraries...)},
		{name: "bare alike", about: "bare as foyer lives while 8 come at a time: GOMAXPROCS=1 GOGC=400",
			command: with("GOMAXPROCS=1 GOGC=400", program("bare")), version: built("bare", libraries...)},
		{name: "conch", about: "Twisted Conch, what foyer began as", remedy: "apt-get install python3-twisted", compat: true,
			prepare: python("twisted.conch.ssh"), command: pythonScript("conch.py"), version: debian("python3-twisted")},
		{name: "asyncssh", about: "AsyncSSH", remedy: "apt-get install python3-asyncssh",
			prepare: python("asyncssh"), command: pythonScript("asyncssh_server.py"), version: debian("python3-asyncssh")},
		{name: "openssh", about: "sshd with ForceCommand, sha512-crypt", remedy: "apt-get install openssh-server, and root",
			prepare: sshd, command: namespaced("/usr/sbin/sshd", "-D", "-e", "-f", "{house}/scripts/sshd_config",
				"-o", "ListenAddress=127.0.0.1:{port}", "-o", "HostKey={house}/ssh_host_ed25519_key",
				"-o", "ForceCommand=cat {house}/message"), version: debian("openssh-server")},
		{name: "dropbear", about: "with a forced command, sha512-crypt", remedy: "apt-get install dropbear-bin, and root",
			visitors: 4, strangers: 5, // MAX_UNAUTH_PER_IP of its default_options.h
			prepare: dropbearKey, command: namespaced("dropbear", "-F", "-E", "-m",
				"-P", "/run/dropbear.pid", "-p", "127.0.0.1:{port}",
				"-r", "{house}/dropbear_ed25519_host_key", "-c", "cat {house}/message"), version: debian("dropbear-bin")},
		{name: "ssh2", about: "node's ssh2", remedy: "npm install ssh2@1.17.0, and its node_modules in NODE_PATH",
			prepare: try("node", "-e", "require('ssh2')"), command: script("node", "ssh2.js"), version: node},
		{name: "erlang", about: "Erlang's ssh", remedy: "apt-get install erlang-base erlang-ssh",
			prepare: try("erl", "-noshell", "-eval", "{ok, _} = application:ensure_all_started(ssh), halt()."),
			command: script("escript", "erlang_ssh.escript"), version: debian("erlang-ssh")},
		{name: floor, about: "the bytes and the cryptography of a login, and nothing else",
			command: program("floor"), version: built("floor")},
	}
}

// libraries are the modules whose versions are told.
var libraries = []string{"charm.land/wish/v2", "charm.land/ssh", "golang.org/x/crypto"}

// rival returns the door whose figures are divided by those of d, or "" for foyer itself, where there is none.
func (d door) rival() string {
	switch {
	case d.name == itself || d.name == compat:
		return ""
	case d.compat:
		return compat
	}
	return itself
}

// peer reports whether a bench without this door would still be one.
func (d door) peer() bool {
	return d.name != itself && d.name != again && d.name != compat && d.name != floor
}

func foyer(flags ...string) func(*house, string) []string {
	return func(h *house, port string) []string {
		args := []string{h.path("bin", "foyer"), "--listen", "127.0.0.1:" + port, "--hostkeys", h.path("foyer", "hostkeys")}
		return append(append(args, h.foyerFiles()...), flags...)
	}
}

// program is one of the peers in Go.
func program(name string) func(*house, string) []string {
	return func(h *house, port string) []string { return []string{h.path("bin", name), port, h.dir} }
}

// with sets variables of the environment for a program, whose place it leaves it.
func with(variables string, command func(*house, string) []string) func(*house, string) []string {
	return func(h *house, port string) []string {
		return slices.Concat([]string{"env"}, strings.Fields(variables), command(h, port))
	}
}

func script(interpreter, file string) func(*house, string) []string {
	return func(h *house, port string) []string {
		return []string{interpreter, h.path("scripts", file), port, h.dir}
	}
}

// debianPython is the interpreter that has Debian's packages, whatever other comes first in PATH.
const debianPython = "/usr/bin/python3"

func python(module string) func(context.Context, *house) error {
	return try(debianPython, "-c", "import "+module)
}

func pythonScript(file string) func(*house, string) []string { return script(debianPython, file) }

// try asks a program whether all is there that a door needs.
func try(program string, args ...string) func(context.Context, *house) error {
	return func(ctx context.Context, _ *house) error {
		_, err := output(ctx, nil, program, args...)
		return err
	}
}

// namespace starts a program that sees users of ours and an empty /run. A mount namespace of its own leaves the
// system as it is, and is gone with the program, which takes the place of the shell.
const namespace = `mount --bind "$1/etc/passwd" /etc/passwd && mount --bind "$1/etc/shadow" /etc/shadow &&
mount -t tmpfs run /run && mkdir /run/sshd && shift && exec "$@"`

func namespaced(command ...string) func(*house, string) []string {
	return func(h *house, port string) []string {
		args := []string{"unshare", "--mount", "sh", "-c", namespace, "sh", h.dir}
		for _, arg := range command {
			args = append(args, h.fill(arg, port))
		}
		return args
	}
}

func (h *house) fill(text, port string) string {
	return strings.NewReplacer("{house}", h.dir, "{port}", port).Replace(text)
}

// needsGuest is for the doors that let in none but users of the system.
func needsGuest(ctx context.Context, h *house) error {
	if os.Geteuid() != 0 {
		return errors.New("only root can let other users in")
	}
	if err := h.makeGuest(); err != nil {
		return err
	}
	_, err := output(ctx, nil, "unshare", "--mount", "sh", "-c", namespace, "sh", h.dir, "true")
	return err
}

func sshd(ctx context.Context, h *house) error {
	if _, err := os.Stat("/usr/sbin/sshd"); err != nil {
		return err
	}
	return needsGuest(ctx, h)
}

func dropbearKey(ctx context.Context, h *house) error {
	for _, program := range []string{"dropbear", "dropbearconvert"} {
		if _, err := exec.LookPath(program); err != nil {
			return err
		}
	}
	if _, err := output(ctx, nil, "dropbearconvert", "openssh", "dropbear",
		h.path("ssh_host_ed25519_key"), h.path("dropbear_ed25519_host_key")); err != nil {
		return err
	}
	return needsGuest(ctx, h)
}

// peerNames are what can be chosen.
func peerNames() (names []string) {
	for _, d := range doors() {
		if d.peer() || d.name == floor {
			names = append(names, d.name)
		}
	}
	return names
}

// selected returns the doors that were asked for, with those that go with them.
func selected(only []string) ([]door, error) {
	wanted := map[string]bool{itself: true, again: true}
	for _, name := range only {
		wanted[name] = true
	}
	wanted[compat] = len(only) == 0 || wanted["conch"]
	var kept []door
	for _, d := range doors() {
		if len(only) == 0 || wanted[d.name] {
			kept = append(kept, d)
		}
		delete(wanted, d.name)
	}
	for name, unknown := range wanted {
		if unknown {
			return nil, fmt.Errorf("there is no peer %q: there are %s", name, strings.Join(peerNames(), ", "))
		}
	}
	return kept, nil
}
