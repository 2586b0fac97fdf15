//go:build !windows

package main

import (
	"bufio"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/mlkem"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"
)

// The floor is the least that a login can cost a server in Go. It is a login without SSH: the same bytes, sent in the same
// turns as between knock and foyer, and the same cryptography. BenchmarkLogin measures it with the units and the names of
// the bench, so benchstat can compare the two.

// turns are how many bytes the client and the server send in turn in a login at foyer, with curve25519-sha256 and
// chacha20-poly1305. The client has the first turn.
var turns = map[string][]int{
	"publickey": {15, 543, 560, 452, 60, 44, 68, 52, 140, 100, 228, 28, 52, 44, 44, 236, 36},
	"password":  {15, 543, 560, 452, 60, 44, 68, 52, 84, 28, 52, 44, 44, 236, 36},
}

// asFloor makes the test binary serve the floor of a method.
const asFloor = "BENCH_TEST_FLOOR"

// play sends the turns of one side, and receives those of the other. It calls packet with the size of each.
func play(conn net.Conn, method string, server bool, packet func(size int)) error {
	buffer := make([]byte, 1024)
	for i, size := range turns[method] {
		var err error
		if packet(size); (i%2 == 1) == server {
			_, err = conn.Write(buffer[:size])
		} else {
			_, err = io.ReadFull(conn, buffer[:size])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// primitives do the cryptography of a login as a server does it.
type primitives struct {
	hostKey    ed25519.PrivateKey
	userKey    ed25519.PublicKey
	signature  []byte // the user's
	point      *ecdh.PublicKey
	kem        *mlkem.EncapsulationKey768
	aead       cipher.AEAD
	transcript []byte // as long as what is signed: a hash, or a session ID and a request (RFC 4252, section 7)
}

func newPrimitives() *primitives {
	p := &primitives{transcript: make([]byte, 160)}
	_, p.hostKey, _ = ed25519.GenerateKey(rand.Reader)
	public, private, _ := ed25519.GenerateKey(rand.Reader)
	p.userKey, p.signature = public, ed25519.Sign(private, p.transcript)
	client, _ := ecdh.X25519().GenerateKey(rand.Reader)
	kem, _ := mlkem.GenerateKey768()
	p.point, p.kem = client.PublicKey(), kem.EncapsulationKey()
	p.aead, _ = chacha20poly1305.New(make([]byte, chacha20poly1305.KeySize))
	return p
}

func (p *primitives) x25519() {
	own, _ := ecdh.X25519().GenerateKey(rand.Reader)
	_, _ = own.ECDH(p.point)
}

func (p *primitives) sign()   { ed25519.Sign(p.hostKey, p.transcript) }
func (p *primitives) verify() { ed25519.Verify(p.userKey, p.transcript, p.signature) }

// packet encrypts; decrypting costs the same.
func (p *primitives) packet(size int) {
	buffer := make([]byte, size, size+chacha20poly1305.Overhead)
	p.aead.Seal(buffer[:0], make([]byte, chacha20poly1305.NonceSize), buffer, nil)
}

// serveFloor prints its address and serves logins until its process is killed.
func serveFloor(method string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr())
	p := newPrimitives()
	for {
		conn, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		go func() {
			defer func() { _ = conn.Close() }()
			p.x25519()
			p.sign()
			if method == "publickey" {
				p.verify()
			}
			_ = play(conn, method, true, p.packet)
		}()
	}
}

func BenchmarkLogin(b *testing.B) {
	for _, method := range methods {
		b.Run("by="+method+"/server=floor", func(b *testing.B) { benchmarkFloor(b, method) })
	}
}

func benchmarkFloor(b *testing.B, method string) {
	server := exec.CommandContext(b.Context(), os.Args[0])
	server.Env = append(os.Environ(), asFloor+"="+method)
	stdout, err := server.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := server.Start(); err != nil {
		b.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	address := strings.TrimSpace(line)
	b.SetParallelism(4) // 8 at a time on 2 cores, as in the bench
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			conn, err := net.Dial("tcp", address)
			if err == nil {
				err = play(conn, method, false, func(int) {})
				_ = conn.Close()
			}
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.StopTimer()
	_ = server.Process.Kill()
	_ = server.Wait()
	used := server.ProcessState.UserTime() + server.ProcessState.SystemTime()
	b.ReportMetric(float64(used.Nanoseconds())/float64(b.N), "cpu-ns/op")
}

// BenchmarkPrimitives measures the parts of a login's cryptography, each by itself.
func BenchmarkPrimitives(b *testing.B) {
	p := newPrimitives()
	for _, part := range []struct {
		name string
		do   func()
	}{
		{"x25519", p.x25519},
		{"mlkem768", func() { p.kem.Encapsulate() }},
		{"ed25519-sign", p.sign},
		{"ed25519-verify", p.verify},
		{"chacha20-poly1305-2kB", func() { p.packet(2048) }},
	} {
		b.Run(part.name, func(b *testing.B) {
			for b.Loop() {
				part.do()
			}
		})
	}
}

// Both sides of a recorded login come to its end, with no bytes left.
func TestPlay(t *testing.T) {
	for method := range turns {
		client, server := net.Pipe()
		served := make(chan error, 1)
		go func() {
			served <- play(server, method, true, newPrimitives().packet)
			_ = server.Close()
		}()
		if err := play(client, method, false, func(int) {}); err != nil {
			t.Errorf("%s: the client: %v", method, err)
		}
		if err := <-served; err != nil {
			t.Errorf("%s: the server: %v", method, err)
		}
		if rest, err := io.ReadAll(client); err != nil || len(rest) > 0 {
			t.Errorf("%s: %d bytes are left: %v", method, len(rest), err)
		}
	}
}
