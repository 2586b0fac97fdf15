package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
)

// announce tells the operator what was opened and how to try it. A first start's password is shown here, once; where
// it cannot be shown nobody has it, and its file is taken back.
func (d *door) announce(w io.Writer, address net.Addr) error {
	var card strings.Builder
	fmt.Fprintf(&card, "foyer listens on %s\n\n", address)
	table := tabwriter.NewWriter(&card, 0, 0, 3, ' ', 0)
	for _, key := range d.keys {
		fmt.Fprintf(table, "  host key\t%s %s\n", key.Type(), key.Fingerprint())
	}
	fmt.Fprintf(table, "  layers\t%s\n", strings.Join(d.names(), ", "))
	fmt.Fprintf(table, "  try\t%s\n", command(address, d.users.example()))
	if d.users.password != "" {
		fmt.Fprintf(table, "  password\t%s\n", d.users.password)
		fmt.Fprintf(table, "  \tshown this once: %s keeps a hash of it\n", d.users.path)
	}
	_ = table.Flush() // a strings.Builder takes everything
	card.WriteString("\n")
	if _, err := io.WriteString(w, card.String()); err != nil {
		if d.users.password != "" {
			_ = os.Remove(d.users.path)
		}
		return fmt.Errorf("print how to log in: %w", err)
	}
	return nil
}

// names are the layers in their order, and the handler within.
func (d *door) names() []string {
	var names []string
	for _, layer := range d.layers {
		if layer.Name != "" {
			names = append(names, layer.Name)
		}
	}
	return append(names, "message")
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
