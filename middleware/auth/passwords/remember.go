package passwords

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"
)

// DefaultRemember is how long foyer remembers a password. Five minutes cover typical bursts, such as the twenty logins of a
// deployment or a mirror that polls every minute. It is also the lower end of sudo's 5 to 15 minutes.
const DefaultRemember = 5 * time.Minute

// logins remembers recent correct passwords, at most one for each user. It belongs to the table of one version of the file,
// so that no password is remembered longer than its line exists.
type logins struct {
	mu    sync.Mutex
	proof map[string]proof
}

// proof is a MAC of a user and a password under the key of a [File].
type proof [sha256.Size]byte

// recall reports whether p is remembered for user. It does the same work for a user without a proof.
func (l *logins) recall(user string, p proof) bool {
	l.mu.Lock()
	known, ok := l.proof[user]
	l.mu.Unlock()
	return hmac.Equal(known[:], p[:]) && ok
}

// remember keeps p for a while, however often it is used. If two calls overlap, the timer of the first one ends both.
func (l *logins) remember(user string, p proof, while time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.proof == nil {
		l.proof = map[string]proof{}
	}
	l.proof[user] = p
	time.AfterFunc(while, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.proof, user)
	})
}

// forget discards everything.
func (l *logins) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.proof)
}

// mac returns the MAC of parts under the key of f. Each part has its length in front, so that different parts have different
// MACs. The copy of the parts is wiped.
func (f *File) mac(parts ...string) (p proof) {
	text := make([]byte, 0, 2*maxName+maxPassword) // room for a purpose, a name and a password, so append makes no other copy
	for _, part := range parts {
		text = binary.BigEndian.AppendUint16(text, uint16(len(part)))
		text = append(text, part...)
	}
	mac := hmac.New(sha256.New, f.key[:])
	mac.Write(text)
	clear(text)
	mac.Sum(p[:0])
	return p
}
