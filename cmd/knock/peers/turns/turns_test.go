package turns

import (
	"io"
	"net"
	"slices"
	"testing"

	"foyer/cmd/knock/peers/primitives"
)

func TestScript(t *testing.T) {
	var recorded Script
	for _, sent := range []Turn{{true, 20}, {false, 10}, {false, 5}, {true, 300}, {false, 40}} {
		recorded = recorded.Add(sent.Server, sent.Bytes)
	}
	got := recorded.ClientFirst()
	want := Script{{false, 15}, {true, 320}, {false, 40}}
	if !slices.Equal(got, want) {
		t.Errorf("the script is %v, want %v", got, want)
	}
	if again := got.ClientFirst(); !slices.Equal(again, want) {
		t.Errorf("a script that the client begins became %v", again)
	}
	if got.Sent(true) != 320 || got.Sent(false) != 55 {
		t.Errorf("the server sends %d and the client %d", got.Sent(true), got.Sent(false))
	}
}

// Both sides come to the end of the script, and neither has bytes left over.
func TestPlay(t *testing.T) {
	logins := Scripts{
		"publickey": {{false, 21}, {true, 700}, {false, 64}, {true, 3}},
		"password":  {{false, 21}, {true, 1}},
	}
	house := t.TempDir()
	if err := logins.Write(house); err != nil {
		t.Fatal(err)
	}
	known, err := Read(house)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := primitives.New()
	if err != nil {
		t.Fatal(err)
	}
	for _, method := range methods {
		client, server := net.Pipe()
		served := make(chan error, 1)
		go func() {
			served <- Serve(server, known, keys)
			_ = server.Close()
		}()
		if err := Visit(client, logins, method); err != nil {
			t.Errorf("%s: the client: %v", method, err)
		}
		if err := <-served; err != nil {
			t.Errorf("%s: the server: %v", method, err)
		}
		if rest, err := io.ReadAll(client); err != nil || len(rest) > 0 {
			t.Errorf("%s: %d bytes were left over: %v", method, len(rest), err)
		}
	}
}

func TestServeRefusesWhatItDoesNotKnow(t *testing.T) {
	for _, first := range []byte{1, 200} {
		client, server := net.Pipe()
		go func() { _, _ = client.Write([]byte{first}) }()
		if err := Serve(server, Scripts{"publickey": {{false, 1}}}, nil); err == nil {
			t.Errorf("a login that begins with %d was played", first)
		}
		_ = client.Close()
	}
}
