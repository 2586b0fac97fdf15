package counters

import (
	"net"

	"foyer/middleware/penalties"
)

// Reason names a limit, in words that can stand in a log and as the label of a metric.
type Reason string

// The limits that there are, and what each of them ended or left out. [Reasons] lists them.
const (
	Connections           Reason = "connections"            // a connection: too many were open in all
	Unauthenticated       Reason = "unauthenticated"        // a connection: too many were not authenticated
	SourceConnections     Reason = "source-connections"     // a connection: its source had too many open
	SourceUnauthenticated Reason = "source-unauthenticated" // a connection: its source had too many not authenticated
	Sessions              Reason = "sessions"               // a session: its connection had too many at once
	SessionsEver          Reason = "sessions-ever"          // a session: its connection had had too many
	KeyExchanges          Reason = "key-exchanges"          // a connection: it changed keys too often
	GlobalRequests        Reason = "global-requests"        // a connection: it made too many of them
	ChannelRequests       Reason = "channel-requests"       // a session: too many were made of it
	ChannelOpens          Reason = "channel-opens"          // a connection: it opened too many channels
	Received              Reason = "received"               // a connection: it sent too much that no session reads
	HandshakeTime         Reason = "handshake-time"         // a connection: nobody was authenticated in time
	IdleTime              Reason = "idle-time"              // a connection: it had no session for too long
	SessionTime           Reason = "session-time"           // a session: it lived too long
	Unread                Reason = "unread"                 // a session: its client did not read what it was sent
	Vanished              Reason = "vanished"               // a connection: its client answered no keepalive
	PenaltyNoAuth         Reason = "penalty-noauth"         // a connection: its source left too often without a try
	PenaltyAuthFail       Reason = "penalty-authfail"       // a connection: its source failed too often
	PenaltyInvalidUser    Reason = "penalty-invaliduser"    // a connection: its source named users who do not exist
	PenaltyGraceExceeded  Reason = "penalty-grace-exceeded" // a connection: its source ran out of time too often
	LogLines              Reason = "log-lines"              // a line of the log: its connection had written too many
	LogRate               Reason = "log-rate"               // a line of the log: all connections had written too many
)

// Reasons returns all of them, those too that nothing was counted for yet.
func Reasons() []Reason {
	return []Reason{
		Connections, Unauthenticated, SourceConnections, SourceUnauthenticated,
		Sessions, SessionsEver, KeyExchanges, GlobalRequests, ChannelRequests, ChannelOpens, Received,
		HandshakeTime, IdleTime, SessionTime, Unread, Vanished,
		PenaltyNoAuth, PenaltyAuthFail, PenaltyInvalidUser, PenaltyGraceExceeded,
		LogLines, LogRate,
	}
}

// CountPenalty counts a connection that was refused because of what its source owes. It does not tell of it: the
// ledger tells when a source is blocked, and how many connections it refused. It fits penalties.Config.Refused.
func (t *Counters) CountPenalty(reason penalties.Reason, _ net.Addr) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.of("penalty-"+Reason(reason.String())).total++
}
