package passwords

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"
)

// DefaultRemember is for how long a server may well remember a password. Five minutes span what comes in bursts, a
// deployment's twenty logins or a mirror that asks every minute, and are sudo's own measure (it has 5 to 15) of how
// long a password that was right may go on standing for its owner.
const DefaultRemember = 5 * time.Minute

// logins are the passwords of a version of the file that were right a short while ago, at most one for each user. They
// belong to the version's table and go with it, so that none outlives the line which it was checked against.
type logins struct {
	mu    sync.Mutex
	proof map[string]proof
}

// proof is a MAC, under a key that only this process has, of a user and a password.
type proof [sha256.Size]byte

// recall reports whether p is what was remembered of user. It does the same for a user of whom nothing is.
func (l *logins) recall(user string, p proof) bool {
	l.mu.Lock()
	known, ok := l.proof[user]
	l.mu.Unlock()
	return hmac.Equal(known[:], p[:]) && ok
}

// remember keeps p for a while, counted from now whatever is asked of it meanwhile. Of two that come at once, the
// first one's end ends both.
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

// forget drops everything at once.
func (l *logins) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.proof)
}

// mac returns the MAC under f's key of parts, each with its length in front, so that none can pass for two. Its copy of
// the parts is wiped.
func (f *File) mac(parts ...string) (p proof) {
	text := make([]byte, 0, 2*maxName+maxPassword) // a purpose, a name and a password: never moved by append
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
