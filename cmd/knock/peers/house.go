package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"embed"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-crypt/crypt/algorithm/shacrypt"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
)

// guest is the one user of all doors.
const guest = "guest"

//go:embed scripts
var scripts embed.FS

// house is the directory that all doors of a run share, with the keys and the password that were made for it, and the
// programs. Nothing of it stays.
type house struct {
	dir      string
	password string
	signer   gossh.Signer // the user's
}

// newHouse makes all that the doors need. The directory is open to others, and what is secret in it is not: sshd and
// dropbear read the user's keys as the user.
func newHouse() (h *house, err error) {
	h = &house{password: rand.Text()}
	if h.dir, err = os.MkdirTemp("", "foyer-bench-"); err != nil {
		return nil, err
	}
	if err := h.furnish(); err != nil {
		return nil, errors.Join(err, h.remove())
	}
	return h, nil
}

func (h *house) furnish() error {
	if err := os.Chmod(h.dir, 0o711); err != nil {
		return err
	}
	if _, err := h.makeKey("ssh_host_ed25519_key"); err != nil {
		return err
	}
	var err error
	if h.signer, err = h.makeKey("id_ed25519"); err != nil {
		return err
	}
	public := gossh.MarshalAuthorizedKey(h.signer.PublicKey())
	if err := h.write("authorized_keys", public, 0o600); err != nil {
		return err
	}
	if err := h.write("password", []byte(h.password+"\n"), 0o600); err != nil {
		return err
	}
	if err := h.write("message", []byte(middleware.SimpleMessage), 0o644); err != nil {
		return err
	}
	return os.CopyFS(h.dir, scripts)
}

func (h *house) remove() error { return os.RemoveAll(h.dir) }

func (h *house) path(names ...string) string {
	return filepath.Join(append([]string{h.dir}, names...)...)
}

// write makes a file and the directories above it.
func (h *house) write(name string, text []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(h.path(name)), 0o755); err != nil {
		return err
	}
	return os.WriteFile(h.path(name), text, mode)
}

// makeKey makes an ed25519 key and writes both halves as OpenSSH does.
func (h *house) makeKey(name string) (gossh.Signer, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	block, err := gossh.MarshalPrivateKey(private, guest)
	if err != nil {
		return nil, err
	}
	signer, err := gossh.NewSignerFromKey(private)
	if err != nil {
		return nil, err
	}
	if err := h.write(name, pem.EncodeToMemory(block), 0o600); err != nil {
		return nil, err
	}
	return signer, h.write(name+".pub", gossh.MarshalAuthorizedKey(signer.PublicKey()), 0o644)
}

// build builds the programs of this module, and gives foyer its user.
func (h *house) build(ctx context.Context) error {
	const peers = "foyer/cmd/knock/peers/"
	if _, err := output(ctx, nil, "go", "build", "-o", h.path("bin")+string(filepath.Separator),
		"foyer/cmd/foyer", "foyer/cmd/knock", peers+"wish", peers+"bare", peers+"floor"); err != nil {
		return err
	}
	hostKey, err := os.ReadFile(h.path("ssh_host_ed25519_key"))
	if err != nil {
		return err
	}
	if err := h.write("foyer/hostkeys/ssh_host_ed25519_key", hostKey, 0o600); err != nil {
		return err
	}
	add := append([]string{"user", "add", guest}, h.foyerFiles()...)
	_, err = output(ctx, []byte(h.password+"\n"), h.path("bin", "foyer"), append(add, "--password-stdin")...)
	if err != nil {
		return err
	}
	_, err = output(ctx, nil, h.path("bin", "foyer"), append(add, "--key", h.path("id_ed25519.pub"))...)
	return err
}

func (h *house) foyerFiles() []string {
	return usersIn(h.path("foyer"))
}

// usersIn are foyer's flags for the files of its users in a directory.
func usersIn(dir string) []string {
	return []string{
		"--passwords", filepath.Join(dir, "ssh-passwords"),
		"--authorized-keys", filepath.Join(dir, "authorized_keys.d"),
	}
}

// guestID is the user and group of guest where a door wants a user of the system. Nobody has it.
const guestID = 64123

// makeGuest writes a list of users with guest in it, for those doors to see in the place of the system's. The
// password is hashed as Debian did it until it took to yescrypt, which this module's library does not make.
func (h *house) makeGuest() error {
	hasher, err := shacrypt.New(shacrypt.WithSHA512(), shacrypt.WithRounds(5000))
	if err != nil {
		return err
	}
	digest, err := hasher.Hash(h.password)
	if err != nil {
		return err
	}
	for _, file := range []struct {
		name, line string
		mode       os.FileMode
	}{
		{"passwd", fmt.Sprintf("%s:x:%d:%d::%s:/bin/sh\n", guest, guestID, guestID, h.path("home")), 0o644},
		{"shadow", fmt.Sprintf("%s:%s:19000:0:99999:7:::\n", guest, digest.Encode()), 0o600}, // with everybody's hashes
	} {
		others, err := os.ReadFile("/etc/" + file.name)
		if err != nil {
			return err
		}
		if err := h.write("etc/"+file.name, append([]byte(file.line), others...), file.mode); err != nil {
			return err
		}
	}
	return h.makeHome()
}

func (h *house) makeHome() error {
	keys, err := os.ReadFile(h.path("authorized_keys"))
	if err != nil {
		return err
	}
	if err := h.write("home/.ssh/authorized_keys", keys, 0o600); err != nil {
		return err
	}
	for _, name := range []string{"home", "home/.ssh", "home/.ssh/authorized_keys"} {
		if err := os.Chown(h.path(name), guestID, guestID); err != nil {
			return err
		}
	}
	return nil
}

// output runs a program to its end. What it said on stderr is in the error.
func output(ctx context.Context, stdin []byte, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = environment()
	cmd.Stdin = bytes.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s: %w: %s", filepath.Base(name), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// environment is this process's, without what would change the defaults of foyer, or of all that is written in Go.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return strings.HasPrefix(name, "FOYER_") ||
			slices.Contains([]string{"GOMAXPROCS", "GOGC", "GOMEMLIMIT", "GODEBUG"}, name)
	})
}
