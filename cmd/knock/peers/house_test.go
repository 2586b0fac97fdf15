package main

import (
	"crypto/rand"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"foyer/middleware/sshtest"
)

// What the operator of foyer may set would make another server of it, and of every other one in Go.
func TestEnvironment(t *testing.T) {
	for _, name := range []string{"FOYER_LISTEN", "GOMAXPROCS", "GOGC", "GOMEMLIMIT", "GODEBUG"} {
		t.Setenv(name, "1")
	}
	t.Setenv("GOFOYER", "stays")
	for _, variable := range environment() {
		if strings.HasSuffix(variable, "=1") && (strings.HasPrefix(variable, "FOYER_") || strings.HasPrefix(variable, "GO")) {
			t.Errorf("%s is handed on", variable)
		}
	}
	if !slices.Contains(environment(), "GOFOYER=stays") {
		t.Error("too much is held back")
	}
}

// In a house that others may enter nobody reads what is secret, the system's own passwords among it.
func TestSecretsOfTheHouse(t *testing.T) {
	sshtest.Need(t, "root", "run as root", os.Geteuid() == 0)
	h := &house{dir: t.TempDir(), password: rand.Text()}
	if err := h.furnish(); err != nil {
		t.Fatal(err)
	}
	if err := h.makeGuest(); err != nil {
		t.Fatal(err)
	}
	public := []string{"etc/passwd", "id_ed25519.pub", "message", "ssh_host_ed25519_key.pub"}
	secret := []string{"authorized_keys", "etc/shadow", "home/.ssh/authorized_keys", "id_ed25519", "password", "ssh_host_ed25519_key"}
	for _, name := range slices.Concat(public, secret) {
		want := fs.FileMode(0o600)
		if slices.Contains(public, name) {
			want = 0o644
		}
		info, err := os.Stat(filepath.Join(h.dir, name))
		if err != nil || info.Mode() != want {
			t.Errorf("%s is %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
}
