package agent

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pureboot/pureboot/agent/admin"
	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/central/wire"
)

// TestEveryCounterIsWhatWasDone drives a mixed load through an agent, and has its metrics say exactly what central, an
// origin and the clients have counted, to the byte. A counter that nothing here accounts for is to be 0.
func TestEveryCounterIsWhatWasDone(t *testing.T) {
	l := startLoad(t)
	for _, phase := range []func(){
		l.boots, l.coldAndWarm, l.herds, l.ranges, l.corruption, l.staleFiles, l.tooLarge, l.cuts, l.validation, l.staleUpstream, l.passing,
		l.tftp, l.damage, l.evictions,
	} {
		phase()
		l.settle()
	}
	l.compare()
}

// load is the clients of an agent, and the ledger of what they had, and of what it should have cost.
type load struct {
	*testing.T
	a       *appliance
	client  *http.Client
	central *countingCentral
	origin  *loadOrigin
	done    ledger
}

// ledger has counters by the name and labels of their metric, but for what all begin with.
type ledger struct {
	mu sync.Mutex
	of map[string]float64
}

func (l *ledger) add(n int, names ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range names {
		l.of[name] += float64(n)
	}
}

func startLoad(t *testing.T) *load {
	l := &load{T: t, central: startCentral(t), origin: startLoadOrigin(t), done: ledger{of: map[string]float64{}}}
	for name, size := range map[string]int{
		"images/cold": 300_000, "images/herd": 900_000, "images/ranges": 6 << 20, "images/corrupt": 800_000, "images/stale": 200_000,
		"images/huge": 700_000, "bootloaders/ipxe.efi": 100_000,
	} {
		l.central.put(name, size)
	}
	l.central.nodes[mac] = wire.Boot{Node: wire.Node{ID: "6ba7b810-9dad-11d1-80b4-00c04fd430c8", MACAddress: mac, State: "active", Version: 1}}
	cfg := config(t, l.central)
	cfg.Upstreams = []Upstream{{Prefix: "/up/", URL: l.origin.URL}}
	l.a = start(t, cfg)
	l.client = &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}, Timeout: patience}
	t.Cleanup(l.client.CloseIdleConnections)
	eventually(t, "the manifest is pulled", func() bool { return l.a.files.Epoch() == l.central.epoch })
	return l
}

// get has a client read all of an answer, which is to be of that status and, unless it is nil, that body.
func (l *load) get(path, byteRange string, status int, body []byte) *http.Response {
	l.Helper()
	res, got := l.do(http.MethodGet, path, byteRange)
	if res.StatusCode != status || body != nil && !bytes.Equal(got, body) {
		l.Errorf("%s %s: %d, %d bytes", path, byteRange, res.StatusCode, len(got))
	}
	return res
}

func (l *load) do(method, path, byteRange string) (*http.Response, []byte) {
	l.Helper()
	req, err := http.NewRequestWithContext(l.Context(), method, "http://"+l.a.at["http"]+path, nil)
	if err != nil {
		l.Fatal(err)
	}
	if byteRange != "" {
		req.Header.Set("Range", "bytes="+byteRange)
	}
	res, err := l.client.Do(req)
	if err != nil {
		l.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		l.Errorf("%s: %v after %d bytes", path, err, len(got))
	}
	route := "other"
	switch {
	case strings.HasPrefix(path, "/up/"):
		route = "upstream"
		l.done.add(1, `upstream_requests_total{upstream="/up/"}`)
	case strings.HasPrefix(path, "/images/"):
		route = "content"
	}
	l.done.add(1, fmt.Sprintf(`http_requests_total{code="%dxx",route="%s"}`, res.StatusCode/100, route))
	l.done.add(len(got), fmt.Sprintf(`http_sent_bytes_total{route="%s"}`, route))
	return res, got
}

// file has a client read one of central's files, which comes from that tier.
func (l *load) file(name, byteRange string, result string, tier cache.Tier) {
	l.Helper()
	body, status := l.central.files[name], 200
	if byteRange != "" {
		from, to, _ := strings.Cut(byteRange, "-")
		body, status = body[must(strconv.Atoi(from)):must(strconv.Atoi(to))+1], 206
	}
	res := l.get("/"+name, byteRange, status, body)
	if tier == "" { // memory or disk, as the agent says
		_, detail, _ := strings.Cut(res.Header.Get("Cache-Status"), "detail=")
		tier = cache.Tier(detail)
	}
	l.read(result, tier)
}

