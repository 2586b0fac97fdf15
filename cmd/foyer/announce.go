package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"foyer/middleware/server"
)

// announce tells the operator what is served and how to try it. A first start's password is shown here, once; where it
// cannot be shown nobody has it, and its file is removed.
func announce(w io.Writer, s *server.Server, users *users) error {
	var card strings.Builder
	fmt.Fprintf(&card, "foyer listens on %s\n\n", s.Addr())
	table := tabwriter.NewWriter(&card, 0, 0, 3, ' ', 0)
	for _, key := range s.Keys {
		fmt.Fprintf(table, "  host key\t%s %s\n", key.Type(), key.Fingerprint())
	}
	fmt.Fprintf(table, "  layers\t%s\n", strings.Join(s.Names(), ", "))
	fmt.Fprintf(table, "  try\t%s\n", command(s.Addr(), users.example()))
	if users.password != "" {
		fmt.Fprintf(table, "  password\t%s\n", users.password)
		fmt.Fprintf(table, "  \tshown this once: %s keeps a hash of it\n", users.path)
	}
	_ = table.Flush() // a strings.Builder takes everything
	card.WriteString("\n")
	if _, err := io.WriteString(w, card.String()); err != nil {
		if users.password != "" {
			_ = os.Remove(users.path)
		}
		return fmt.Errorf("print how to log in: %w", err)
	}
	return nil
}

// command returns what a visitor types to come to address.
func command(address net.Addr, user string) string {
	tcp, ok := address.(*net.TCPAddr)
	if !ok {
		return "ssh " + user + "@" + address.String()
	}
	host := tcp.IP.String()
	if tcp.IP.IsUnspecified() || tcp.IP.IsLoopback() && tcp.IP.To4() != nil {
		host = "localhost"
	}
	if tcp.Zone != "" {
		host += "%" + tcp.Zone
	}
	if tcp.Port == 22 {
		return fmt.Sprintf("ssh %s@%s", user, host)
	}
	return "ssh -p " + strconv.Itoa(tcp.Port) + " " + user + "@" + host
}
