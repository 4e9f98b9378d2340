package agent

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	crashClients = 10
	largeSize    = 40 << 20
	// largeAhead is by how many bytes the origin of what is large may be ahead of who reads it: what is on its way to an
	// agent that is killed is nobody's fault.
	largeAhead = 512 << 10
)

// crashWorld is what an agent that gets killed has around it: its central, the origin of its upstream, its
// clients, and what they know of what it ought to have.
type crashWorld struct {
	t       *testing.T
	central *countingCentral
	origin  *httptest.Server
	round   int
	limit   int64

	ranges  [2]atomic.Int64 // that were asked of what is sparse
	killed  atomic.Bool
	checked atomic.Int64 // answers
	cut     atomic.Int64 // of them

	finished    map[string]bool // keys of what was published
	purged      []string        // keys that are not asked for again
	keptCount   int
	interrupted int
	worst       float64 // of the interrupted transfers: bytes sent, as a multiple of the size

	mu       sync.Mutex
	bodies   map[string][]byte
	sent     map[string]int64 // bytes of bodies, by name
	read     map[string]int64 // bytes of what is large, from the front, that have come through the agent
	moved    *sync.Cond       // read or checking has changed
	checking bool             // nothing is held back
	version  int              // of what changes
}

func newCrashWorld(t *testing.T) *crashWorld {
	w := &crashWorld{t: t, central: startCentral(t), finished: map[string]bool{}, bodies: map[string][]byte{}, sent: map[string]int64{}, read: map[string]int64{}}
	w.moved = sync.NewCond(&w.mu)
	w.central.through = func(name string, out http.ResponseWriter, r *http.Request, body []byte) {
		http.ServeContent(w.counted(name, out, r), r, "", time.Time{}, bytes.NewReader(body))
	}
	for i := range 6 {
		for _, name := range []string{fmt.Sprintf("bootloaders/b%d", i), fmt.Sprintf("images/i%d", i)} {
			w.central.set(name, w.body(name))
		}
	}
	w.origin = httptest.NewServer(http.HandlerFunc(w.answer))
	t.Cleanup(w.origin.Close)
	return w
}

// nameOf and keyOf tell what clients ask for from what the cache calls it.
func nameOf(key string) string { return strings.TrimPrefix(key, "upstream/") }

func keyOf(name string) string {
	if strings.HasPrefix(name, "up/") {
		return "upstream/" + name
	}
	return name
}

// begin prepares a round.
func (w *crashWorld) begin() {
	w.killed.Store(false)
	for i := range w.ranges {
		w.ranges[i].Store(0)
	}
	w.mu.Lock()
	w.checking = false
	w.version++
	w.mu.Unlock()
	if w.limit == roomy {
		for _, name := range []string{w.large()[1], w.sparse()[1]} {
			w.central.set(name, w.body(name))
		}
	}
}

// large are the names of what is being read from the front when the agent is killed, sparse those of which only
// ranges are.
func (w *crashWorld) large() []string {
	return []string{fmt.Sprintf("up/large/%d", w.round), fmt.Sprintf("images/large/%d", w.round)}
}

func (w *crashWorld) sparse() []string {
	return []string{fmt.Sprintf("up/large/sparse/%d", w.round), fmt.Sprintf("images/large/sparse/%d", w.round)}
}

// body is what a name stands for.
func (w *crashWorld) body(name string) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	if strings.Contains(name, "large") {
		name = path.Dir(name) // one body for all rounds
	}
	if body := w.bodies[name]; body != nil {
		return body
	}
	seed := [32]byte{}
	copy(seed[:], name)
	size := 1000 + len(name)
	switch last := name[len(name)-1]; {
	case strings.Contains(name, "large"):
		size = largeSize
	case strings.Contains(name, "gone"):
	case last%3 != 0:
		size = int(last%3)*700_000 + 7
	}
	body := make([]byte, size)
	rand.NewChaCha8(seed).Read(body)
	if !strings.Contains(name, "gone") {
		w.bodies[name] = body
	}
	return body
}

// changing is a version of what changes with each round; each has another length.
func (w *crashWorld) changing(name string, version int) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "%s %d. ", name, version), 5000)
}

func (w *crashWorld) current() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.version
}

func (w *crashWorld) sentOf(name string) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sent[name]
}