// read notes that a reader was given one of central's files.
func (l *load) read(result string, tier cache.Tier) {
	l.done.add(1, fmt.Sprintf(`content_opens_total{result="%s"}`, result), fmt.Sprintf(`cache_reads_total{tier="%s"}`, tier))
}

// up has a client read something of the origin's.
func (l *load) up(path, byteRange string, status int, body []byte, result string, tier cache.Tier) {
	l.Helper()
	l.get("/up"+path, byteRange, status, body)
	l.done.add(1, fmt.Sprintf(`upstream_answers_total{result="%s",upstream="/up/"}`, result))
	if tier != "" {
		l.done.add(1, fmt.Sprintf(`cache_reads_total{tier="%s"}`, tier))
		l.done.add(len(body), `upstream_cached_sent_bytes_total{upstream="/up/"}`)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

const filled, broken = `cache_fills_total{result="done"}`, `cache_fills_total{result="failed"}`

// settle waits until what the phase began has ended.
func (l *load) settle() {
	l.Helper()
	eventually(l.T, "every transfer has ended", func() bool { return l.a.cache.Stats().Filling == 0 })
	eventually(l.T, "every answer is counted", func() bool {
		ended, want := int64(0), 0.0
		for _, codes := range l.a.gateway.Stats().Requests {
			for _, n := range codes {
				ended += n
			}
		}
		for name, n := range l.done.of {
			if strings.HasPrefix(name, "http_requests_total") {
				want += n
			}
		}
		return float64(ended) == want
	})
}

func (l *load) boots() {
	l.get("/boot/"+mac, "", 200, nil)
	l.get("/boot/not-a-mac", "", 200, nil)
	l.get("/boot.ipxe", "", 200, nil)
	l.get("/grub/"+mac, "", 200, nil)
	l.do(http.MethodHead, "/boot/"+mac, "")
	l.get("/nothing", "", 404, nil)
	l.done.add(1, `boots_total{loader="ipxe",script="local"}`, `boots_total{loader="ipxe",script="safe"}`,
		`boots_total{loader="bootstrap",script="bootstrap"}`, `boots_total{loader="grub",script="local"}`)
}

func (l *load) coldAndWarm() {
	l.file("images/cold", "", "miss", cache.TierFill)
	l.done.add(1, filled)
	l.settle()
	for range 20 {
		l.file("images/cold", "", "hit", "")
	}
	l.file("images/cold", "1000-1999", "hit", "")
	l.get("/images/none", "", 404, nil)
	l.done.add(1, `content_opens_total{result="missing"}`)
	body := l.origin.files["/plain"]
	l.up("/plain", "", 200, body, "miss", cache.TierFill)
	l.done.add(1, filled)
	l.settle()
	for range 2 {
		l.up("/plain", "", 200, body, "hit", cache.TierDisk)
	}
}

// herd has n clients ask at once for what is let through when all have come.
func (l *load) herd(n int, ask func(), let func()) {
	before := l.a.cache.Stats()
	var herd sync.WaitGroup
	for range n {
		herd.Go(ask)
	}
	eventually(l.T, "all have come", func() bool {
		now := l.a.cache.Stats()
		return now.Misses-before.Misses == 1 && now.Coalesced-before.Coalesced == int64(n-1)
	})
	let()
	herd.Wait()
}

func (l *load) herds() {
	const n = 25
	gate := make(chan struct{})
	l.central.change(func() { l.central.gate = gate })
	l.herd(n, func() { l.get("/images/herd", "", 200, l.central.files["images/herd"]) }, func() { close(gate) })
	l.central.change(func() { l.central.gate = nil })
	l.read("miss", cache.TierFill)
	for range n - 1 {
		l.read("collapsed", cache.TierJoined)
	}
	body := l.origin.files["/herd"]
	l.herd(n, func() { l.get("/up/herd", "", 200, body) }, func() { close(l.origin.gate) })
	l.done.add(1, `upstream_answers_total{result="miss",upstream="/up/"}`, `cache_reads_total{tier="fill"}`)
	l.done.add(n-1, `upstream_answers_total{result="collapsed",upstream="/up/"}`, `cache_reads_total{tier="joined"}`)
	l.done.add(n*len(body), `upstream_cached_sent_bytes_total{upstream="/up/"}`)
	l.done.add(2, filled)
}

// ranges reads the end of a file, and then all of it, which goes on with that.
func (l *load) ranges() {
	l.file("images/ranges", fmt.Sprint(5<<20, "-", 5<<20+99_999), "miss", cache.TierFill)
	l.settle()
	l.file("images/ranges", "", "miss", cache.TierFill)
	l.settle()
	l.file("images/ranges", "3000000-3000999", "hit", cache.TierDisk)
	l.done.add(1, filled, "cache_range_fetches_total", "cache_adoptions_total")
	l.done.add(cache.ChunkSize, "cache_adopted_bytes_total")
}

// corruption has the second chunk come wrong once.
func (l *load) corruption() {
	var once sync.Once
	l.central.change(func() {
		l.central.through = func(_ string, w http.ResponseWriter, r *http.Request, body []byte) {
			once.Do(func() {
				body = slices.Clone(body)
				body[cache.ChunkSize+5] ^= 1
			})
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
		}
	})
	l.file("images/corrupt", "", "miss", cache.TierFill)
	l.central.change(func() { l.central.through = nil })
	l.done.add(1, filled, "cache_corruptions_total")
}

// staleFiles has a version replaced that central then does not give.
func (l *load) staleFiles() {
	l.file("images/stale", "", "miss", cache.TierFill)
	l.settle()
	old := l.central.files["images/stale"]
	l.central.put("images/stale", 210_000)
	l.central.change(func() {
		l.central.epoch.N++
		l.central.down = true
	})
	eventually(l.T, "the new version is known", func() bool { return l.a.files.Epoch() == l.central.now() })
	l.get("/images/stale", "", 200, old)
	l.read("stale", cache.TierDisk)
	l.get("/images/cold2", "", 503, nil)
	l.done.add(1, `content_opens_total{result="unavailable"}`)
	l.central.change(func() { l.central.down = false })
	l.file("images/stale", "", "miss", cache.TierFill)
	l.done.add(2, filled)
}

// tooLarge has the cache shrink below what a file needs.
func (l *load) tooLarge() {
	s := l.a.cache.Stats()
	l.a.cache.SetLimits(s.Bytes, 0)
	pin := func(key cache.Key) int { return cache.Pinned } // so that nothing can make room
	l.a.cache.SetRank(pin)
	l.file("images/huge", "", "pass", cache.TierPass)
	l.a.cache.SetRank(func(key cache.Key) int { return 0 })
	l.a.cache.SetLimits(1e9, 0)
	l.done.add(1, broken)
}

func (l *load) cuts() {
	l.up("/cut", "", 200, l.origin.files["/cut"], "miss", cache.TierFill)
	l.done.add(1, filled)
	l.done.add(cutTimes, "cache_resumes_total")
}

func (l *load) validation() {
	body := l.origin.files["/validated"]
	l.up("/validated", "", 200, body, "miss", cache.TierFill)
	l.settle()
	for range 3 {
		l.up("/validated", "", 200, body, "validated", cache.TierDisk)
		l.settle()
	}
	l.done.add(1, filled)
}

func (l *load) staleUpstream() {
	body := l.origin.files["/failing"]
	l.up("/failing", "", 200, body, "miss", cache.TierFill)
	l.settle()
	l.origin.failing.Lock()
	l.up("/failing", "", 200, body, "stale", cache.TierDisk)
	l.origin.failing.Unlock()
	l.done.add(1, filled)
}

func (l *load) passing() {
	l.up("/private", "", 200, l.origin.files["/private"], "pass", "")
	l.settle()
	l.do(http.MethodPost, "/up/plain", "")
	l.done.add(1, `upstream_answers_total{result="pass",upstream="/up/"}`, `upstream_invalidations_total{upstream="/up/"}`)
	l.settle()
	l.up("/plain", "", 200, l.origin.files["/plain"], "miss", cache.TierFill)
	l.done.add(1, filled)
}

func (l *load) tftp() {
	want := l.central.files["bootloaders/ipxe.efi"]
	for i := range 2 {
		got, err := l.a.fetch("ipxe.efi")
		if err != nil || !bytes.Equal(got, want) {
			l.Errorf("TFTP: %d bytes, %v", len(got), err)
		}
		l.done.add(1, `tftp_transfers_total{result="done"}`)
		l.done.add(len(got), "tftp_sent_bytes_total")
		if i == 0 {
			l.read("miss", cache.TierFill)
			l.done.add(1, filled)
			l.settle()
			continue
		}
		l.read("hit", cache.TierDisk)
	}
	if _, err := l.a.fetch("none"); err == nil {
		l.Error("TFTP gave what does not exist")
	}
	l.done.add(1, `content_opens_total{result="missing"}`, `tftp_transfers_total{result="failed"}`)
	eventually(l.T, "TFTP's transfers are counted", func() bool { return l.a.transfers.done.Load()+l.a.transfers.failed.Load() == 3 })
}

// damage spoils a byte on the disk, which a check finds and repairs.
func (l *load) damage() {
	file := filepath.Join(l.a.cfg.CacheDir(), "images/ranges")
	info := must(os.Stat(file))
	disk := must(os.OpenFile(file, os.O_RDWR, 0))
	must(disk.WriteAt([]byte{l.central.files["images/ranges"][7] ^ 1}, 7))
	if err := disk.Close(); err != nil {
		l.Fatal(err)
	}
	if err := os.Chtimes(file, info.ModTime(), info.ModTime()); err != nil {
		l.Fatal(err)
	}
	checked := 0
	for e := range l.a.cache.All() {
		if e.Object.SHA256 != (cache.Digest{}) {
			checked += int(e.Object.Size)
		}
	}
	socket := admin.NewClient(l.a.at["admin"])
	var v admin.Verify
	if err := socket.Call(l.Context(), http.MethodPost, admin.PathVerify, nil, nil, &v); err != nil {
		l.Fatal(err)
	}
	eventually(l.T, "the disk is checked", func() bool {
		return socket.Call(l.Context(), http.MethodGet, admin.PathVerify, nil, nil, &v) == nil && !v.Running
	})
	l.done.add(checked, "cache_verified_bytes_total")
	l.done.add(1, "cache_corruptions_total", "cache_repairs_total")
}

// evictions takes objects away in each of the ways, and counts what is gone on the disk.
func (l *load) evictions() {
	socket := admin.NewClient(l.a.at["admin"])
	for _, step := range []struct {
		metric string
		act    func() error
	}{
		{"cache_purged_objects_total", func() error {
			return socket.Call(l.Context(), http.MethodPost, admin.PathPurge, nil, admin.Purge{Key: l.origin.URL + "/plain"}, new(admin.Gone))
		}},
		{`cache_evictions_total{reason="operator"}`, func() error {
			return socket.Call(l.Context(), http.MethodPost, admin.PathEvict, nil, admin.Evict{Policy: admin.EvictLRU, Bytes: 3 << 20}, new(admin.Gone))
		}},
		{`cache_evictions_total{reason="size"}`, func() error {
			l.a.cache.SetLimits(1<<20, 0)
			return nil
		}},
	} {
		before, entries := l.files(), l.a.cache.Stats().Entries
		if err := step.act(); err != nil {
			l.Fatal(err)
		}
		gone := int(entries - l.a.cache.Stats().Entries)
		eventually(l.T, "the files are gone", func() bool { return before-l.files() == gone })
		if gone == 0 {
			l.Errorf("%s: nothing went", step.metric)
		}
		l.done.add(gone, step.metric)
	}
}

// files counts those of the cache on the disk.
func (l *load) files() (n int) {
	for _, dir := range []string{"images", "bootloaders", "upstream"} {
		filepath.WalkDir(filepath.Join(l.a.cfg.CacheDir(), dir), func(_ string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				n++
			}
			return nil
		})
	}
	return n
}

// compare has the metrics say what the ledger does, and what central and the origin have counted.
func (l *load) compare() {
	l.Helper()
	asked, sent, bytes := l.central.counts()
	requests, received, stored := l.origin.counts()
	want := maps.Clone(l.done.of)
	want["central_file_questions_total"] = float64(asked)
	want["central_content_requests_total"] = float64(sent)
	want["central_content_received_bytes_total"] = float64(bytes)
	want[`upstream_origin_requests_total{upstream="/up/"}`] = float64(requests)
	want[`upstream_origin_received_bytes_total{upstream="/up/"}`] = float64(received)
	want["cache_received_bytes_total"] = float64(bytes + stored)
	got := scrape(l.T, &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", l.a.at["admin"])
		},
	}})
	for _, name := range slices.Sorted(maps.Keys(got)) {
		short, ours := strings.CutPrefix(name, "pureboot_agent_")
		family, _, _ := strings.Cut(short, "{")
		if !ours || !strings.HasSuffix(family, "_total") || family == "cache_journals_total" { // whose number is a matter of time
			continue
		}
		if got[name] != want[short] {
			l.Errorf("%s is %.0f, want %.0f", short, got[name], want[short])
		}
		delete(want, short)
	}
	for name, n := range want {
		l.Errorf("there is no %s, want %.0f", name, n)
	}
	for category, name := range map[string]string{"images": "images", "bootloaders": "bootloaders", "upstream": "upstream"} {
		size, count := 0.0, 0.0
		filepath.WalkDir(filepath.Join(l.a.cfg.CacheDir(), name), func(_ string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				count++
				size += float64(must(d.Info()).Size())
			}
			return nil
		})
		if got[`pureboot_agent_cache_objects{category="`+category+`"}`] != count || got[`pureboot_agent_cache_size_bytes{category="`+category+`"}`] != size {
			l.Errorf("%s: %v objects of %v bytes are on the disk", category, count, size)
		}
	}
	if got["pureboot_agent_central_up"] != 1 || got[`pureboot_agent_upstream_up{upstream="/up/"}`] != 1 || got["pureboot_agent_nodes"] != 1 {
		l.Error("central, the origin or the machine is not there")
	}
}

