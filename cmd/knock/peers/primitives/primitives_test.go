package primitives

import "testing"

// BenchmarkPrimitives is what the cryptography of a login costs a server, each part by itself.
func BenchmarkPrimitives(b *testing.B) {
	keys, err := New()
	if err != nil {
		b.Fatal(err)
	}
	for _, part := range []struct {
		name string
		do   func()
	}{
		{"x25519", keys.X25519},
		{"mlkem768", keys.MLKEM},
		{"ed25519-sign", keys.Sign},
		{"ed25519-verify", keys.Verify},
		{"chacha20-poly1305-64B", func() { keys.Packet(64) }},
		{"chacha20-poly1305-2kB", func() { keys.Packet(2048) }},
	} {
		b.Run(part.name, func(b *testing.B) {
			for b.Loop() {
				part.do()
			}
		})
	}
}

func TestPrimitives(t *testing.T) {
	keys, err := New()
	if err != nil {
		t.Fatal(err)
	}
	keys.X25519()
	keys.MLKEM()
	keys.Sign()
	keys.Verify()
	keys.Packet(64)
	keys.transcript[0]++
	defer func() {
		if recover() == nil {
			t.Error("a signature of something else was taken")
		}
	}()
	keys.Verify()
}
