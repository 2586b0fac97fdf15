package session

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"time"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/eventlog/counters"
)

// The limits of one session's requests. A request over a limit is refused and has no effect.
const (
	// maxRequests is how many requests a session may make at once, and requestRate how many more per second. Beyond that
	// the connection is closed. A window that a person resizes sends up to 60 requests a second, perhaps for hours.
	maxRequests = 10_000
	requestRate = 100
	// maxEnviron is sshd's limit on variables (session.c). maxEnvironBytes is the size of the largest packet (RFC 4253
	// section 6.1); a client that sends all its locale variables needs a hundredth of it.
	maxEnviron      = 128
	maxEnvironBytes = 32 << 10
	// maxCommand is the same size, which is far more than git, rsync and scp need for their paths. Of a longer command, and
	// of a longer name of a subsystem, no more is kept; see Info.Truncated.
	maxCommand = 32 << 10
	// maxSubsystem and maxTerm leave ample room for names like "sftp" and "xterm-256color"; terminfo allows 128.
	maxSubsystem = 64
	maxTerm      = 128
	// maxModes is the size of all opcodes of RFC 4254 section 8, with five bytes each.
	maxModes = 160 * 5
	// maxDimension is more than the widest screens have in small print. It stops applications that allocate a cell for
	// each row and column from allocating billions.
	maxDimension = 2048
)

// signals are the names of RFC 4254 section 6.10.
var signals = map[ssh.Signal]bool{
	ssh.SIGABRT: true, ssh.SIGALRM: true, ssh.SIGFPE: true, ssh.SIGHUP: true, ssh.SIGILL: true, ssh.SIGINT: true,
	ssh.SIGKILL: true, ssh.SIGPIPE: true, ssh.SIGQUIT: true, ssh.SIGSEGV: true, ssh.SIGTERM: true,
	ssh.SIGUSR1: true, ssh.SIGUSR2: true,
}

// serve answers every request until the channel or the connection is closed, and then waits for the handler to return.
func (s *Session) serve(requests <-chan *gossh.Request) {
	defer s.discard()
	defer s.waitForHandler()
	defer s.cancel()
	count := 0
	for req := range requests {
		if count++; count > maxRequests && s.flooded(count) {
			continue
		}
		ok := s.decide(req.Type, req.Payload)
		if s.next != nil && s.hold != nil {
			release := s.hold(s.ctx.Context)
			s.release.Store(&release)
		}
		s.reply(req, ok)
		// The handler starts after the reply, because clients expect the reply before any data.
		if next := s.next; next != nil {
			s.next = nil
			s.started.Store(true)
			go s.run(next)
		}
	}
	if s.resized != nil {
		close(s.resized)
	}
}

func (s *Session) waitForHandler() {
	if s.started.Load() {
		<-s.handlerDone
	}
}

// flooded reports whether count requests are too many for the session's age. If so, it closes the connection.
func (s *Session) flooded(count int) bool {
	limit := maxRequests + requestRate*int(s.clock.age()/time.Second)
	if count <= limit {
		return false
	}
	s.closeConn(fmt.Errorf("more than %d requests", limit), counters.ChannelRequests)
	return true
}

// discard reads the input that the handler has not read, at most one window of it. The channel is closed, so the input
// ends. Whoever counts unread bytes then counts these as read.
func (s *Session) discard() {
	_, _ = io.Copy(io.Discard, &s.stdin)
	_, _ = io.Copy(io.Discard, &s.stderrIn)
}

func (s *Session) reply(req *gossh.Request, ok bool) {
	if req.WantReply {
		s.clock.begin(sendingReply)
		_ = req.Reply(ok, nil)
		s.clock.done(sendingReply)
	}
}

// decide calls handle and refuses the request if one of the server's callbacks panics.
func (s *Session) decide(request string, payload []byte) (ok bool) {
	defer logPanic()
	return s.handle(request, payload)
}

// handle does what a request asks for and reports whether it is granted. It refuses all other types of request, such as
// X11 and agent forwarding.
func (s *Session) handle(request string, payload []byte) bool {
	switch request {
	case "shell":
		return len(payload) == 0 && s.start(request, "", "", false)
	case "exec":
		// A malformed command is refused. An empty one is a command, not a shell.
		command, ok := parseString(payload, len(payload))
		kept, truncated := truncate(command, maxCommand)
		return ok && s.start(request, kept, "", truncated)
	case "subsystem":
		name, ok := parseString(payload, len(payload))
		kept, truncated := truncate(name, maxSubsystem)
		return ok && name != "" && s.start(request, "", kept, truncated)
	case "pty-req":
		return s.requestPTY(payload)
	case "window-change":
		return s.resize(payload)
	case "env":
		return s.setEnv(payload)
	case "signal":
		name, ok := parseString(payload, maxSubsystem)
		if !ok || !signals[ssh.Signal(name)] {
			return false
		}
		return s.signals.send(ssh.Signal(name), true)
	case "x11-req", "auth-agent-req@openssh.com":
		s.forwarding = s.forwarding || s.request == "" // not while the handler reads it
		return false
	case "break":
		var msg struct{ Milliseconds uint32 } // RFC 4335
		return gossh.Unmarshal(payload, &msg) == nil && s.breaks.send(true, false)
	}
	return false
}

