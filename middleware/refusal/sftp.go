package refusal

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"

	gossh "golang.org/x/crypto/ssh"
)

// The messages of SFTP (draft-ietf-secsh-filexfer-02, sections 3 and 7).
const (
	sftpInit    = 1
	sftpVersion = 2
	sftpStatus  = 101

	permissionDenied = 3
)

const (
	// maxMessage is the size of a message that OpenSSH's server accepts (sftp-common.h, SFTP_MAX_MSG_LENGTH).
	maxMessage = 256 << 10
	// maxRequests is how many requests are answered. A client that goes on after its first ones retries for ever.
	maxRequests = 100
	// maxStatus is how many bytes of text a status has. Clients show it in a line or a dialog.
	maxStatus = 1 << 10
)

var errSFTP = errors.New("not SFTP")

// ServeSFTP speaks SFTP version 3 with a client and denies each of its requests with text, until the client leaves or has
// made 100. Clients such as curl wait for ever for the answer to their first message otherwise. Asked is called after each
// answer.
func ServeSFTP(client io.ReadWriter, text string, asked func()) error {
	in := bufio.NewReader(client)
	text = brief(text, maxStatus)
	for range maxRequests {
		kind, id, err := readRequest(in)
		if err != nil {
			return err
		}
		answer := gossh.Marshal(struct {
			Kind           byte
			ID, Code       uint32
			Text, Language string
		}{sftpStatus, id, permissionDenied, text, "en"})
		if kind == sftpInit {
			answer = []byte{sftpVersion, 0, 0, 0, 3}
		}
		if _, err := client.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(answer))), answer...)); err != nil {
			return err
		}
		asked()
	}
	return nil
}

// readRequest reads a message, and returns its type and the request's number, which follows it in all but the first.
func readRequest(in *bufio.Reader) (kind byte, id uint32, err error) {
	var head [9]byte // the length of the rest, the type, the number
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return 0, 0, err
	}
	length := binary.BigEndian.Uint32(head[:])
	if length < 5 || length > maxMessage {
		return 0, 0, errSFTP
	}
	_, err = in.Discard(int(length) - 5)
	return head[4], binary.BigEndian.Uint32(head[5:]), err
}
