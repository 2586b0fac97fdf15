//go:build !windows

package main

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"foyer/hostkeys"
	"foyer/middleware/auth/passwords"
	"foyer/middleware/sshtest"
	"foyer/middleware/watchfile"
)

// Users of these tests. No machine has an account for them.
const (
	service = 61234 // runs foyer
	mallory = 61666
)

// openDir returns a directory that every user can enter, with a copy of the program.
func openDir(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can change the owner of a file")
	}
	dir := t.TempDir()
	binary, err := os.ReadFile(os.Args[0])
	err = errors.Join(err, os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o755), os.WriteFile(filepath.Join(dir, "foyer"), binary, 0o755))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// foyerAs runs the copy in dir as a user and returns what it writes.
func foyerAs(t *testing.T, uid uint32, dir string, args ...string) (out string, err error) {
	t.Helper()
	cmd := exec.Command(filepath.Join(dir, "foyer"), args...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader("secret\n")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	text, err := cmd.CombinedOutput()
	return string(text), err
}

// mount writes files as Kubernetes mounts a Secret, with the mode 0440 of root and the server's group.
func mount(t *testing.T, dir string, mode fs.FileMode, files map[string][]byte) {
	t.Helper()
	version := filepath.Join(dir, "..2026_11_29")
	err := errors.Join(os.Mkdir(dir, 0o755), os.Mkdir(version, 0o755), os.Symlink("..2026_11_29", filepath.Join(dir, "..data")),
		os.Chmod(dir, mode), os.Chmod(version, 0o755|fs.ModeSetgid))
	for name, text := range files {
		path := filepath.Join(version, name)
		err = errors.Join(err, os.WriteFile(path, text, 0o600), os.Chown(path, 0, service), os.Chmod(path, 0o440),
			os.Symlink("..data/"+name, filepath.Join(dir, name)))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A user without an account uses files of root's as Kubernetes mounts them, without a warning.
func TestKubernetesMounts(t *testing.T) {
	made := privateDir(t)
	key, err := hostkeys.Create(made, "ed25519")
	if err != nil {
		t.Fatal(err)
	}
	if err := passwords.Create(filepath.Join(made, "ssh-passwords"), "ada", "secret"); err != nil {
		t.Fatal(err)
	}
	private, line := files(t, made)["ssh_host_ed25519_key"], gossh.MarshalAuthorizedKey(sshtest.HostKey(t).PublicKey())
	for _, mode := range []fs.FileMode{0o755, 0o777 | fs.ModeSticky, 0o777 | fs.ModeSticky | fs.ModeSetgid} {
		dir := openDir(t)
		mount(t, filepath.Join(dir, "hostkeys"), mode, map[string][]byte{"ssh_host_ed25519_key": []byte(private)})
		mount(t, filepath.Join(dir, "authorized_keys.d"), mode, map[string][]byte{"ada": line})
		mount(t, filepath.Join(dir, "secret"), mode, map[string][]byte{
			"ssh-passwords": []byte(files(t, made)["ssh-passwords"]), "ca.pub": line, "revoked": []byte("id: x\n")})
		args := []string{"--passwords", "secret/ssh-passwords", "--user-ca", "secret/ca.pub", "--revoked", "secret/revoked"}
		out, err := foyerAs(t, service, dir, append([]string{"check"}, args...)...)
		if err != nil || !strings.Contains(out, "ada\tpublickey, or password (argon2id)\n") {
			t.Errorf("%v: %v\n%s", mode, err, out)
		}
		if out, err := foyerAs(t, service, dir, "hostkey", "list"); err != nil || !strings.Contains(out, key.Fingerprint()) {
			t.Errorf("%v: %v\n%s", mode, err, out)
		}
	}
}

// In a directory that everybody can write, another user's files let nobody in. The check names them, and what to type.
func TestHostileFilesOfOtherUsers(t *testing.T) {
	dir := openDir(t)
	if err := os.Chmod(dir, 0o777|fs.ModeSticky); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"user", "add", "eve", "--password-stdin"}, {"hostkey", "add", "ed25519"}} {
		if out, err := foyerAs(t, mallory, dir, args...); err != nil {
			t.Fatal(err, out)
		}
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	err := errors.Join(
		os.Mkdir(at("authorized_keys.d"), 0o755), os.Chown(at("authorized_keys.d"), mallory, -1),
		os.WriteFile(at("ca.pub"), nil, 0o600), os.Chown(at("ca.pub"), mallory, -1),
		// Everybody can read them, so that the owner is the only problem.
		os.Chmod(at("ca.pub"), 0o644), os.Chmod(at("ssh-passwords"), 0o644), os.Chmod(at("hostkeys"), 0o755))
	if err != nil {
		t.Fatal(err)
	}
	const belongs = "belongs to uid 61666, and must belong to root or to the user that foyer runs as\n"
	for _, uid := range []uint32{0, service} {
		out, err := foyerAs(t, uid, dir, "check", "--user-ca", "ca.pub")
		if err == nil || !strings.Contains(out, "problems found: 4") {
			t.Errorf("the check of %d: %v\n%s", uid, err, out)
		}
		for _, name := range []string{"ssh-passwords", "authorized_keys.d", "ca.pub", "host key hostkeys"} {
			if !strings.Contains(out, "problem: "+name+": "+belongs) {
				t.Errorf("the check of %d does not name %s:\n%s", uid, name, out)
			}
		}
		// The files may belong to another program of that user, so no hint takes them away.
		const hint = "if foyer runs as that user, run: sudo -u '#61666' foyer\n"
		if strings.Count(out, hint) != 4 || strings.Contains(out, "chown") {
			t.Errorf("the check of %d has no %q, or a chown:\n%s", uid, hint, out)
		}
		if out, err := foyerAs(t, uid, dir, "serve", "--listen", "127.0.0.1:0"); err == nil || !strings.Contains(out, belongs) {
			t.Errorf("%d serves with mallory's files: %v\n%s", uid, err, out)
		}
	}
}

// No hint takes the files of another program away from it, such as the host keys of sshd.
func TestHintsKeepFilesOfOthers(t *testing.T) {
	dir := openDir(t)
	keys := filepath.Join(dir, "ssh")
	key, err := hostkeys.Create(keys, "ed25519")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		mode fs.FileMode
		args []string
		hint string
	}{
		{0o755, []string{"hostkey", "list", "--hostkeys", keys}, "use a copy; run: sudo install -D -m 600 -o 61234 " + key.Path +
			" /var/lib/foyer/hostkeys/ssh_host_ed25519_key, and use: --hostkeys /var/lib/foyer/hostkeys"},
		{0o755, []string{"hostkey", "add", "rsa", "--hostkeys", keys}, "run: sudo install -d -m 700 -o 61234 /var/lib/foyer/hostkeys, and use: --hostkeys /var/lib/foyer/hostkeys"},
		{0o700, []string{"hostkey", "list", "--hostkeys", keys}, "run: sudo install -d -m 700 -o 61234 /var/lib/foyer/hostkeys, and use: --hostkeys /var/lib/foyer/hostkeys"},
		{0o700, []string{"user", "list", "--passwords", "/etc/shadow"}, "to see who may use it, run: ls -ld /etc/shadow"},
	} {
		if err := os.Chmod(keys, tt.mode); err != nil {
			t.Fatal(err)
		}
		out, err := foyerAs(t, service, dir, tt.args...)
		if err == nil || !strings.HasSuffix(out, "\nhint: "+tt.hint+"\n") {
			t.Errorf("%v, mode %v: %v\n%s\nwant the hint %q", tt.args, tt.mode, err, out, tt.hint)
		}
	}
}

// Root edits the files of the server's user, who can edit them afterwards.
func TestRootEditsForTheServer(t *testing.T) {
	dir := openDir(t)
	if err := os.Chown(dir, service, service); err != nil {
		t.Fatal(err)
	}
	for _, uid := range []uint32{0, service} {
		for _, args := range [][]string{
			{"user", "add", "ada", "--password-stdin"}, {"user", "add", "bob", "--password-stdin"}, {"user", "remove", "ada"},
		} {
			if out, err := foyerAs(t, uid, dir, args...); err != nil {
				t.Errorf("%q of %d: %v\n%s", args, uid, err, out)
			}
		}
	}
	if out, err := foyerAs(t, service, dir, "check"); err != nil || !strings.Contains(out, "bob\tpassword (argon2id)\n") {
		t.Errorf("%v\n%s", err, out)
	}
	out, err := foyerAs(t, 0, dir, "check")
	if err == nil || !strings.Contains(out, dir+": belongs to uid 61234") || !strings.Contains(out, "run: sudo -u '#61234' foyer\n") {
		t.Errorf("root's check: %v\n%s", err, out)
	}
}

// What is typed as a hint says makes it work: also where the file is not there, or where its directory is in the way.
func TestHintsOfDeniedFiles(t *testing.T) {
	key := string(gossh.MarshalAuthorizedKey(sshtest.HostKey(t).PublicKey()))
	password, addKey := []string{"user", "add", "ada", "--password-stdin"}, []string{"user", "add", "ada", "--key", "key.pub"}
	for _, tt := range []struct {
		name    string
		args    []string
		prepare string // as root, in root's directory with key.pub
		want    string // the command of the hint
	}{
		{"no password file", password, "", "sudo chown 61234:61234 DIR"},
		{"no key directory", addKey, "", "sudo chown 61234:61234 ."},
		{"no directory for the keys", append(addKey, "--authorized-keys", "a/b/keys"), "", "sudo install -d -m 700 -o 61234 -g 61234 a/b"},
		{"no key file", addKey, "mkdir -m 755 authorized_keys.d", "sudo chown 61234:61234 authorized_keys.d"},
		{"root's directory", append(password, "--passwords", "a/passwords"), "mkdir -m 755 a", "sudo chown 61234:61234 DIR/a"},
		{"root's hidden directory", append(password, "--passwords", "a/passwords"), "mkdir -m 700 a", "sudo chown 61234:61234 a"},
		{"root's file", password, "install -m 600 /dev/null ssh-passwords && chown 61234 .", "sudo chown 61234:61234 ssh-passwords"},
		{"root's readable file", addKey, "install -d -o 61234 authorized_keys.d && install -m 644 /dev/null authorized_keys.d/ada",
			"sudo chown 61234:61234 authorized_keys.d/ada"},
		{"one's own file", password, "install -m 0 -o 61234 -g 61234 /dev/null ssh-passwords && chown 61234 .", "chmod u+rwX ssh-passwords"},
		{"one's own directory", addKey, "install -d -m 0 -o 61234 -g 61234 authorized_keys.d", "chmod u+rwX authorized_keys.d"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := openDir(t)
			shell := func(script string) {
				cmd := exec.Command("sh", "-c", script)
				cmd.Dir = dir
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%s: %v: %s", script, err, out)
				}
			}
			shell("printf %s " + watchfile.Quote(key) + " > key.pub && chmod 644 key.pub\n" + tt.prepare)
			out, err := foyerAs(t, service, dir, tt.args...)
			if want := "\nhint: run: " + strings.Replace(tt.want, "DIR", dir, 1) + "\n"; err == nil || !strings.HasSuffix(out, want) {
				t.Fatalf("error %v, output %q, want %q", err, out, want)
			}
			shell(strings.TrimPrefix(strings.Replace(tt.want, "DIR", dir, 1), "sudo "))
			if out, err := foyerAs(t, service, dir, tt.args...); err != nil {
				t.Errorf("after the hint: %v: %s", err, out)
			}
		})
	}
}

