package main

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
	"foyer/middleware/server"
)

// previewServer returns a server of the list of layers that lets everybody in, and its key.
func previewServer(cfg *Config, texts texts) (*ssh.Server, gossh.PublicKey, error) {
	open := *cfg
	open.Open = true
	open.useLog(io.Discard)
	s, err := server.New(open.Config)
	if err != nil {
		return nil, nil, err
	}
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, nil, err
	}
	key, err := gossh.NewSignerFromKey(private)
	if err != nil {
		return nil, nil, err
	}
	srv := &ssh.Server{}
	srv.AddHostKey(key)
	return srv, key.PublicKey(), middleware.NewStack(layers(&open, s, &users{}, texts)...).Install(srv)
}

// pay pays the visit, on a connection within this process.
func (v *previewed) pay(ctx context.Context, cfg *Config, texts texts) (seen seen, err error) {
	srv, key, err := previewServer(cfg, texts)
	if err != nil {
		return seen, err
	}
	here, there, err := socketPair()
	if err != nil {
		return seen, err
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		srv.HandleConn(from{there, v.from})
	}()
	defer func() { _ = here.Close(); <-served }()
	defer context.AfterFunc(ctx, func() { _ = here.Close() })()
	c, channels, requests, err := gossh.NewClientConn(here, "", &gossh.ClientConfig{
		User: v.user, HostKeyCallback: gossh.FixedHostKey(key),
		BannerCallback: func(text string) error { seen.banner = text; return nil },
	})
	if err != nil {
		return seen, err
	}
	err = v.run(gossh.NewClient(c, channels, requests), &seen)
	return seen, err
}

// run makes the session.
func (v *previewed) run(client *gossh.Client, seen *seen) error {
	channel, requests, err := client.OpenChannel("session", nil)
	if err != nil {
		return err
	}
	status := make(chan int, 1)
	go func() { status <- exitStatus(requests) }()
	if v.term != "none" { // which may be refused
		size := struct{ Columns, Rows, Width, Height uint32 }{uint32(v.width), 24, 0, 0}
		terminal := append(gossh.Marshal(struct{ Term string }{v.term}), gossh.Marshal(size)...)
		if _, err := channel.SendRequest("pty-req", true, append(terminal, "\x00\x00\x00\x01\x00"...)); err != nil {
			return err
		}
	}
	name, payload := v.request, []byte(nil)
	switch v.request {
	case "exec":
		payload = gossh.Marshal(struct{ Command string }{v.command})
	case "sftp":
		name, payload = "subsystem", gossh.Marshal(struct{ Name string }{"sftp"})
	}
	if ok, err := channel.SendRequest(name, true, payload); !ok {
		return errors.Join(err, fmt.Errorf("the server refuses the request %s", name))
	}
	if v.request == "sftp" {
		_, err = channel.Write(sftpRequests)
		err = errors.Join(err, channel.CloseWrite())
	}
	seen.stdout, seen.stderr = outputOf(channel)
	if v.request == "sftp" {
		seen.stdout = sftpStatus([]byte(seen.stdout))
	}
	seen.status = <-status
	return err
}

func exitStatus(requests <-chan *gossh.Request) (status int) {
	for req := range requests {
		if req.Type == "exit-status" && len(req.Payload) == 4 {
			status = int(binary.BigEndian.Uint32(req.Payload))
		}
		_ = req.Reply(false, nil)
	}
	return status
}

func outputOf(channel gossh.Channel) (stdout, stderr string) {
	done := make(chan []byte)
	go func() {
		text, _ := io.ReadAll(channel.Stderr())
		done <- text
	}()
	text, _ := io.ReadAll(channel)
	return string(text), string(<-done)
}

// sftpRequests are what a client of SFTP begins with: its version, and a question about the directory.
var sftpRequests = []byte("\x00\x00\x00\x05\x01\x00\x00\x00\x03" + "\x00\x00\x00\x0a\x10\x00\x00\x00\x01\x00\x00\x00\x01.")

// sftpStatus returns the text of the status that answers the question.
func sftpStatus(answers []byte) string {
	const version = 9
	if len(answers) < version+17 {
		return fmt.Sprintf("%q", answers)
	}
	status := answers[version+13:]
	text := status[4:]
	return "sftp: " + string(text[:min(int(binary.BigEndian.Uint32(status)), len(text))])
}

// from is a connection from an address.
type from struct {
	net.Conn
	address interface{ AsSlice() []byte }
}

func (f from) RemoteAddr() net.Addr { return &net.TCPAddr{IP: f.address.AsSlice()} }
func (f from) LocalAddr() net.Addr  { return &net.TCPAddr{} }
