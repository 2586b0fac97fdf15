package main

import "github.com/spf13/cobra"

// limitsTopic is what "foyer help limits" prints.
func limitsTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "limits",
		Short: "Every limit: what it is, why, and what happens above it",
		Long: `Everything that an unauthenticated client can send is bounded in time, memory and
count. The log says "limit reached" with a reason, once a minute for each source,
and counts the rest.

  limit                             default              above it
  connections                       4096 at most;        an unauthenticated one is
  (--max-connections)               half per source      disconnected and told why
  unauthenticated connections       1024 at most;        one that has done little is
  (--max-unauthenticated)           half per source      disconnected and told why
  login (--handshake-timeout)       2 min; 20 s for the  disconnected and told why
                                    key exchange
  a PROXY header (--proxy-from)     4 kB; 20 s           disconnected and logged
  no session (--idle-timeout)       30 s                 disconnected
  no answer (--keepalive)           3 times 15 s         disconnected
  a session (--session-timeout)     10 min               ends, told why, status 1
  unread output (--unread-timeout)  10 s                 the channel is closed
  sessions at once (--max-sessions) 10; in all, one for  refused, told why
                                    each connection, and
                                    4096 more
  sessions in all                   1000                 disconnected
  (--max-sessions-ever)
  requests in a session             10,000, and          disconnected
                                    100 a second
  environment variables             128, 32 kB           refused
  a text of a rule                  256 KiB; 5000 lines  the file is refused, with its line
                                    of Markdown
  a command that rules look at      4 KiB                the rest is not compared
  pages that are kept laid out      256, 4 MiB           laid out again
  visitors in the pager             200; 1 MiB each at   read the page without it
                                    80 columns, 24 rows
  the screen of a program           300 columns,         its upper left part is used
                                    100 rows
  key exchanges                     10 a minute          disconnected
  key exchanges at once             4 per CPU            1024 per CPU wait, 5 s at most
  global requests                   120 a minute         disconnected
  proofs of host keys               one request          refused
  channels other than sessions      60 a minute          disconnected
  bytes before authentication       256 kB               disconnected
  bytes that no session reads       4 MB; 128 MB in all  disconnected
  failed attempts on a connection   6, and 30 keys       disconnected
  failed connections of a source    4 in 5 s             blocked for 20 s to 10 min
  sources that servers share        131,072              those that owe least are
  (--share)                                              forgotten
  penalties to be shared            16,384 sources       left out and counted
  password hashes at once           one per CPU          64 per CPU wait, 5 s at most
  log lines (--log-rate)            100 a connection;    left out and counted
                                    after 25,000 lines
                                    100 a second
  HTTP connections (--http)         32; 5 s a request    wait; disconnected
  stopping (--drain-timeout)        8 s                  sessions end, told why

There are at most as many connections as the process may have descriptors, less 64.
Where the numbers come from is in the documentation of the packages below middleware:
limits, budgets, penalties, share, session, eventlog, content, pager and auth/passwords.`,
	}
}
