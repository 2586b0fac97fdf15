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

// What one session may ask for. A request over a limit is answered "no" and leaves no trace.
const (
	// maxRequests at once, and requestRate more with each second that the session lasts; more end the connection. A
	// window that is dragged sends one with each picture of the screen, 60 a second, and may be dragged for hours.
	maxRequests = 10_000
	requestRate = 100
	// maxEnviron is sshd's own limit on variables (session.c), and maxEnvironBytes is what one packet could hold
	// (RFC 4253 section 6.1): a client that sends its whole locale needs a hundredth of it.
	maxEnviron      = 128
	maxEnvironBytes = 32 << 10
	// maxCommand is one packet too, and far beyond the path lengths that git, rsync and scp send.
	maxCommand = 32 << 10
	// maxSubsystem and maxTerm are generous for names like "sftp" and "xterm-256color"; terminfo stops at 128.
	maxSubsystem = 64
	maxTerm      = 128
	// maxModes is every opcode of RFC 4254 section 8 once, at five bytes.
	maxModes = 160 * 5
	// maxDimension is wider than the widest screens in small print, and keeps an application that makes a cell for
	// each row and column from making billions.
	maxDimension = 2048
)

// signals are the names of RFC 4254 section 6.10.
var signals = map[ssh.Signal]bool{
	ssh.SIGABRT: true, ssh.SIGALRM: true, ssh.SIGFPE: true, ssh.SIGHUP: true, ssh.SIGILL: true, ssh.SIGINT: true,
	ssh.SIGKILL: true, ssh.SIGPIPE: true, ssh.SIGQUIT: true, ssh.SIGSEGV: true, ssh.SIGTERM: true,
	ssh.SIGUSR1: true, ssh.SIGUSR2: true,
}

// serve answers every request until the client closes the channel or is gone, and waits for the handler to end.
func (s *Session) serve(requests <-chan *gossh.Request) {
	defer s.discard()
	defer s.waitForHandler()
	defer s.cancel()
	count := 0
	for req := range requests {
		if count++; count > maxRequests && s.flooded(count) {
			continue
		}
		s.reply(req, s.decide(req.Type, req.Payload))
		// Only now: clients want the reply before the first byte.
		if next := s.next; next != nil {
			s.next = nil
			s.begun.Store(true)
			go s.run(next)
		}
	}
	if s.resized != nil {
		close(s.resized)
	}
}

func (s *Session) waitForHandler() {
	if s.begun.Load() {
		<-s.handled
	}
}

// flooded reports whether count requests are too many for the session's age, and ends the connection if they are.
func (s *Session) flooded(count int) bool {
	limit := maxRequests + requestRate*int(s.clock.age()/time.Second)
	if count <= limit {
		return false
	}
	s.hangUp(fmt.Errorf("more than %d requests", limit), counters.ChannelRequests)
	return true
}

// discard reads what the handler has left of the input. The channel is closed, so there is an end to it; x/crypto has
// kept it until now, a window of it at most, and who counts what is kept learns that it is not any more.
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

// decide is permit, except that a panic in one of the server's callbacks refuses what was asked of it.
func (s *Session) decide(request string, payload []byte) (ok bool) {
	defer rescue()
	return s.permit(request, payload)
}

// permit does what a request asks for, and reports whether it may be done. All that it does not know is refused:
// X11 and agent forwarding among it.
func (s *Session) permit(request string, payload []byte) bool {
	switch request {
	case "shell":
		return len(payload) == 0 && s.begin(request, "", "")
	case "exec":
		// A malformed command is no shell, and neither is an empty one.
		command, ok := parseString(payload, maxCommand)
		return ok && s.begin(request, command, "")
	case "subsystem":
		name, ok := parseString(payload, maxSubsystem)
		return ok && name != "" && s.begin(request, "", name)
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
	case "break":
		var msg struct{ Milliseconds uint32 } // RFC 4335
		return gossh.Unmarshal(payload, &msg) == nil && s.breaks.send(true, false)
	}
	return false
}

// begin takes the one shell, exec or subsystem request that a session may have, and picks its handler.
func (s *Session) begin(request, command, subsystem string) bool {
	if s.request != "" {
		return false
	}
	s.request, s.command, s.subsystem = request, command, subsystem
	defer func() {
		if s.next == nil { // refused, and as if it had never been asked
			s.request, s.command, s.subsystem = "", "", ""
		}
	}()
	if s.srv.SessionRequestCallback == nil || s.srv.SessionRequestCallback(s, request) {
		s.next = s.srv.Handler
	}
	return s.next != nil
}

// requestPTY parses a pty-req (RFC 4254 section 6.2) and puts it before the server's PtyCallback. One is enough: a
// second, or one that comes after the shell, is refused.
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

// resize takes a window-change (RFC 4254 section 6.7). Only the newest size waits for a reader, and always does.
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
	s.resized <- newest // never blocks: the request loop alone sends here
	return true
}

// setEnv takes an env request (RFC 4254 section 6.4). It sets nothing but what Environ returns: there is no process.
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

// parseString parses a payload that is one string of at most limit bytes, and nothing else.
func parseString(payload []byte, limit int) (string, bool) {
	var msg struct{ Value string }
	if gossh.Unmarshal(payload, &msg) != nil || len(msg.Value) > limit {
		return "", false
	}
	return msg.Value, true
}

// window applies new dimensions to a window; "zero dimension parameters MUST be ignored" (RFC 4254 section 6.2).
func window(w ssh.Window, columns, rows, width, height uint32) ssh.Window {
	for _, d := range []struct {
		to    *int
		value uint32
		limit uint32
	}{
		{&w.Width, columns, maxDimension},
		{&w.Height, rows, maxDimension},
		// A cell is at most 64 pixels wide, to be generous.
		{&w.WidthPixels, width, maxDimension * 64},
		{&w.HeightPixels, height, maxDimension * 64},
	} {
		if d.value != 0 {
			*d.to = int(min(d.value, d.limit))
		}
	}
	return w
}

// parseModes parses encoded terminal modes (RFC 4254 section 8): opcodes 1 to 159 have a uint32 each, 0 ends the
// list, and so does any other, which is not defined.
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
