package session

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// chunk is how much is written within one write timeout, so that a slow reader is not taken for one that does not read.
// It is the largest packet that every client must accept (RFC 4253 section 6.1).
const chunk = 32 << 10

// input is one input stream. It admits one reader at a time, because x/crypto wakes only one at EOF: any other one would
// block for ever.
type input struct {
	mu   sync.Mutex
	from io.Reader
}

func (in *input) Read(p []byte) (int, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.from.Read(p)
}

// stream is one output stream: stdout or stderr.
type stream struct {
	sess *Session
	to   io.Writer
	what sending

	mu           sync.Mutex
	cr           bool // the last byte written was a carriage return
	sent         atomic.Int64
	confirmed    int64 // for stdout: how many bytes of stderr the client is known to have read
	unresponsive bool  // for stdout: the client does not answer keepalives
}

// Write sends p, with \r\n line ends if the client's terminal is raw. Each chunk has the session's write timeout.
func (st *stream) Write(p []byte) (written int, err error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st == &st.sess.stdout {
		st.sess.awaitStderr()
	}
	for written < len(p) {
		if err := st.sess.writeErr(); err != nil {
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

// writeLast writes the session's last text, even if the handler may not write any more.
func (st *stream) writeLast(text string) {
	eol := "\n"
	if st.sess.ptyState() != NotAsked {
		eol = "\r\n" // correct in raw and in cooked mode
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	_ = st.send(st.translate([]byte(text + eol)))
}

// stderrTimeout is how long stdout waits until the client has read stderr: longer than any usable network's round trip.
const stderrTimeout = 2 * time.Second

// awaitStderr makes sure that a person reads what is on stderr before what follows on stdout. If both arrive together,
// OpenSSH writes stdout first (channels.c, channel_post_open). So a keepalive is sent in between and its answer awaited.
// Sessions without a terminal belong to programs and skip this round trip.
func (s *Session) awaitStderr() {
	sent := s.stderr.sent.Load()
	if s.stdout.confirmed == sent || s.stdout.unresponsive || s.ptyState() == NotAsked {
		return
	}
	s.stdout.confirmed = sent
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		_, _ = s.SendRequest("keepalive@openssh.com", true, nil) // a refusal is an answer too
	}()
	select {
	case <-answered:
	case <-s.ctx.Done():
	case <-time.After(stderrTimeout):
		s.stdout.unresponsive = true // do not wait again
	}
}

// translate returns p with \r\n for each \n if a PTY was granted. Then the client's terminal is raw, and the server must
// translate (ONLCR, RFC 4254 section 8). A \r\n stays as it is, even if its two bytes are written separately.
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
