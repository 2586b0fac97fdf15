package main

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"foyer/cmd/knock/peers/primitives"
)

// machine is where the measurement was made.
type machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Kernel string `json:"kernel"`
	OS     string `json:"os"`
	Go     string `json:"go"`
}

func thisMachine() machine {
	return machine{
		CPU: valueOf("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(),
		Kernel: firstLine("/proc/sys/kernel/osrelease"), OS: valueOf("/etc/os-release", "PRETTY_NAME"),
		Go: runtime.Version(),
	}
}

func (m machine) String() string {
	return fmt.Sprintf("%s, %d cores, Linux %s, %s, %s", m.CPU, m.Cores, m.Kernel, m.OS, m.Go)
}

// valueOf returns the value of the first line of a file that is NAME: VALUE or NAME="VALUE".
func valueOf(path, name string) string {
	text, _ := os.ReadFile(path)
	for line := range strings.Lines(string(text)) {
		if rest, found := strings.CutPrefix(line, name); found {
			return strings.Trim(rest, " \t\n:=\"")
		}
	}
	return "unknown"
}

func firstLine(path string) string {
	text, _ := os.ReadFile(path)
	line, _, _ := strings.Cut(string(text), "\n")
	return line
}

// built returns the versions of a program in Go and of the modules that make it.
func built(name string, modules ...string) func(context.Context, *house) string {
	return func(_ context.Context, h *house) string {
		info, err := buildinfo.ReadFile(h.path("bin", name))
		if err != nil {
			return "unknown"
		}
		versions := []string{info.GoVersion}
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				versions = append(versions, "commit "+setting.Value[:min(12, len(setting.Value))])
			}
		}
		for _, module := range info.Deps {
			for _, wanted := range modules {
				if module.Path == wanted {
					versions = append(versions, module.Path+" "+module.Version)
				}
			}
		}
		return strings.Join(versions, ", ")
	}
}

// debian returns the version of a package.
func debian(name string) func(context.Context, *house) string {
	return func(ctx context.Context, _ *house) string {
		version, err := output(ctx, nil, "dpkg-query", "--show", "--showformat", "${Version}", name)
		if err != nil {
			return "unknown"
		}
		return name + " " + version
	}
}

// node returns the versions of node and of ssh2, which is slower where the part of it that is no JavaScript was not built.
func node(ctx context.Context, _ *house) string {
	const versions = "'ssh2 ' + require('ssh2/package.json').version + ', node ' + process.version + (() => { try { " +
		"require('ssh2/lib/protocol/crypto/build/Release/sshcrypto.node'); return '' } catch { return ', without its native ciphers' } })()"
	version, err := output(ctx, nil, "node", "-p", versions)
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(version)
}

// primitive is a part of the cryptography of a login.
type primitive struct {
	Name  string  `json:"name"`
	About string  `json:"about"`
	Each  float64 `json:"us"`
}

// measurePrimitives measures the parts of a login's cryptography, on the server's side.
func measurePrimitives() (measured []primitive) {
	keys, err := primitives.New()
	if err != nil {
		return nil
	}
	for _, part := range []struct {
		name, about string
		do          func()
	}{
		{"X25519", "a key and the shared secret", keys.X25519},
		{"ML-KEM-768", "encapsulation, of the default key exchange of today's clients", keys.MLKEM},
		{"ed25519 sign", "with the host key", keys.Sign},
		{"ed25519 verify", "the user's signature", keys.Verify},
		{"chacha20-poly1305", "2 kB, about what a login sends", func() { keys.Packet(2048) }},
	} {
		result := testing.Benchmark(func(b *testing.B) {
			for b.Loop() {
				part.do()
			}
		})
		each := float64(result.T.Nanoseconds()) / float64(result.N) / 1e3
		measured = append(measured, primitive{part.name, part.about, each})
	}
	return measured
}

func (r *report) primitiveTable(w *strings.Builder) {
	row(w, "part", "what", "CPU")
	row(w, "---", "---", "--:")
	for _, p := range r.Primitives {
		row(w, p.Name, p.About, fmt.Sprintf("%.1f µs", p.Each))
	}
}