// answer is the upstream's origin.
func (w *crashWorld) answer(out http.ResponseWriter, r *http.Request) {
	name := "up" + r.URL.Path
	body := w.body(name)
	counted := w.counted(name, out, r)
	out.Header().Set("Cache-Control", "max-age=86400")
	out.Header().Set("Content-Type", "application/octet-stream")
	out.Header().Set("ETag", fmt.Sprintf("%q", name))
	switch {
	case strings.Contains(name, "weak"): // nothing to tell its versions by, and no ranges
		out.Header().Del("ETag")
		out.Header().Set("Content-Length", fmt.Sprint(len(body)))
		_, _ = counted.Write(body)
		return
	case strings.Contains(name, "chunked") && r.Header.Get("Range") == "":
		out.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(out).Flush()
		_, _ = counted.Write(body)
		return
	case strings.Contains(name, "changing"):
		version := w.current()
		body = w.changing(name, version)
		out.Header().Set("ETag", fmt.Sprintf("\"%s#%d\"", name, version))
		out.Header().Set("Cache-Control", "max-age=0")
	}
	http.ServeContent(counted, r, "", time.Time{}, bytes.NewReader(body))
}

// countedWriter counts the bytes of a body.
type countedWriter struct {
	http.ResponseWriter
	w    *crashWorld
	name string
	at   int64 // of the body; -1: it does not matter
}

func (w *crashWorld) counted(name string, out http.ResponseWriter, r *http.Request) *countedWriter {
	c := &countedWriter{ResponseWriter: out, w: w, name: name, at: -1}
	if strings.Contains(name, "large") {
		var last int64
		if n, _ := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &c.at, &last); n == 0 {
			c.at = 0
		} else if n == 2 && last-c.at < 1<<20 {
			c.at = -1 // a range that somebody waits for
		}
	}
	return c
}

func (c *countedWriter) Write(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		piece := p[n:min(n+32<<10, len(p))]
		c.w.mu.Lock()
		for c.at >= 0 && c.at > c.w.read[c.name]+largeAhead && !c.w.checking {
			c.w.moved.Wait()
		}
		c.w.mu.Unlock()
		var m int
		m, err = c.ResponseWriter.Write(piece)
		n += m
		c.w.mu.Lock()
		c.w.sent[c.name] += int64(m)
		c.w.mu.Unlock()
		if c.at >= 0 {
			c.at += int64(m)
			_ = http.NewResponseController(c.ResponseWriter).Flush()
		}
	}
	return n, err
}

// follow reads what is large from the front, until the kill.
func (w *crashWorld) follow(v *victim, name string) {
	res, err := http.Get("http://" + v.http + "/" + name)
	if err != nil {
		return
	}
	defer res.Body.Close()
	want, at := w.body(name), int64(0)
	buf := make([]byte, 64<<10)
	for err == nil {
		var n int
		n, err = res.Body.Read(buf)
		if !bytes.Equal(buf[:n], want[at:at+int64(n)]) {
			w.t.Errorf("%s: wrong bytes at %d", name, at)
		}
		at += int64(n)
		w.mu.Lock()
		w.read[name] = at
		w.moved.Broadcast()
		w.mu.Unlock()
	}
	if err != io.EOF && !w.killed.Load() { //nolint:errorlint // as io.Reader has it
		w.t.Errorf("%s: %v after %d bytes", name, err, at)
	}
}

// load has clients ask until the agent has been killed, so long after the load has set in.
func (w *crashWorld) load(v *victim, after time.Duration) {
	var clients sync.WaitGroup
	var mu sync.Mutex // of finished and purged
	if w.limit == roomy {
		for _, name := range w.large() {
			clients.Go(func() { w.follow(v, name) })
		}
	}
	for i := range crashClients {
		clients.Go(func() {
			for n := 0; !w.killed.Load(); n++ {
				if n%8 != 1 {
					w.askSomething(v, i)
					continue
				}
				name := fmt.Sprintf("up/gone/%d-%d-%d", w.round, i, n)
				w.get(v, name, "")
				if v.purge(keyOf(name)) == nil {
					mu.Lock()
					w.purged = append(w.purged, keyOf(name))
					mu.Unlock()
				}
			}
		})
	}
	kill := sync.OnceFunc(func() {
		time.AfterFunc(after, func() {
			w.killed.Store(true)
			v.kill()
		})
	})
	before := w.checked.Load()
	clients.Go(func() {
		for !w.killed.Load() {
			if w.checked.Load() >= before+2*crashClients {
				kill()
			}
			keys, err := v.keys()
			mu.Lock()
			for _, key := range keys {
				if err == nil && !strings.Contains(key, "gone") {
					w.finished[key] = true
				}
			}
			mu.Unlock()
		}
	})
	clients.Wait()
	v.kill()
	w.mu.Lock()
	w.checking = true
	w.moved.Broadcast()
	w.mu.Unlock()
}

