package counters

import (
	"net"

	"foyer/middleware/penalties"
)

// Reason names a limit, in the log and as the label of a metric.
type Reason string

// The limits: what each of them closed, refused or omitted, and why.
const (
	Connections           Reason = "connections"            // a connection: too many were open
	Unauthenticated       Reason = "unauthenticated"        // a connection: too many were unauthenticated
	SourceConnections     Reason = "source-connections"     // a connection: its source had too many open
	SourceUnauthenticated Reason = "source-unauthenticated" // a connection: its source had too many unauthenticated
	Busy                  Reason = "busy"                   // a connection: too many waited for their key exchange
	Sessions              Reason = "sessions"               // a session: its connection had too many at once
	SessionsInAll         Reason = "sessions-in-all"        // a session: all connections together had too many at once
	SessionsEver          Reason = "sessions-ever"          // a session: its connection had too many in total
	KeyExchanges          Reason = "key-exchanges"          // a connection: too many key exchanges
	GlobalRequests        Reason = "global-requests"        // a connection: too many global requests
	ChannelRequests       Reason = "channel-requests"       // a connection: a session had too many requests
	ChannelOpens          Reason = "channel-opens"          // a connection: too many channels other than sessions
	Received              Reason = "received"               // a connection: too many bytes that no session reads
	HandshakeTime         Reason = "handshake-time"         // a connection: not authenticated in time
	IdleTime              Reason = "idle-time"              // a connection: without a session for too long
	SessionTime           Reason = "session-time"           // a session: it exceeded its lifetime
	Unread                Reason = "unread"                 // a session: its client did not read its output
	Vanished              Reason = "vanished"               // a connection: its client answered no keepalive
	PenaltyNoAuth         Reason = "penalty-noauth"         // a connection: its source is blocked, see package penalties
	PenaltyAuthFail       Reason = "penalty-authfail"       // the same
	PenaltyInvalidUser    Reason = "penalty-invaliduser"    // the same
	PenaltyGraceExceeded  Reason = "penalty-grace-exceeded" // the same
	PenaltyElsewhere      Reason = "penalty-elsewhere"      // the same: other servers have blocked it
	LogLines              Reason = "log-lines"              // a log line: its connection had written too many
	LogRate               Reason = "log-rate"               // a log line: all connections had written too many
)

// Reasons are all limits.
var Reasons = []Reason{
	Connections, Unauthenticated, SourceConnections, SourceUnauthenticated, Busy, Sessions, SessionsInAll, SessionsEver,
	KeyExchanges, GlobalRequests, ChannelRequests, ChannelOpens, Received, HandshakeTime, IdleTime, SessionTime, Unread, Vanished,
	PenaltyNoAuth, PenaltyAuthFail, PenaltyInvalidUser, PenaltyGraceExceeded, PenaltyElsewhere, LogLines, LogRate,
}

// CountPenalty counts a connection that was refused because its source is blocked, as penalties.Config.Refused. It does
// not log it, because package penalties logs when a source is blocked and how many connections were refused.
func (t *Counters) CountPenalty(reason penalties.Reason, _ net.Addr) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.countOf("penalty-"+Reason(reason.String())).total++
}