// start handles a shell, exec or subsystem request, of which a session may have one, and chooses the handler.
func (s *Session) start(request, command, subsystem string, truncated bool) bool {
	if s.request != "" {
		return false
	}
	s.request, s.command, s.subsystem, s.truncated = request, command, subsystem, truncated
	defer func() {
		if s.next == nil { // a refused request has no effect
			s.request, s.command, s.subsystem, s.truncated = "", "", "", false
		}
	}()
	if s.srv.SessionRequestCallback == nil || s.srv.SessionRequestCallback(s, request) {
		s.next = s.srv.Handler
	}
	return s.next != nil
}

// requestPTY parses a pty-req (RFC 4254 section 6.2) and asks the server's PtyCallback. It refuses a second one, and one
// after the shell, exec or subsystem request.
func (s *Session) requestPTY(payload []byte) bool {
	var msg struct {
		Term          string
		Columns, Rows uint32
		Width, Height uint32
		Modes         string
	}
	if s.request != "" || s.ptyState() != NotAsked || gossh.Unmarshal(payload, &msg) != nil ||
		len(msg.Term) > maxTerm || len(msg.Modes) > maxModes {
		return false
	}
	modes, ok := parseModes(msg.Modes)
	if !ok {
		return false
	}
	terminal := ssh.Pty{
		Term:   msg.Term,
		Window: window(ssh.Window{}, msg.Columns, msg.Rows, msg.Width, msg.Height),
		Modes:  modes,
	}
	granted := s.srv.PtyCallback == nil || s.srv.PtyCallback(&s.ctx, terminal)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.terminal, s.pty = terminal, Refused
	if granted {
		s.pty = Granted
		s.resized = make(chan ssh.Window, 1)
		s.resized <- terminal.Window
	}
	return granted
}

// resize handles a window-change (RFC 4254 section 6.7). The channel always holds the newest size and no older one.
func (s *Session) resize(payload []byte) bool {
	var msg struct{ Columns, Rows, Width, Height uint32 }
	if s.ptyState() != Granted || gossh.Unmarshal(payload, &msg) != nil {
		return false
	}
	s.mu.Lock()
	s.terminal.Window = window(s.terminal.Window, msg.Columns, msg.Rows, msg.Width, msg.Height)
	newest := s.terminal.Window
	s.mu.Unlock()
	select {
	case <-s.resized:
	default:
	}
	s.resized <- newest // never blocks, because only the request loop sends to it
	return true
}

// setEnv handles an env request (RFC 4254 section 6.4). It only changes what Environ returns, because there is no
// process.
func (s *Session) setEnv(payload []byte) bool {
	var msg struct{ Name, Value string }
	if s.request != "" || gossh.Unmarshal(payload, &msg) != nil ||
		msg.Name == "" || strings.ContainsAny(msg.Name, "=\x00") || strings.Contains(msg.Value, "\x00") {
		return false
	}
	variable := msg.Name + "=" + msg.Value
	if len(s.environ) == maxEnviron || s.environBytes+len(variable) > maxEnvironBytes {
		return false
	}
	s.environ = append(s.environ, variable)
	s.environBytes += len(variable)
	return true
}

// truncate returns the beginning of text, limit bytes at most, and whether there is more.
func truncate(text string, limit int) (string, bool) {
	if len(text) <= limit {
		return text, false
	}
	return strings.Clone(text[:limit]), true
}

// parseString parses a payload that consists of one string of at most limit bytes.
func parseString(payload []byte, limit int) (string, bool) {
	var msg struct{ Value string }
	if gossh.Unmarshal(payload, &msg) != nil || len(msg.Value) > limit {
		return "", false
	}
	return msg.Value, true
}

// window returns w with new dimensions. "Zero dimension parameters MUST be ignored" (RFC 4254 section 6.2).
func window(w ssh.Window, columns, rows, width, height uint32) ssh.Window {
	for _, d := range []struct {
		to    *int
		value uint32
		limit uint32
	}{
		{&w.Width, columns, maxDimension},
		{&w.Height, rows, maxDimension},
		// No terminal has cells wider or higher than 64 pixels.
		{&w.WidthPixels, width, maxDimension * 64},
		{&w.HeightPixels, height, maxDimension * 64},
	} {
		if d.value != 0 {
			*d.to = int(min(d.value, d.limit))
		}
	}
	return w
}

// parseModes parses encoded terminal modes (RFC 4254 section 8). Opcodes 1 to 159 have a uint32 argument each; 0 and the
// undefined ones end the list.
func parseModes(encoded string) (gossh.TerminalModes, bool) {
	modes := gossh.TerminalModes{}
	for rest := []byte(encoded); len(rest) > 0 && rest[0] > 0 && rest[0] < 160; rest = rest[5:] {
		if len(rest) < 5 {
			return nil, false
		}
		modes[rest[0]] = binary.BigEndian.Uint32(rest[1:5])
	}
	return modes, true
}
