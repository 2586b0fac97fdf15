package session

import "charm.land/ssh"

// Info is what is known about a session beyond the methods of [ssh.Session].
type Info struct {
	Request    string  // "shell", "exec" or "subsystem"
	Truncated  bool    // the command has more than 32 KiB, or the subsystem's name more than 64 bytes: the session has its beginning
	Forwarding bool    // the client asked for X11 or its agent to be forwarded, which is refused
	PTY        PTY     // whether a PTY was requested, and the answer
	Terminal   ssh.Pty // the client's terminal, also if the PTY was refused
	Bytes      int64   // bytes sent to the visitor so far, on stdout and stderr
	Exited     bool    // an exit status was sent, or sending it was tried
	Status     int     // that exit status
	Err        error   // why the server ended the session, or nil
}

// InfoOf returns what is known about sess now, even if middlewares have wrapped it. For a session of another package it
// returns what can be derived from the methods of [ssh.Session].
func InfoOf(sess ssh.Session) Info {
	s, ok := sess.Context().Value(ssh.ContextKeySession).(*Session)
	if !ok {
		return derive(sess)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return Info{
		Request:    s.request,
		Truncated:  s.truncated,
		Forwarding: s.forwarding,
		PTY:        s.pty,
		Terminal:   s.terminal,
		Bytes:      s.stdout.sent.Load() + s.stderr.sent.Load(),
		Exited:     s.exited,
		Status:     s.status,
		Err:        s.err,
	}
}

func derive(sess ssh.Session) Info {
	info := Info{Request: "shell"}
	switch {
	case sess.Subsystem() != "":
		info.Request = "subsystem"
	case sess.RawCommand() != "":
		info.Request = "exec"
	}
	if terminal, _, granted := sess.Pty(); granted {
		info.PTY, info.Terminal = Granted, terminal
	}
	return info
}
