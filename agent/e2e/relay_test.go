package e2e

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// relay passes connections on to central and counts what central sends. Its address stays while central's changes.
type relay struct {
	address string // that agents connect to
	central atomic.Pointer[string]
	sent    atomic.Int64 // bytes from central
}

func newRelay(t *testing.T) *relay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{address: listener.Addr().String()}
	var open sync.WaitGroup
	open.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed
			}
			open.Go(func() { r.pass(conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		open.Wait() // each ends with central or the agent, which were started later and are stopped by now
	})
	return r
}

// pass carries one connection until either side ends it.
func (r *relay) pass(agent net.Conn) {
	defer agent.Close()
	address := r.central.Load()
	if address == nil {
		return
	}
	central, err := net.Dial("tcp", *address)
	if err != nil {
		return // which the agent sees as central refusing it
	}
	defer central.Close()
	var up sync.WaitGroup
	up.Go(func() {
		io.Copy(central, agent) // either end's failure ends both
		central.Close()
	})
	io.Copy(agent, io.TeeReader(central, r))
	agent.Close()
	up.Wait()
}

// Write counts.
func (r *relay) Write(b []byte) (int, error) {
	r.sent.Add(int64(len(b)))
	return len(b), nil
}