// change changes central while it serves.
func (c *countingCentral) change(do func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	do()
}

func (c *countingCentral) now() wire.Epoch {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.epoch
}

// counts returns the questions what files are made of, the requests for content, and the bytes of it that were sent.
func (c *countingCentral) counts() (asked, sent int, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.sent {
		sent += n
	}
	return c.asked, sent, c.bytes
}

// cutTimes is how often the origin cuts what is at /cut.
const cutTimes = 3

// loadOrigin has a file for each kind of trouble. All are too large for the hot tier.
type loadOrigin struct {
	*httptest.Server
	files   map[string][]byte
	gate    chan struct{} // the herd's file waits for it to be closed
	failing sync.Mutex    // held while /failing fails

	mu       sync.Mutex
	requests int
	sent     int64 // bytes of bodies
	private  int64 // of these, of what is not to be stored
	cut      int
}

func startLoadOrigin(t *testing.T) *loadOrigin {
	o := &loadOrigin{files: map[string][]byte{}, gate: make(chan struct{})}
	for i, path := range []string{"/plain", "/herd", "/cut", "/validated", "/failing", "/private"} {
		body := make([]byte, 1_200_000+i*1000)
		rand.NewChaCha8([32]byte{byte(i)}).Read(body)
		o.files[path] = body
	}
	o.Server = httptest.NewServer(o)
	t.Cleanup(o.Close)
	return o
}