// askSomething is one request of the mixed load.
func (w *crashWorld) askSomething(v *victim, client int) {
	kinds := []string{"bootloaders/b", "images/i", "up/strong/", "up/weak/", "up/chunked/", "up/changing/"}
	name := fmt.Sprintf("%s%d", kinds[rand.IntN(len(kinds))], rand.IntN(6))
	if w.limit == roomy && client < 2 && rand.IntN(3) == 0 {
		from := rand.IntN(largeSize - 300_000)
		w.ranges[client].Add(1)
		w.get(v, w.sparse()[client], fmt.Sprintf("bytes=%d-%d", from, from+rand.IntN(300_000)))
		return
	}
	ranges := ""
	switch rand.IntN(6) {
	case 0:
		from := rand.IntN(1000)
		ranges = fmt.Sprintf("bytes=%d-%d", from, from+rand.IntN(1000))
	case 1:
		ranges = "bytes=0-9,500-509,-10"
	case 2:
		ranges = "bytes=-100"
	}
	w.get(v, name, ranges)
}

// get asks and checks what looks whole. Before the kill every answer does.
func (w *crashWorld) get(v *victim, name, ranges string) {
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, "http://"+v.http+"/"+name, nil)
	if err != nil {
		w.t.Error(err)
		return
	}
	if ranges != "" {
		req.Header.Set("Range", ranges)
	}
	res, err := http.DefaultClient.Do(req)
	var body []byte
	if err == nil {
		body, err = io.ReadAll(res.Body)
		res.Body.Close()
	}
	w.checked.Add(1)
	switch {
	case err != nil && w.killed.Load():
		w.cut.Add(1)
	case err != nil:
		w.t.Errorf("%s %q: %v", name, ranges, err)
	default:
		if err := w.verify(name, res, body); err != nil {
			w.t.Errorf("%s %q: status %d, %s: %v", name, ranges, res.StatusCode, res.Header.Get("Cache-Status"), err)
		}
	}
}

// verify compares an answer with every version that there was of what was asked for.
func (w *crashWorld) verify(name string, res *http.Response, body []byte) error {
	if !strings.Contains(name, "changing") {
		return verifyVersion(w.body(name), res, body)
	}
	var err error
	for version := w.current(); version > 0; version-- {
		if err = verifyVersion(w.changing(name, version), res, body); err == nil {
			return nil
		}
	}
	return err
}

func verifyVersion(want []byte, res *http.Response, body []byte) error {
	switch res.StatusCode {
	case http.StatusOK:
		if !bytes.Equal(body, want) {
			return fmt.Errorf("%d bytes that are not the %d wanted", len(body), len(want))
		}
		return nil
	case http.StatusPartialContent:
	default:
		return fmt.Errorf("%s", body)
	}
	kind, params, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if kind != "multipart/byteranges" {
		return verifyPart(want, res.Header.Get("Content-Range"), body)
	}
	parts := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	for n := 0; ; n++ {
		part, err := parts.NextRawPart()
		if err == io.EOF && n == 3 { //nolint:errorlint // as documented
			return nil
		}
		if err != nil {
			return fmt.Errorf("part %d: %w", n, err)
		}
		text, err := io.ReadAll(part)
		if err == nil {
			err = verifyPart(want, part.Header.Get("Content-Range"), text)
		}
		if err != nil {
			return err
		}
	}
}

func verifyPart(want []byte, where string, body []byte) error {
	var first, last, size int
	if _, err := fmt.Sscanf(where, "bytes %d-%d/%d", &first, &last, &size); err != nil {
		return fmt.Errorf("range %q: %w", where, err)
	}
	if size != len(want) || first > last || last >= size || !bytes.Equal(body, want[first:last+1]) {
		return fmt.Errorf("%d bytes that are not %q of %d", len(body), where, len(want))
	}
	return nil
}
