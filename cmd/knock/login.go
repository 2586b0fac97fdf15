package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/eventlog/sanitize"
)

// phase is a part of a login that is measured for itself.
type phase int

// The phases, in the order in which a login goes through them.
const (
	connect        phase = iota // TCP
	keyExchange                 // versions and key exchange, until the server's signature is verified
	authentication              // NEWKEYS and all of user authentication
	firstByte                   // session and shell, until the first byte of stdout
	wholeLogin                  // all of it, from the intended start until the connection is closed
	phases         int   = iota
)

func (p phase) String() string {
	return [phases]string{"connect", "key exchange", "authentication", "first byte", "whole login"}[p]
}

// result is what became of one login.
type result struct {
	intended time.Time     // when it should have begun
	late     time.Duration // how much later it did
	took     [phases]time.Duration
	reached  [phases]bool
	err      error // nil where it succeeded
	server   facts
}

// facts are what a server says of itself in the first login; they are the same in each.
type facts struct {
	version    string
	algorithms gossh.NegotiatedAlgorithms
}

// visit is one login while it lasts.
type visit struct {
	door  *door
	begun time.Time
	last  time.Duration // since begun: when the last phase ended
	told  string        // what the server has said in a banner
	result
}

// login makes a whole login that should have begun at intended. Its time-out counts from there too: a visitor who had
// to wait for a turn has waited.
func (d *door) login(ctx context.Context, intended time.Time) result {
	v := d.visit(intended)
	v.err = v.enter(ctx, v.serve)
	if v.err == nil {
		v.took[wholeLogin], v.reached[wholeLogin] = time.Since(intended), true
	}
	return v.result
}

func (d *door) visit(intended time.Time) *visit {
	now := time.Now()
	return &visit{door: d, begun: now, result: result{intended: intended, late: now.Sub(intended)}}
}

// enter connects and authenticates, has the connection served, and leaves nothing behind.
func (v *visit) enter(ctx context.Context, serve func(gossh.Conn, *wire) error) error {
	return v.connect(ctx, func(conn *wire) error {
		client, err := v.handshake(conn)
		if err != nil {
			return v.refused(conn, err)
		}
		err = serve(client, conn)
		switch expired := conn.timedOut(); {
		case expired == nil:
			return err
		case v.reached[firstByte]:
			return errEndless
		default:
			return failure(firstByte, expired)
		}
	})
}