func (o *loadOrigin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	o.requests++
	count := &o.sent
	o.mu.Unlock()
	out := &tallied{w, &o.mu, count}
	body := o.files[r.URL.Path]
	w.Header().Set("ETag", `"v1"`)
	w.Header().Set("Cache-Control", "max-age=1000")
	switch r.URL.Path {
	case "/herd":
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		out.Write(body[:1000])
		http.NewResponseController(w).Flush()
		<-o.gate
		out.Write(body[1000:])
		return
	case "/cut":
		o.mu.Lock()
		o.cut++
		cut := o.cut <= cutTimes
		o.mu.Unlock()
		if cut {
			o.cutOff(out, r, body)
			return
		}
	case "/validated":
		w.Header().Set("Cache-Control", "max-age=0")
	case "/failing":
		w.Header().Set("Cache-Control", "max-age=0")
		if !o.failing.TryLock() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		o.failing.Unlock()
	case "/private":
		w.Header().Set("Cache-Control", "no-store")
		defer func() {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.private += int64(len(body))
		}()
	}
	if r.Method == http.MethodPost {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	http.ServeContent(out, r, "", time.Time{}, bytes.NewReader(body))
}

// cutOff sends some of what is asked for, and hangs up.
func (o *loadOrigin) cutOff(w *tallied, r *http.Request, body []byte) {
	from := 0
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if asked := r.Header.Get("Range"); asked != "" {
		from = must(strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(asked, "bytes="), "-")))
		w.Header().Set("Content-Length", strconv.Itoa(len(body)-from))
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(body)-1, len(body)))
		w.WriteHeader(http.StatusPartialContent)
	}
	w.Write(body[from : from+100_000])
	http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// counts returns the requests, the bytes of bodies that were sent, and those of them that were to be stored.
func (o *loadOrigin) counts() (requests int, sent, stored int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.requests, o.sent, o.sent - o.private
}

func goVersion() string { return runtime.Version() }

// scrape reads the metrics, by name and labels as they are written.
func scrape(t *testing.T, client *http.Client) map[string]float64 {
	t.Helper()
	res, err := client.Get("http://agent/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	all := map[string]float64{}
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		line := lines.Text()
		i := strings.LastIndexByte(line, ' ')
		if strings.HasPrefix(line, "#") || i < 0 {
			continue
		}
		if all[line[:i]], err = strconv.ParseFloat(line[i+1:], 64); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	return all
}
