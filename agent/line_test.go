package agent

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pureboot/pureboot/central/wire"
)

// line is the way to central, by TCP, and what can be wrong with it.
type line struct {
	net.Listener
	hits atomic.Int64 // how often something was wrong with a connection, or with a piece of what it carries

	mu      sync.Mutex
	to      string // central's address
	dialer  net.Dialer
	fault   fault
	ends    map[net.Conn]bool // those that are open
	changed *sync.Cond        // fault or ends is
	all     sync.WaitGroup
}

// fault is what happens to bytes on the line. The zero fault is none.
type fault struct {
	refuse bool          // connections are reset as soon as they are made
	delay  time.Duration // of each piece, in both directions
	piece  int           // bytes that pass at once; 0: what comes
	mute   bool          // what central says is lost: the connection is half open
	hole   bool          // nothing passes in either direction until the fault is over, and then all that was said
	cutAt  int           // bytes of central's until the connection is reset; 0: it is not
}

// bearable says whether all gets through in time.
func (f fault) bearable() bool { return f == fault{delay: f.delay, piece: f.piece} }

// startLine leads to an address, where whoever comes by it seems to come from another one: central counts what an address
// does wrong.
func startLine(t *testing.T, to, from string) *line {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &line{Listener: listener, to: strings.TrimPrefix(to, "https://"), ends: map[net.Conn]bool{}}
	l.changed = sync.NewCond(&l.mu)
	l.dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	l.all.Go(l.accept)
	t.Cleanup(func() {
		l.Close()
		l.set(fault{refuse: true})
		l.all.Wait()
	})
	return l
}

func (l *line) url() string { return "https://" + l.Addr().String() }

// move has it lead to another address.
func (l *line) move(to string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.to = to
}

// set changes what is wrong, and resets the connections that there are, as a new fault or its end mostly does.
func (l *line) set(f fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault = f
	for end := range l.ends {
		l.reset(end)
	}
}

// worsen changes what is wrong with the connections that there are, too.
func (l *line) worsen(f fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault = f
	l.changed.Broadcast()
}

// befall has the fault begin as it would by itself.
func (l *line) befall(f fault) {
	if l.worsen(f); f.refuse || f.cutAt > 0 {
		l.set(f)
	}
}

// heal ends the fault: a black hole lets go what it holds, and a connection on which bytes were lost is none any more.
func (l *line) heal() {
	if l.now().hole {
		l.worsen(fault{})
		return
	}
	l.set(fault{})
}

func (l *line) now() fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fault
}

// reset closes an end. mu is held.
func (l *line) reset(end net.Conn) {
	delete(l.ends, end)
	_ = end.(*net.TCPConn).SetLinger(0)
	_ = end.Close()
	l.changed.Broadcast()
}

// keep has the end closed when the line changes. It reports false, and closes it, if there is no line.
func (l *line) keep(end net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fault.refuse {
		l.hits.Add(1)
		l.reset(end)
		return false
	}
	l.ends[end] = true
	return true
}

func (l *line) forget(ends ...net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, end := range ends {
		l.reset(end)
	}
}

func (l *line) accept() {
	for {
		near, err := l.Accept()
		if err != nil {
			return
		}
		if !l.keep(near) {
			continue
		}
		l.all.Go(func() {
			far, err := l.dial()
			if err != nil || !l.keep(far) {
				l.hits.Add(1)
				l.forget(near)
				return
			}
			var both sync.WaitGroup
			both.Go(func() { l.carry(far, near, false) })
			both.Go(func() { l.carry(near, far, true) })
			both.Wait()
		})
	}
}

func (l *line) dial() (net.Conn, error) {
	l.mu.Lock()
	dialer, to := l.dialer, l.to
	l.mu.Unlock()
	return dialer.Dial("tcp", to)
}

// pass is what happens to a piece that came from an end. It waits in a black hole, and reports false if the end is reset.
func (l *line) pass(end net.Conn) (fault, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.fault.hole && l.ends[end] {
		l.hits.Add(1)
		l.changed.Wait()
	}
	return l.fault, l.ends[end]
}

// carry takes bytes from one end to the other; down is from central.
func (l *line) carry(to, from net.Conn, down bool) {
	defer l.forget(to, from)
	carried, buffer := 0, make([]byte, 32<<10)
	for {
		room := len(buffer)
		if f := l.now(); f.piece > 0 {
			room = f.piece
		}
		n, err := from.Read(buffer[:room])
		f, open := l.pass(from)
		if !open {
			return
		}
		if f.delay > 0 {
			l.hits.Add(1)
			time.Sleep(f.delay) // a line's own time, of a few milliseconds
		}
		if f.mute && down && n > 0 {
			l.hits.Add(1)
			n = 0
		}
		cut := down && f.cutAt > 0 && carried+n > f.cutAt
		if cut {
			l.hits.Add(1)
			n = max(f.cutAt-carried, 0)
		}
		carried += n
		if _, failed := to.Write(buffer[:n]); err != nil || failed != nil || cut {
			return
		}
	}
}

// TestAWeekAwayIsMadeUpForInOneExchange: one heartbeat, and one page of the manifest, however much has changed.
func TestAWeekAwayIsMadeUpForInOneExchange(t *testing.T) {
	t.Parallel()
	c := startRealCentral(t)
	c.call(t, 200, "PATCH", "/api/v1/sites/"+c.site, `{"heartbeat_seconds":1}`)
	c.put(t, "images/first", noise(1000))
	l := startLine(t, c.URL, "127.0.0.1")
	c.by = l.url()
	a := startPair(t, c)
	eventually(t, "the pair is in step", func() bool { return a.files.Epoch().N > 0 && a.config.Report().Generation != "" })
	l.worsen(fault{hole: true}) // in which it gives up less often than where it is refused, and comes back sooner
	for i := range 7 {
		c.call(t, 200, "PATCH", "/api/v1/sites/"+c.site, fmt.Sprintf(`{"cache_max_size_gb":%d}`, 10+i))
		for k := range 10 {
			c.put(t, fmt.Sprintf("images/%d-%d", i, k), noise(100+i))
		}
	}
	eventually(t, "the agent meets the fault", func() bool { return l.hits.Load() > 0 })
	c.change(func() { clear(c.asked) })
	l.set(fault{})
	eventually(t, "it is in step again", func() bool { return a.cache.Stats().MaxBytes == 16e9 && len(a.files.Known()) == 71 })
	c.change(func() {
		if n := c.asked[wire.PathManifest]; n != 1 {
			t.Errorf("the manifest was asked for %d times", n)
		}
	})
	res, body, err := a.get("/images/6-9")
	if err != nil || res.StatusCode != http.StatusOK || !bytes.Equal(body, noise(106)) {
		t.Errorf("a file of the last day: %d bytes, %v", len(body), err)
	}
}
