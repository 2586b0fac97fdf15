package share

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
)

const (
	// lookAgain is how often a replica reads the switch, in case it has missed a notification.
	lookAgain = 5 * time.Second
	// offFor is how long the engine keeps that the switch is off. If it keeps nothing, it has lost its memory, and a replica
	// that knows the switch sets it again.
	offFor = 30 * 24 * time.Hour
	// maxSwitch is the longest switch, in bytes.
	maxSwitch = 16 << 10
	// switchVersion is the version of its format. Another one is not read.
	switchVersion = 1
)

// Switch is the maintenance switch of all replicas. It has no file: the engine could name any file of a server.
type Switch struct {
	Version      int       `json:"version"`
	On           bool      `json:"on"`
	Text         string    `json:"text,omitempty"` // of the page; a default text if it is empty
	Until        time.Time `json:"until,omitzero"` // zero for no end
	ExceptGroups []string  `json:"except-groups,omitempty"`
}

// encode returns the text of a switch and how long the engine keeps it; 0 for no end.
func (s Switch) encode(now time.Time) (text string, keep time.Duration, err error) {
	s.Version = switchVersion
	data, err := json.Marshal(s)
	if err == nil {
		_, err = parseSwitch(string(data))
	}
	switch {
	case !s.On:
		keep = offFor
	case !s.Until.IsZero():
		keep = max(s.Until.Sub(now), time.Millisecond)
	}
	return string(data), keep, err
}

// parseSwitch reads the text of a switch.
func parseSwitch(text string) (*Switch, error) {
	if len(text) > maxSwitch {
		return nil, fmt.Errorf("the switch is longer than %d bytes", maxSwitch)
	}
	s := &Switch{}
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(s); err != nil {
		return nil, err
	}
	if s.Version != switchVersion {
		return nil, fmt.Errorf("the switch has version %d", s.Version)
	}
	control := func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }
	if strings.ContainsFunc(s.Text, control) {
		return nil, errors.New("the text has control characters")
	}
	return s, nil
}

// over reports whether the switch has no effect any more.
func (s *Switch) over(now time.Time) bool { return s.On && !s.Until.IsZero() && !s.Until.After(now) }

// equal reports whether two switches are the same.
func (s *Switch) equal(other *Switch) bool {
	return s.On == other.On && s.Text == other.Text && s.Until.Equal(other.Until) && slices.Equal(s.ExceptGroups, other.ExceptGroups)
}

// SetSwitch sets the switch for all replicas. With absent, nothing happens if the engine has one.
func SetSwitch(ctx context.Context, conn Connection, s Switch, absent bool) error {
	text, keep, err := s.encode(time.Now())
	if err != nil {
		return err
	}
	return conn.SetSwitch(ctx, text, keep, absent)
}

// ReadSwitch returns the switch of an engine, or nil if it has none.
func ReadSwitch(ctx context.Context, conn Connection) (*Switch, error) {
	text, err := conn.Switch(ctx)
	if err != nil || text == "" {
		return nil, err
	}
	return parseSwitch(text)
}
