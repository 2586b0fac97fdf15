package refusal

import (
	"fmt"
	"strings"
)

// maxPacket is how much text a packet of git can hold (gitprotocol-common(5), pkt-line: 65,520 bytes with its length and
// "ERR ").
const maxPacket = 65520 - 4 - len("ERR ")

// GitError returns git's packet for an error (gitprotocol-pack(5), error-line). The client prints "fatal: remote error: " and
// text, of which it gets 65,512 bytes at most.
func GitError(text string) []byte {
	text = "ERR " + brief(strings.ReplaceAll(text, "\r\n", "\n"), maxPacket)
	return fmt.Appendf(nil, "%04x%s", len(text)+4, text)
}
