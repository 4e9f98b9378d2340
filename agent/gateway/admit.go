package gateway

import (
	"maps"
	"slices"
	"strings"
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
func (v *visitors) enter(remote string) bool {
	client := clientOf(remote)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.all >= maxActive || v.of[client] >= maxOfClient {
		return false
	}
	if v.of == nil {
		v.of = map[string]int{}
	}
	v.all++
	v.of[client]++
	return true
}

func (v *visitors) leave(remote string) {
	client := clientOf(remote)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.all--
	if n := v.of[client]; n > 1 {
		v.of[client] = n - 1
	} else {
		delete(v.of, client)
	}
}

// clientOf is a remote address without its port.
func clientOf(remote string) string {
	if i := strings.LastIndexByte(remote, ':'); i >= 0 {
		return remote[:i]
	}
	return remote
}

func (v *visitors) count() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.all
}

func (v *visitors) clients() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Collect(maps.Keys(v.of))
}
