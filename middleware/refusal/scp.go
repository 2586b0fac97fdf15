package refusal

import "strings"

// maxSCP is how many bytes of text scp gets. It shows them in a line.
const maxSCP = 2 << 10

// SCPError returns what ends scp with an error (OpenSSH's scp.c, sink and response): a byte 2 and a line, which it shows. To
// libssh2, and so to curl, the end of the output alone is an empty file. The lines of text become one.
func SCPError(text string) []byte {
	return []byte("\x02" + strings.Join(strings.Fields(brief(text, maxSCP)), " ") + "\n")
}
