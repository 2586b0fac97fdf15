package session

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// chunk is how much is written under one deadline, so that a slow reader is told from one that does not read:
// the largest packet that RFC 4253 section 6.1 asks every client to take.
const chunk = 32 << 10

// input is one direction of input. At its end x/crypto wakes one reader and no other, so it lets in one at a time: a
// goroutine that a handler left there would else wait for ever, or the session for it.
type input struct {
	mu   sync.Mutex
	from io.Reader
}

func (in *input) Read(p []byte) (int, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.from.Read(p)
}

// stream is one direction of output: stdout, or stderr.
type stream struct {
	sess *Session
	to   io.Writer
	what sending

	mu      sync.Mutex
	cr      bool // the last byte written was a carriage return
	sent    atomic.Int64
	settled int64 // stdout's: how much of stderr the client has taken
	silent  bool  // stdout's: the client does not say whether it has
}

// Write sends p, for a raw terminal with line ends it can show. Each chunk has the session's write timeout.
func (st *stream) Write(p []byte) (written int, err error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st == &st.sess.stdout {
		st.sess.settle()
	}
	for written < len(p) {
		if err := st.sess.refusal(); err != nil {
			return written, err
		}
		part := p[written:min(written+chunk, len(p))]
		if err := st.send(st.translate(part)); err != nil {
			return written, err
		}
		written += len(part)
	}
	return written, nil
}

func (st *stream) send(p []byte) error {
	st.sess.clock.begin(st.what)
	n, err := st.to.Write(p)
	st.sess.clock.done(st.what)
	st.sent.Add(int64(n))
	if err != nil && st.sess.Err() != nil {
		return st.sess.Err()
	}
	return err
}

// last says the session's last words, whatever has become of it.
func (st *stream) last(words string) {
	eol := "\n"
	if st.sess.ptyState() != NotAsked {
		eol = "\r\n" // right on a raw terminal and on a cooked one
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	_ = st.send(st.translate([]byte(words + eol)))
}

// settleTimeout is how long stdout waits for stderr to be seen: longer than any round trip that a person puts up with.
const settleTimeout = 2 * time.Second

// settle makes sure that a person reads what was said on stderr before what follows on stdout. OpenSSH writes the two
// out one after the other, stdout first, where they arrive together (channels.c, channel_post_open), so the client is
// asked for a sign of life in between, as sshd does to find out who is still there. Programs, which ask for no
// terminal, are spared the round trip.
func (s *Session) settle() {
	said := s.stderr.sent.Load()
	if s.stdout.settled == said || s.stdout.silent || s.ptyState() == NotAsked {
		return
	}
	s.stdout.settled = said
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		_, _ = s.SendRequest("keepalive@openssh.com", true, nil) // "no" is an answer too
	}()
	select {
	case <-answered:
	case <-s.ctx.Done():
	case <-time.After(settleTimeout):
		s.stdout.silent = true // who did not answer once is not asked, nor waited for, again
	}
}

// translate writes \n as \r\n where a PTY was granted: there the client's terminal is raw, and nobody else does it
// (ONLCR, RFC 4254 section 8). A \r\n stays as it is, also when its halves are written separately.
func (st *stream) translate(p []byte) []byte {
	if st.sess.ptyState() != Granted || len(p) == 0 {
		return p
	}
	defer func() { st.cr = p[len(p)-1] == '\r' }()
	if !bytes.ContainsRune(p, '\n') {
		return p
	}
	out := make([]byte, 0, len(p)+bytes.Count(p, []byte{'\n'}))
	before := byte(0)
	if st.cr {
		before = '\r'
	}
	for _, c := range p {
		if c == '\n' && before != '\r' {
			out = append(out, '\r')
		}
		out = append(out, c)
		before = c
	}
	return out
}
