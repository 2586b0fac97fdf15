package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"foyer/cmd/knock/peers/turns"
	"foyer/middleware"
)

// The ways in, each measured by itself.
const (
	publickey = "publickey"
	password  = "password"
)

func methods() []string { return []string{publickey, password} }

// visitor logs in by one method and checks what there is to read. It is for what knock does not do: the first login
// of a door, and logins over a long link. All measured series of logins are knock's.
type visitor struct {
	house  *house
	method string
	logins turns.Scripts // what to play where there is no SSH
}

// algorithms are the same for all doors that have them; for foyer's ancestor there are others (see [door.compat]).
func (d door) algorithms() (kex, cipher, hostKey string) {
	if d.compat {
		return "curve25519-sha256", "aes128-ctr", "ssh-ed25519"
	}
	return "curve25519-sha256", "chacha20-poly1305@openssh.com", "ssh-ed25519"
}

func (v *visitor) config(d door) *gossh.ClientConfig {
	kex, cipher, hostKey := d.algorithms()
	config := &gossh.ClientConfig{
		User: guest, Auth: []gossh.AuthMethod{gossh.PublicKeys(v.house.signer)}, Timeout: patience,
		HostKeyCallback:   gossh.InsecureIgnoreHostKey(), // on loopback, to a server that was just started
		HostKeyAlgorithms: []string{hostKey},
	}
	config.KeyExchanges, config.Ciphers = []string{kex}, []string{cipher}
	if v.method == password {
		config.Auth = []gossh.AuthMethod{gossh.Password(v.house.password)}
	}
	return config
}

// login makes one login. A door that does not answer is given up with an error.
func (v *visitor) login(ctx context.Context, d door, address string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if d.name == floor {
		return turns.Visit(conn, v.logins, v.method)
	}
	said, err := v.shell(conn, d, address)
	if err == nil && said != middleware.SimpleMessage {
		err = fmt.Errorf("it said %.80q", said)
	}
	return err
}

// shell asks for a shell as "ssh -T" does and returns what it says.
func (v *visitor) shell(conn net.Conn, d door, address string) (string, error) {
	client, channels, requests, err := gossh.NewClientConn(conn, address, v.config(d))
	if err != nil {
		return "", err
	}
	sess, err := gossh.NewClient(client, channels, requests).NewSession()
	if err != nil {
		return "", err
	}
	stdout, err := sess.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := sess.Shell(); err != nil {
		return "", err
	}
	said, err := io.ReadAll(stdout)
	if err != nil {
		return "", err
	}
	var silent *gossh.ExitMissingError // Conch says nothing of it
	if err := sess.Wait(); err != nil && !errors.As(err, &silent) {
		return "", err
	}
	return string(said), client.Close()
}

// near and far are two lengths of the link over which round trips are counted: how long one takes. What a login takes
// longer over the far one is round trips and nothing else, however long the door thinks.
const (
	near = 50 * time.Millisecond
	far  = 250 * time.Millisecond
)

// trips is how far apart a door and its visitors are.
type trips struct {
	Link   float64 `json:"login_over_50ms_s"` // how long a login takes where a round trip takes 50 ms
	Number int     `json:"round_trips"`       // after that of TCP itself
	Server int     `json:"server_bytes"`
	Client int     `json:"client_bytes"`
}

// count counts the round trips of a login, but not of the first one, in which some doors do more than in all others.
// What was sent is what the floor plays.
func (v *visitor) count(ctx context.Context, r *running) (trips, turns.Script, error) {
	if err := v.login(ctx, r.door, r.address()); err != nil {
		return trips{}, nil, err
	}
	short, _, err := v.over(ctx, r, near)
	if err != nil {
		return trips{}, nil, err
	}
	long, script, err := v.over(ctx, r, far)
	if err != nil {
		return trips{}, nil, err
	}
	number := math.Round(float64(long-short) / float64(far-near))
	return trips{short.Seconds(), int(number), script.Sent(true), script.Sent(false)}, script, nil
}

// over makes a login over a link.
func (v *visitor) over(ctx context.Context, r *running, distance time.Duration) (time.Duration, turns.Script, error) {
	l, err := openLink(ctx, r.address(), distance/2)
	if err != nil {
		return 0, nil, err
	}
	defer l.close()
	begun := time.Now()
	if err := v.login(ctx, r.door, l.address()); err != nil {
		return 0, nil, err
	}
	return time.Since(begun), l.script(), nil
}