// connect has use make something of a connection, until its time is up or ctx is done.
func (v *visit) connect(ctx context.Context, use func(*wire) error) error {
	deadline := v.intended.Add(v.door.timeout)
	conn, err := v.dial(ctx, deadline)
	if err != nil {
		return failure(connect, err)
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	_ = conn.SetDeadline(deadline)
	return use(conn)
}

// refused says in which phase a handshake failed, and in the server's words where it had some.
func (v *visit) refused(conn *wire, err error) error {
	words := cmp.Or(conn.words(), goodbye(err))
	if words == "" && hungUp(err) {
		words = v.told
	}
	if words != "" {
		return failed{"the server said: " + sanitize.String(strings.TrimSpace(words), maxReason)}
	}
	if !v.reached[keyExchange] {
		return failure(keyExchange, err)
	}
	return failure(authentication, err)
}

func (v *visit) dial(ctx context.Context, deadline time.Time) (*wire, error) {
	dialer := net.Dialer{Deadline: deadline}
	conn, err := dialer.DialContext(ctx, "tcp", v.door.address)
	if err != nil {
		return nil, err
	}
	v.ended(connect, time.Since(v.begun))
	return newWire(conn), nil
}

// ended takes down that a phase was over at, which counts from the visit's beginning.
func (v *visit) ended(p phase, at time.Duration) {
	v.took[p], v.reached[p] = at-v.last, true
	v.last = at
}

// handshake authenticates. The library tells the end of the key exchange by nothing but a question about the host key,
// which it asks with the server's signature verified, and again whenever keys are exchanged anew.
func (v *visit) handshake(conn net.Conn) (gossh.Conn, error) {
	var exchanged atomic.Int64
	config := v.door.config
	config.HostKeyCallback = func(host string, remote net.Addr, key gossh.PublicKey) error {
		err := v.door.config.HostKeyCallback(host, remote, key)
		if err == nil {
			exchanged.CompareAndSwap(0, int64(time.Since(v.begun)))
		}
		return err
	}
	config.BannerCallback = func(text string) error {
		v.told = text
		return nil
	}
	client, channels, requests, err := gossh.NewClientConn(conn, v.door.target.address(), &config)
	if at := exchanged.Load(); at != 0 {
		v.ended(keyExchange, time.Duration(at))
	}
	if err != nil {
		return nil, err
	}
	v.ended(authentication, time.Since(v.begun))
	if negotiated, ok := client.(gossh.AlgorithmsConnMetadata); ok {
		v.server = facts{string(client.ServerVersion()), negotiated.Algorithms()}
	}
	go gossh.DiscardRequests(requests)
	go turnDown(channels)
	return client, nil
}

// turnDown refuses what a server opens of itself.
func turnDown(channels <-chan gossh.NewChannel) {
	for channel := range channels {
		_ = channel.Reject(gossh.Prohibited, "")
	}
}

var (
	errHungUp  = errors.New("hung up before the session was over")
	errRefused = errors.New("the shell was refused")
	errDiffers = errors.New("stdout is not what was expected")
	errEndless = failed{"timed out before the session was over"}
)

// serve is a session as "ssh -T host </dev/null" has it: a shell, the end of the input, and reading until the server
// closes the channel.
func (v *visit) serve(client gossh.Conn, conn *wire) error {
	channel, requests, err := client.OpenChannel("session", nil)
	if err != nil {
		return failure(firstByte, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- outcome(requests, conn) }()
	go func() { _, _ = io.Copy(io.Discard, channel.Stderr()) }()
	granted, err := channel.SendRequest("shell", true, nil)
	if err == nil && !granted {
		err = errRefused
	}
	if err != nil {
		return failure(firstByte, err)
	}
	_ = channel.CloseWrite() // fails where the server has closed the channel already
	same := v.read(channel)
	if err := <-ended; err != nil {
		return failure(wholeLogin, err)
	}
	if !same {
		return failure(wholeLogin, errDiffers)
	}
	if err := client.Close(); err != nil && !errors.Is(err, net.ErrClosed) { // by x/crypto, where the server has hung up
		return failure(wholeLogin, err)
	}
	return nil
}

// read reads stdout to its end and reports whether it was what the door's visitors expect.
func (v *visit) read(stdout io.Reader) (same bool) {
	var rest []byte
	if same = true; v.door.expected != nil {
		rest = *v.door.expected
	}
	buffer := make([]byte, 4096)
	for {
		n, err := stdout.Read(buffer)
		if n > 0 && !v.reached[firstByte] {
			v.ended(firstByte, time.Since(v.begun))
		}
		same = same && bytes.HasPrefix(rest, buffer[:n])
		if same {
			rest = rest[n:]
		}
		if err != nil {
			return v.door.expected == nil || same && len(rest) == 0
		}
	}
}

// signalled says which signal a session ended by, if it names one that could be.
func signalled(payload []byte) error {
	var msg struct {
		Name string
		Rest []byte `ssh:"rest"`
	}
	if gossh.Unmarshal(payload, &msg) != nil || msg.Name == "" {
		return errors.New("ended by a signal")
	}
	return errors.New("ended by signal " + msg.Name)
}

// outcome waits until the channel is closed and says how the session ended (RFC 4254, section 6.10). A server that
// sends no status is taken to be content, unless it was the connection that ended.
func outcome(requests <-chan *gossh.Request, conn *wire) error {
	err, told := error(nil), false
	for request := range requests {
		switch {
		case request.Type == "exit-status" && len(request.Payload) == 4:
			told = true
			if status := binary.BigEndian.Uint32(request.Payload); status != 0 {
				err = fmt.Errorf("exit status %d", status)
			}
		case request.Type == "exit-signal":
			told, err = true, signalled(request.Payload)
		}
		_ = request.Reply(false, nil)
	}
	if !told && conn.ended.Load() {
		return errHungUp
	}
	return err
}
