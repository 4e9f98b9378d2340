package gateway

import (
	"net"
	"sync"
)

// How many requests are worked on at once: all, and those of one client. The rest is asked to come back, which iPXE
// does. The second bound keeps one host from holding all places with requests that it never finishes.
const (
	maxActive   = 4096
	maxOfClient = 512
)

// visitors counts the requests under way. It is safe for concurrent use.
type visitors struct {
	mu  sync.Mutex
	all int
	of  map[string]int // by address, while it has any
}

// enter takes a place for a request of the client at the remote address, if there is one. leave gives it back.
func (v *visitors) enter(remote string) (leave func(), ok bool) {
	client, _, err := net.SplitHostPort(remote)
	if err != nil {
		client = remote
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.all >= maxActive || v.of[client] >= maxOfClient {
		return nil, false
	}
	if v.of == nil {
		v.of = map[string]int{}
	}
	v.all++
	v.of[client]++
	return func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.all--
		if v.of[client]--; v.of[client] == 0 {
			delete(v.of, client)
		}
	}, true
}

func (v *visitors) count() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.all
}
