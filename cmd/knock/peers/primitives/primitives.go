// Package primitives does the cryptography of a login as a server has to, and nothing else: the floor under what one
// costs. Everything is of Go's standard library and x/crypto, as the servers that are measured have it.
package primitives

import (
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/mlkem"
	"crypto/rand"

	"golang.org/x/crypto/chacha20poly1305"
)

// Keys are all that a login works with, made beforehand: those of the server, and what a client would send.
type Keys struct {
	host       ed25519.PrivateKey
	user       ed25519.PublicKey
	proof      []byte // the user's signature
	point      *ecdh.PublicKey
	kem        *mlkem.EncapsulationKey768
	packets    cipher.AEAD
	transcript []byte
}

// message is as long as what is signed in a login: a hash (RFC 8731), or a session id and a request (RFC 4252,
// section 7).
const message = 160

// New makes keys.
func New() (*Keys, error) {
	k := &Keys{transcript: make([]byte, message)}
	var user ed25519.PrivateKey
	var err error
	if _, k.host, err = ed25519.GenerateKey(rand.Reader); err != nil {
		return nil, err
	}
	if k.user, user, err = ed25519.GenerateKey(rand.Reader); err != nil {
		return nil, err
	}
	k.proof = ed25519.Sign(user, k.transcript)
	client, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	k.point = client.PublicKey()
	kem, err := mlkem.GenerateKey768()
	if err != nil {
		return nil, err
	}
	k.kem = kem.EncapsulationKey()
	k.packets, err = chacha20poly1305.New(make([]byte, chacha20poly1305.KeySize))
	return k, err
}

// X25519 makes an ephemeral key and the shared secret (RFC 8731).
func (k *Keys) X25519() {
	own, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err == nil {
		_, err = own.ECDH(k.point)
	}
	must(err)
}

// MLKEM encapsulates a secret to the client's key, as the server does in mlkem768x25519-sha256, besides X25519.
func (k *Keys) MLKEM() { k.kem.Encapsulate() }

// Sign signs the exchange hash with the host key.
func (k *Keys) Sign() { ed25519.Sign(k.host, k.transcript) }

// Verify checks the signature with which a user proves a key.
func (k *Keys) Verify() {
	if !ed25519.Verify(k.user, k.transcript, k.proof) {
		panic("a good signature was refused")
	}
}

// Packet encrypts n bytes in place; to decrypt them costs the same.
func (k *Keys) Packet(n int) {
	var nonce [chacha20poly1305.NonceSize]byte
	buffer := make([]byte, n, n+chacha20poly1305.Overhead)
	k.packets.Seal(buffer[:0], nonce[:], buffer, nil)
}

// must is for what fails only where the machine has no random numbers.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
