package kubernetes

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"
)

// user is the uid and the gid of the pod.
const user = 65532

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func output(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
}

// newRoot returns a root directory with the program and nothing else.
func newRoot(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(root, "foyer"), "./cmd/foyer")
	build.Dir, build.Env = "../../../..", append(os.Environ(), "CGO_ENABLED=0")
	output(t, build)
	must(t, os.Mkdir(filepath.Join(root, "state"), 0o755), os.Chown(filepath.Join(root, "state"), user, user), os.Chmod(root, 0o755))
	return root
}

// made runs foyer in a new directory and returns a file that it has made.
func made(t *testing.T, root, name, input string, args ...string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(root, "foyer"), args...)
	cmd.Dir, cmd.Stdin = t.TempDir(), strings.NewReader(input)
	output(t, cmd)
	text, err := os.ReadFile(filepath.Join(cmd.Dir, name))
	must(t, err)
	return string(text)
}

// lay lays the files of a volume as kubelet does (AtomicWriter), and replaces those that are there: a directory for each
// version, which belongs to root and the group of the pod, and a link to the one in use.
func lay(t *testing.T, dir, version string, mode int32, data map[string]string) {
	t.Helper()
	must(t, os.MkdirAll(dir, 0o755), os.Chown(dir, 0, user), os.Chmod(dir, 0o777|fs.ModeSticky|fs.ModeSetgid))
	at := filepath.Join(dir, version)
	must(t, os.Mkdir(at, 0o755), os.Chown(at, 0, user), os.Chmod(at, 0o755|fs.ModeSetgid))
	for name, text := range data {
		path := filepath.Join(at, name)
		must(t, os.WriteFile(path, []byte(text), 0o600), os.Chown(path, 0, user), os.Chmod(path, fs.FileMode(mode)))
		if err := os.Symlink("..data/"+name, filepath.Join(dir, name)); !errors.Is(err, fs.ErrExist) {
			must(t, err)
		}
	}
	must(t, os.Symlink(version, filepath.Join(dir, "..data_tmp")),
		os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
}

// volumes lays all volumes of the pod below root.
func (m *manifests) volumes(t *testing.T, root, version string) {
	t.Helper()
	paths := map[string]string{}
	for _, mount := range m.container().VolumeMounts {
		paths[mount.Name] = filepath.Join(root, mount.MountPath)
	}
	for _, volume := range m.pod().Volumes {
		switch {
		case volume.Secret != nil:
			lay(t, paths[volume.Name], version, *volume.Secret.DefaultMode, m.secrets[volume.Secret.SecretName].StringData)
		case volume.Projected != nil && volume.Projected.Sources[0].ConfigMap.Name == m.ConfigMap.Name:
			lay(t, paths[volume.Name], version, *volume.Projected.DefaultMode, m.ConfigMap.Data)
		default:
			t.Fatalf("unknown volume %s", volume.Name)
		}
	}
}

// serve runs the container of the pod, whose address is ip, and returns where it listens for visitors.
func (m *manifests) serve(t *testing.T, root, ip string) (address string) {
	t.Helper()
	var args []string
	for _, arg := range m.container().Args {
		args = append(args, strings.ReplaceAll(arg, "$(POD_IP)", ip))
	}
	cmd := exec.Command("/foyer", args...)
	cmd.Path, cmd.Dir = "/foyer", "/state"
	cmd.Env = []string{"FOYER_LISTEN=" + ip + ":0", "FOYER_GUEST_PASSWORD_FILE=/run/secrets/guest-password"} // as the image has it
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: user, Gid: user}}
	log, err := cmd.StderrPipe()
	must(t, err, cmd.Start())
	t.Cleanup(func() {
		must(t, cmd.Process.Signal(syscall.SIGTERM), cmd.Wait())
	})
	var text strings.Builder
	for lines := bufio.NewScanner(log); lines.Scan(); fmt.Fprintln(&text, lines.Text()) {
		if found := regexp.MustCompile(`"msg":"listening","addr":"([^"]*)"`).FindStringSubmatch(lines.Text()); found != nil {
			go func() {
				for lines.Scan() {
				}
			}()
			return found[1]
		}
	}
	t.Fatalf("foyer does not listen:\n%s", &text)
	return ""
}

// visit returns what a user reads.
func visit(t *testing.T, address, name, password string) (string, error) {
	t.Helper()
	client, err := ssh.Dial("tcp", address, &ssh.ClientConfig{
		User: name, Auth: []ssh.AuthMethod{ssh.Password(password)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		return "", err
	}
	defer func() { _ = client.Close() }()
	session, err := client.NewSession()
	must(t, err)
	var said strings.Builder
	session.Stdout = &said
	must(t, session.Shell(), session.Wait())
	return said.String(), nil
}

// foyer serves with the files, the user and the arguments of the pod, and follows when kubelet replaces the files.
func TestServe(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("FOYER_TEST_NOSKIP") != "" {
			t.Fatal("only root can run the pod")
		}
		t.Skip("only root can run the pod")
	}
	root, m := newRoot(t), read(t)
	fill := func(secret, name, text string) { m.secrets[secret].StringData[name] = text }
	fill("foyer-hostkeys", "ssh_host_ed25519_key", made(t, root, "hostkeys/ssh_host_ed25519_key", "", "hostkey", "add", "ed25519"))
	fill("foyer-users", "ssh-passwords", made(t, root, "ssh-passwords", "a long password", "user", "add", "ada", "--password-stdin"))
	fill("foyer-share", "share-key", strings.Repeat("a key of the fleet ", 3))
	m.volumes(t, root, "..2026_11_29_1")
	ip := fmt.Sprintf("127.%d.%d.1", 1+rand.IntN(250), rand.IntN(250)) // as each pod has its own
	address := m.serve(t, root, ip)
	if said, err := visit(t, address, "ada", "a long password"); err != nil || said != m.ConfigMap.Data["message.txt"] {
		t.Errorf("ada reads %q, %v", said, err)
	}
	for _, path := range []string{m.container().ReadinessProbe.HTTPGet.Path, m.container().LivenessProbe.HTTPGet.Path} {
		answer, err := http.Get(fmt.Sprintf("http://%s:%d%s", ip, m.container().Ports[1].ContainerPort, path))
		must(t, err)
		if _ = answer.Body.Close(); answer.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", path, answer.Status)
		}
	}
	m.ConfigMap.Data["message.txt"] = "Another text.\n"
	fill("foyer-users", "ssh-passwords", made(t, root, "ssh-passwords", "another password", "user", "add", "bob", "--password-stdin"))
	m.volumes(t, root, "..2026_11_29_2")
	if said, err := visit(t, address, "bob", "another password"); err != nil || said != "Another text.\n" {
		t.Errorf("bob reads %q, %v", said, err)
	}
	if _, err := visit(t, address, "ada", "a long password"); err == nil {
		t.Error("ada still gets in")
	}
}
