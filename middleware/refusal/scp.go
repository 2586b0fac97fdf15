package refusal

// SCPError returns what ends scp with an error (OpenSSH's scp.c, sink and response): a byte 2 and a line, which it shows. To
// libssh2, and so to curl, the end of the output alone is an empty file.
func SCPError(line string) []byte { return []byte("\x02" + line + "\n") }
