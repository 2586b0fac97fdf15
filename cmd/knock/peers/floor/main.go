// Floor is no SSH server. It plays the bytes of a login that was recorded, in as many turns, with one read or write
// for each, and does the cryptography that a server has to do: what a login costs a Go server at the least.
// Arguments: PORT DIRECTORY.
package main

import (
	"log"
	"net"
	"os"

	"foyer/cmd/knock/peers/primitives"
	"foyer/cmd/knock/peers/turns"
)

func main() {
	port, house := os.Args[1], os.Args[2]
	logins, err := turns.Read(house)
	if err != nil {
		log.Fatal(err)
	}
	keys, err := primitives.New()
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		log.Fatal(err)
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			defer func() { _ = conn.Close() }()
			if err := turns.Serve(conn, logins, keys); err != nil {
				log.Print(err)
			}
		}()
	}
}
