package server

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"charm.land/ssh"

	"foyer/middleware"
)

// generation is what serves the connections that are accepted with one configuration.
type generation struct {
	stack *middleware.Stack
	ssh   *ssh.Server
}

// front is the listeners of a server, and what serves their connections.
type front struct {
	slots   *slots
	current atomic.Pointer[generation]
	errors  atomic.Uint64 // lines of the log
	serving sync.WaitGroup

	mu        sync.Mutex
	addresses []string // in the order in which they were opened
	listeners map[string]*retryListener
	started   bool
}

// open opens an address, unless it is open.
func (f *front) open(ctx context.Context, address string, d Deadlines) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.listeners[address] != nil {
		return nil
	}
	listener, err := listen(ctx, address, f.slots, d)
	if err != nil {
		return listenError(address, err)
	}
	f.add(address, listener)
	return nil
}

// add adds a listener. It is called with the lock held, or before the server starts.
func (f *front) add(address string, listener *retryListener) {
	f.addresses, f.listeners[address] = append(f.addresses, address), listener
	if f.started {
		f.serving.Go(func() { f.accept(listener) })
	}
}

// adoptedPrefix begins the names of listeners that the server has not opened.
const adoptedPrefix = "adopted:"

// start serves the connections of all listeners.
func (f *front) start() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.started = true
	for _, listener := range f.listeners {
		f.serving.Go(func() { f.accept(listener) })
	}
}

func (f *front) accept(listener *retryListener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		now := f.current.Load()
		now.stack.Handle(now.ssh, conn)
	}
}

// close closes all listeners.
func (f *front) close() error { return f.closeIf(func(string) bool { return true }) }

// closeExcept closes the listeners of all addresses but these. Those that were adopted stay.
func (f *front) closeExcept(keep []string) error {
	return f.closeIf(func(address string) bool {
		return !slices.Contains(keep, address) && !strings.HasPrefix(address, adoptedPrefix)
	})
}

func (f *front) closeIf(closes func(address string) bool) (err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var left []string
	for _, address := range f.addresses {
		if !closes(address) {
			left = append(left, address)
			continue
		}
		if failed := f.listeners[address].Close(); err == nil {
			err = failed
		}
		delete(f.listeners, address)
	}
	f.addresses = left
	return err
}

// setDeadlines applies deadlines to the connections that will be accepted.
func (f *front) setDeadlines(d Deadlines) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, listener := range f.listeners {
		if tcp, ok := listener.Listener.(*net.TCPListener); ok {
			if raw, err := tcp.SyscallConn(); err == nil {
				_ = setDeadlines(raw, d)
			}
		}
	}
}

// addrs returns the addresses on which the server listens.
func (f *front) addrs() (addrs []net.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, address := range f.addresses {
		addrs = append(addrs, f.listeners[address].Addr())
	}
	return addrs
}