// With the umask 002 of Debian and Ubuntu, the directories of a new clone can be written by their user's private group.
func TestFirstStartInGroupWritableDirectory(t *testing.T) {
	group, err := os.ReadFile("/etc/group")
	if err != nil || os.Geteuid() != 0 || !strings.Contains("\n"+string(group), "\nroot:x:0:\n") {
		t.Skip("the user of the test is not known to have a private group")
	}
	dir := privateDir(t)
	keys := filepath.Join(dir, "hostkeys")
	if err := errors.Join(os.Chmod(dir, 0o775), os.Mkdir(keys, 0o700), os.Chmod(keys, 0o775)); err != nil {
		t.Fatal(err)
	}
	srv, err := start(dir, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer srv.kill()
	if err := os.Chown(keys, -1, service); err != nil {
		t.Fatal(err)
	}
	if _, err := hostkeys.Load(keys); err == nil {
		t.Error("another group can write the directory")
	}
}

// A first start in a directory that is not trusted creates nothing: the next one could not show the password again.
func TestFirstStartInUntrustedDirectory(t *testing.T) {
	dir, keys := privateDir(t), privateDir(t)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, hostkeys := range []string{"hostkeys", "new/hostkeys", keys} {
		_, err := start(dir, nil, []string{"--hostkeys", hostkeys})
		if err == nil || !strings.Contains(err.Error(), dir+": others can write it (mode 0777)\nhint: run: chmod go-w "+dir) {
			t.Errorf("with --hostkeys %s: %v", hostkeys, err)
		}
	}
	if left := files(t, dir, ownFiles...); len(left) > 0 {
		t.Errorf("left are %v", left)
	}
}

// A start deletes the temporary files of edits that crashed.
func TestStartCleans(t *testing.T) {
	dir := privateDir(t)
	temps := []string{".ssh-passwords.tmp", "hostkeys/.tmp", "authorized_keys.d/.tmp"}
	for range 2 { // the first start and a later one
		for _, name := range temps {
			path := filepath.Join(dir, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("secret"), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		srv, err := start(dir, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		srv.kill()
		for _, name := range temps {
			if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s is left: %v", name, err)
			}
		}
	}
}

// Who checks the files of another user's server reads who that is.
func TestCheckAsAnotherUser(t *testing.T) {
	dir := openDir(t)
	if err := os.Mkdir(filepath.Join(dir, "etc"), 0o700); err != nil {
		t.Fatal(err)
	}
	const daemon = 1 // a user that each system has
	if err := os.Chown(filepath.Join(dir, "etc"), daemon, daemon); err != nil {
		t.Fatal(err)
	}
	out, err := foyerAs(t, mallory, dir, "check", "--passwords", "etc/users")
	if want := "problem: etc/users: permission denied\n   hint: if daemon runs the server, run: sudo -u daemon foyer check\n"; err == nil || !strings.Contains(out, want) {
		t.Errorf("%v: %s, want %s", err, out, want)
	}
}

// The owner of a directory cannot make root's commands write elsewhere by a file of settings.
func TestRootIgnoresSettingsOfOthers(t *testing.T) {
	dir := openDir(t)
	outside := filepath.Join(t.TempDir(), "outside")
	home := filepath.Join(dir, "home")
	err := errors.Join(os.Mkdir(home, 0o700), os.WriteFile(filepath.Join(home, "foyer.toml"), []byte("[auth]\npasswords = \""+outside+"\"\n"), 0o600),
		os.Chown(home, service, service), os.Chown(filepath.Join(home, "foyer.toml"), service, service))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(dir, "foyer"), "user", "add", "ada", "--password-stdin")
	cmd.Dir, cmd.Stdin = home, strings.NewReader("a long secret\n")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "error: read the settings: ") || !strings.Contains(string(out), "belongs to uid 61234") {
		t.Errorf("%v: %s", err, out)
	}
	if _, err := os.Stat(outside); err == nil {
		t.Error("root has written where another user said")
	}
}
