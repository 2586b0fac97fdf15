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

// announce prints the server's address, host keys and layers, and how to log in, or what to do if nobody can. It also
// prints the password that a first start has created, which is shown only once. If that fails, it removes the password
// file, so that the next start creates another. Nothing else is lost if nobody reads.
func announce(w io.Writer, s *server.Server, users *users) error {
	var text strings.Builder
	var addrs []string
	for _, addr := range s.Addrs() {
		addrs = append(addrs, addr.String())
	}
	fmt.Fprintf(&text, "foyer listens on %s\n\n", strings.Join(addrs, ", "))
	table := tabwriter.NewWriter(&text, 0, 0, 3, ' ', 0)
	for _, key := range s.Keys {
		fmt.Fprintf(table, "  host key\t%s %s\n", key.Type(), key.Fingerprint())
	}
	fmt.Fprintf(table, "  layers\t%s\n", strings.Join(s.Names(), ", "))
	fmt.Fprintf(table, "  try\t%s\n", command(s.Addrs()[0], users.example))
	if users.password != "" {
		fmt.Fprintf(table, "  password\t%s\n", users.password)
		fmt.Fprintf(table, "  \tshown only once; its hash is in %s\n", users.path)
	}
	if users.missing != "" {
		fmt.Fprintf(table, "  missing\tnobody can log in yet; run: %s\n", users.missing)
	}
	_ = table.Flush() // a strings.Builder returns no errors
	text.WriteString("\n")
	if _, err := io.WriteString(w, text.String()); err != nil && users.password != "" {
		_ = os.Remove(users.path)
		return fmt.Errorf("print how to log in: %w", err)
	}
	return nil
}

// command returns the ssh command for a login at address.
func command(address net.Addr, user string) string {
	tcp, ok := address.(*net.TCPAddr)
	if !ok {
		return fmt.Sprintf("ssh -o ProxyCommand='nc -U %s' %s@localhost", address, user)
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
