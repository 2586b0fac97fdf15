package session_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/session"
	"foyer/middleware/sshtest"
)

func TestRegister(t *testing.T) {
	srv := &ssh.Server{ChannelHandlers: map[string]ssh.ChannelHandler{"direct-tcpip": ssh.DirectTCPIPHandler}}
	if err := new(session.Channels).Register(srv); err != nil || len(srv.ChannelHandlers) != 2 {
		t.Errorf("%v, and %d channel handlers", err, len(srv.ChannelHandlers))
	}
	if err := new(session.Channels).Register(srv); err == nil {
		t.Error("the session channel was taken, and is taken away")
	}
}

// refused opens a session channel and reports whether the server says that it is closing.
func refused(t *testing.T, client *gossh.Client) bool {
	t.Helper()
	_, _, err := client.OpenChannel("session", nil)
	var why *gossh.OpenChannelError
	if err != nil && !errors.As(err, &why) {
		t.Fatal(err)
	}
	return err != nil && why.Reason == gossh.ResourceShortage && strings.Contains(why.Message, "closing")
}

// Drain lets what is open finish, until the client has confirmed that it is closed, and takes no more.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		channels, finish := &session.Channels{}, make(chan struct{})
		w := newWire(t, handler(func(ssh.Session) { <-finish }), channels)
		v := open(t, w.client)
		v.ask(t, "shell", nil)

		limit, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := channels.Drain(limit); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a session that goes on: %v", err)
		}
		if !refused(t, w.client) {
			t.Error("a session was taken after Drain")
		}
		drained := make(chan error, 2)
		for range 2 {
			go func() { drained <- channels.Drain(t.Context()) }()
		}
		w.toClient.hold(true)
		close(finish)
		synctest.Wait()
		if len(drained) > 0 {
			t.Error("drained before the client has confirmed the close")
		}
		w.toClient.hold(false)
		for range 2 {
			if err := <-drained; err != nil {
				t.Errorf("with a session that has ended: %v", err)
			}
		}
		if err := channels.Drain(t.Context()); err != nil {
			t.Errorf("once more: %v", err)
		}
		<-v.done
	})
}

func TestDrainWithNothingOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		channels := &session.Channels{}
		w := newWire(t, handler(untilGone), channels)
		v := open(t, w.client)
		_ = v.Close()
		<-v.done
		for range 2 {
			if err := channels.Drain(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if !refused(t, w.client) {
			t.Error("a session was taken after Drain")
		}
	})
}

// Visitors who come while the server drains are served or refused, and Drain misses none.
func TestDrainAmongVisitors(t *testing.T) {
	channels := &session.Channels{}
	srv := serve(t, channels, func(ssh.Session) {})
	client := srv.dial(t)
	done := make(chan int)
	visit := func() {
		for n := 0; ; n++ {
			channel, requests, err := client.OpenChannel("session", nil)
			if err != nil {
				done <- n
				return
			}
			if !sshtest.Request(t, channel, "shell", nil) {
				t.Error("the shell was refused")
			}
			for range requests { // until the channel is closed
			}
		}
	}
	for range 8 {
		go visit()
	}
	served := sshtest.Run(t, client, sshtest.Visit{})
	if err := channels.Drain(t.Context()); err != nil || served.Status != 0 {
		t.Errorf("%v, and %+v", err, served)
	}
	for range 8 {
		<-done
	}
}

// A client that opens channels and does not read the refusals loses the connection too.
func TestRefusalThatNobodyReads(t *testing.T) {
	channels := &session.Channels{WriteTimeout: 5 * time.Millisecond}
	w := newWire(t, handler(untilGone), channels)
	if err := channels.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.toClient.fill(true)
	if _, _, err := w.client.OpenChannel("session", nil); err == nil {
		t.Error("a session was taken after Drain")
	}
	<-w.hungUp
}
