package agent

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
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
	to    string
	tries atomic.Int64 // connections, and pieces on those that there are

	mu    sync.Mutex
	fault fault
	ends  map[net.Conn]bool
	all   sync.WaitGroup
}

// fault is what happens to bytes on the line. The zero fault is none.
type fault struct {
	refuse bool          // connections are reset as soon as they are made
	delay  time.Duration // of each piece, in both directions
	piece  int           // bytes that pass at once; 0: what comes
	mute   bool          // what central says is lost: the connection is half open
	hole   bool          // nothing passes in either direction
	cutAt  int           // bytes of central's until the connection is reset; 0: it is not
}

func startLine(t *testing.T, to string) *line {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &line{Listener: listener, to: strings.TrimPrefix(to, "https://"), ends: map[net.Conn]bool{}}
	l.all.Go(l.accept)
	t.Cleanup(func() {
		l.Close()
		l.set(fault{refuse: true})
		l.all.Wait()
	})
	return l
}

func (l *line) url() string { return "https://" + l.Addr().String() }

// set changes what is wrong, and resets the connections that there are, as a new fault or its end mostly does.
func (l *line) set(f fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault = f
	for end := range l.ends {
		reset(end)
	}
}

// worsen changes what is wrong with the connections that there are, too.
func (l *line) worsen(f fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault = f
}

func (l *line) now() fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fault
}

func reset(end net.Conn) {
	_ = end.(*net.TCPConn).SetLinger(0)
	_ = end.Close()
}

// keep has the end closed when the line changes. It reports false, and closes it, if there is no line.
func (l *line) keep(end net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fault.refuse {
		reset(end)
		return false
	}
	l.ends[end] = true
	return true
}

func (l *line) forget(ends ...net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, end := range ends {
		delete(l.ends, end)
		reset(end)
	}
}

func (l *line) accept() {
	for {
		near, err := l.Accept()
		if err != nil {
			return
		}
		l.tries.Add(1)
		if !l.keep(near) {
			continue
		}
		l.all.Go(func() {
			far, err := net.Dial("tcp", l.to)
			if err != nil || !l.keep(far) {
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
		if n > 0 {
			l.tries.Add(1)
		}
		f := l.now()
		if f.delay > 0 {
			time.Sleep(f.delay) // a line's own time, of a few milliseconds
		}
		if f.hole || f.mute && down {
			n = 0
		}
		carried += n
		if down && f.cutAt > 0 && carried > f.cutAt {
			return
		}
		if _, failed := to.Write(buffer[:n]); err != nil || failed != nil {
			return
		}
	}
}

// held is what a process has in use.
func held() (goroutines, files int) {
	if dir, err := os.ReadDir("/proc/self/fd"); err == nil {
		files = len(dir)
	}
	return runtime.NumGoroutine(), files
}

// TestThePairOverABadLine: whatever the line does, machines get an answer meanwhile, and once it is well again the agent
// works by central's settings, knows its files and its nodes; and nothing of the trouble is left.
func TestThePairOverABadLine(t *testing.T) {
	goroutines, files := held()
	var all sync.WaitGroup // they wait more than they work: more at once than there are processors
	for name, f := range map[string]fault{
		"latency":    {delay: 20 * time.Millisecond},
		"slow":       {delay: time.Millisecond, piece: 200},
		"lost":       {refuse: true},
		"half open":  {mute: true},
		"black hole": {hole: true},
		"cut":        {cutAt: 6000}, // in the handshake or soon after it
	} {
		all.Go(func() { t.Run(name, func(t *testing.T) { overABadLine(t, f) }) })
	}
	all.Wait()
	eventually(t, "nothing more is held than before", func() bool {
		g, f := held()
		return g <= goroutines+2 && f <= files+2
	})
}

func overABadLine(t *testing.T, f fault) {
	c := startRealCentral(t)
	c.call(t, 200, "PATCH", "/api/v1/sites/"+c.site, `{"heartbeat_seconds":1,"cache_max_size_gb":2}`)
	node := c.call(t, 201, "POST", "/api/v1/nodes", `{"mac_address":"`+mac+`","home_site_id":"`+c.site+`"}`)["id"].(string)
	old := c.put(t, "images/linux", noise(70_000))
	l := startLine(t, c.URL)
	c.by = l.url()
	a := startPair(t, c)
	eventually(t, "the pair is in step", func() bool { return a.cache.Stats().MaxBytes == 2e9 && a.files.Epoch().N > 0 })
	a.wantFile(t, "images/linux", old)
	a.settled(t)

	l.worsen(f)
	tries := l.tries.Load()
	c.call(t, 200, "PATCH", "/api/v1/sites/"+c.site, `{"cache_max_size_gb":3}`)
	c.call(t, 200, "PATCH", "/api/v1/nodes/"+node, `{"hostname":"night"}`)
	added := c.put(t, "images/new", noise(90_000))
	command := c.order(t, `{"command":"invalidate","params":{"scope":"content","glob":"images/linux"}}`)
	if f.refuse || f.cutAt > 0 {
		l.set(f)
	}
	eventually(t, "the agent meets the fault", func() bool { return l.tries.Load() > tries })
	began := time.Now()
	res, script, err := a.get("/boot/" + mac)
	if err != nil || res.StatusCode != http.StatusOK || !bytes.HasPrefix(script, []byte("#!ipxe\n")) {
		t.Errorf("a machine gets %v, %.80q", err, script)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it waits for %v", took)
	}
	if _, got, err := a.get("/images/linux"); err != nil || !bytes.Equal(got, old) {
		t.Errorf("a file that is here: %d bytes, %v", len(got), err)
	}

	l.set(fault{})
	eventually(t, "the settings are those of now", func() bool { return a.cache.Stats().MaxBytes == 3e9 })
	eventually(t, "the files are", func() bool {
		res, got, err := a.get("/images/new")
		return err == nil && res.StatusCode == http.StatusOK && bytes.Equal(got, added)
	})
	eventually(t, "central knows", func() bool {
		config := c.call(t, 200, "GET", "/api/v1/sites/"+c.site+"/health", "")["config"].(map[string]any)
		return config["state"] == wire.ConfigApplied
	})
	c.becomes(t, command, "succeeded 1 files verified, 0 outdated, 0 removed, 0 of 0 corrupt chunks")
	rec, err := a.nodes.ByMAC(context.Background(), mac, "")
	if err != nil || rec.Node.Hostname != "night" {
		t.Errorf("the node is %q, %v", rec.Node.Hostname, err)
	}
}

// TestAWeekAwayIsMadeUpForInOneExchange: one heartbeat, and one page of the manifest, however much has changed.
func TestAWeekAwayIsMadeUpForInOneExchange(t *testing.T) {
	c := startRealCentral(t)
	c.call(t, 200, "PATCH", "/api/v1/sites/"+c.site, `{"heartbeat_seconds":1}`)
	c.put(t, "images/first", noise(1000))
	l := startLine(t, c.URL)
	c.by = l.url()
	a := startPair(t, c)
	eventually(t, "the pair is in step", func() bool { return a.files.Epoch().N > 0 && a.config.Report().Generation != "" })
	l.set(fault{refuse: true})
	for i := range 7 {
		c.call(t, 200, "PATCH", "/api/v1/sites/"+c.site, fmt.Sprintf(`{"cache_max_size_gb":%d}`, 10+i))
		for k := range 10 {
			c.put(t, fmt.Sprintf("images/%d-%d", i, k), noise(100+i))
		}
	}
	tries := l.tries.Load()
	eventually(t, "the agent meets the fault", func() bool { return l.tries.Load() > tries })
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
