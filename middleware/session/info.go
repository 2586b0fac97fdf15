package session

import "charm.land/ssh"

// Info is what a layer may want to know of a session that [ssh.Session] does not tell.
type Info struct {
	Request  string  // "shell", "exec" or "subsystem"
	PTY      PTY     // what became of a request for a terminal
	Terminal ssh.Pty // what the client said of its terminal, also where the PTY was refused
	Bytes    int64   // sent to the visitor so far, on stdout and stderr
	Exited   bool    // an exit status was sent, or tried to
	Status   int     // that exit status
	Err      error   // why foyer gave the session up, if it did
}

// InfoOf returns what is known of sess at this moment, however many middlewares have wrapped it. Of a session on another
// channel than foyer's it returns what the interface tells.
func InfoOf(sess ssh.Session) Info {
	s, ok := sess.Context().Value(ssh.ContextKeySession).(*Session)
	if !ok {
		return guess(sess)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return Info{
		Request:  s.request,
		PTY:      s.pty,
		Terminal: s.terminal,
		Bytes:    s.stdout.sent.Load() + s.stderr.sent.Load(),
		Exited:   s.exited,
		Status:   s.status,
		Err:      s.err,
	}
}

func guess(sess ssh.Session) Info {
	f := Info{Request: "shell"}
	switch {
	case sess.Subsystem() != "":
		f.Request = "subsystem"
	case sess.RawCommand() != "":
		f.Request = "exec"
	}
	if terminal, _, granted := sess.Pty(); granted {
		f.PTY, f.Terminal = Granted, terminal
	}
	return f
}
