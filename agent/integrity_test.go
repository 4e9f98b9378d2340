package agent

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pureboot/pureboot/agent/admin"
	"github.com/pureboot/pureboot/agent/cache"
)

// part asks for bytes of a file, to the end if to is 0, and returns what came of the body.
func (a *appliance) part(name string, from, to int) (status int, body []byte, err error) {
	req, err := http.NewRequest(http.MethodGet, "http://"+a.at["http"]+"/"+name, nil)
	if err != nil {
		return 0, nil, err
	}
	switch {
	case to > 0:
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, to-1))
	case from > 0:
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	res, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	body, err = io.ReadAll(res.Body)
	return res.StatusCode, body, err
}

// chunkOf is the Range that asks for the chunk with a byte.
func chunkOf(offset, size int64) string {
	begin := offset - offset%cache.ChunkSize
	return fmt.Sprintf("bytes=%d-%d", begin, min(begin+cache.ChunkSize, size)-1)
}

// TestACorruptChunkIsFetchedAgainAlone, unnoticed by the clients: those that wait for it while it arrives, and those that
// come later.
func TestACorruptChunkIsFetchedAgainAlone(t *testing.T) {
	const size, bad = 8*cache.ChunkSize + 100, 5*cache.ChunkSize + 77
	c := startRealCentral(t)
	body := c.put(t, "images/initrd", noise(size))
	c.lie = func(n int, _ *http.Request, w *wireTap) {
		if n == 0 {
			w.flips = []int64{bad}
		}
	}
	a := startPair(t, c)
	var herd sync.WaitGroup
	for i := range 20 {
		herd.Go(func() {
			from := i % 5 * 1000
			_, got, err := a.part("images/initrd", from, 0)
			if err != nil || !bytes.Equal(got, body[from:]) {
				t.Errorf("from %d: %d bytes, %v", from, len(got), err)
			}
		})
	}
	herd.Wait()
	a.settled(t)
	a.wantFile(t, "images/initrd", body)
	sent := c.transfers(t)
	if len(sent) != 2 || sent[0].asked != "" || sent[1].asked != chunkOf(bad, size) || sum(sent) != size+cache.ChunkSize {
		t.Errorf("%+v", sent)
	}
	if st := a.cache.Stats(); st.Corruptions != 1 || st.BytesIn != size+cache.ChunkSize {
		t.Errorf("%+v", st)
	}
}

// TestWhatStaysCorruptIsCutOffAndReported: every client gets the bytes before the chunk and an end that looks like none,
// central and the operator read of it, and when central is right again so is the file.
func TestWhatStaysCorruptIsCutOffAndReported(t *testing.T) {
	const size, bad = 8 * cache.ChunkSize, 5*cache.ChunkSize + 77
	c := startRealCentral(t)
	body := c.put(t, "images/initrd", noise(size))
	c.lie = func(_ int, _ *http.Request, w *wireTap) { w.flips = []int64{bad} }
	a := startPair(t, c)
	var herd sync.WaitGroup
	for i := range 10 {
		herd.Go(func() {
			from := i * 1000
			status, got, err := a.part("images/initrd", from, 0)
			if status == http.StatusServiceUnavailable {
				return // it came after the end
			}
			if err == nil || from+len(got) > 5*cache.ChunkSize || !bytes.HasPrefix(body[from:], got) {
				t.Errorf("from %d: %d, %d bytes, %v", from, status, len(got), err)
			}
		})
	}
	herd.Wait()
	a.settled(t)
	if _, got, err := a.part("images/initrd", 6*cache.ChunkSize, 6*cache.ChunkSize+100); err != nil || !bytes.Equal(got, body[6*cache.ChunkSize:6*cache.ChunkSize+100]) {
		t.Errorf("behind it: %d bytes, %v", len(got), err)
	}
	if status, got, err := a.part("images/initrd", bad, bad+1); err == nil && status == http.StatusPartialContent {
		t.Errorf("the byte itself: %x", got)
	}

	status, err := admin.ReadStatus(t.Context(), a.at["admin"])
	if err != nil || status.Cache.Corruptions < 2 || !strings.Contains(status.Services["content"], "images/initrd") {
		t.Errorf("status: %d corruptions, %v, %v", status.Cache.Corruptions, status.Services, err)
	}
	told := func(says string) func() bool {
		return func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.beat.BootID != "" && strings.Contains(c.beat.Services["content"], says)
		}
	}
	c.call(t, 200, "PATCH", "/api/v1/sites/"+c.site, `{"heartbeat_seconds":1}`)
	a.end(t)
	a = start(t, a.cfg) // its first heartbeat would come a minute after the last
	if status, _, err := a.part("images/initrd", 0, 0); err == nil && status == http.StatusOK {
		t.Error("a whole answer after a restart")
	}
	eventually(t, "central hears of it", told("images/initrd"))
	eventually(t, "central calls the agent degraded", func() bool { // it judges by what it has stored
		return c.call(t, 200, "GET", "/api/v1/agents/"+c.site+"/status", "")["status"] == "degraded"
	})

	c.change(func() { c.lie = nil })
	a.wantFile(t, "images/initrd", body)
	a.settled(t)
	if status, err := admin.ReadStatus(t.Context(), a.at["admin"]); err != nil || status.Services["content"] != "" {
		t.Errorf("status: %v, %v", status.Services, err)
	}
}

// TestRangesAtRandomOffsetsDuringTheFill: nobody sees a byte that is not verified, wherever he asks and whatever arrives.
func TestRangesAtRandomOffsetsDuringTheFill(t *testing.T) {
	const size = 20*cache.ChunkSize - 1000
	c := startRealCentral(t)
	body := c.put(t, "images/initrd", noise(size))
	hold := make(chan struct{})
	random := rand.New(rand.NewPCG(1, 2))
	c.lie = func(_ int, r *http.Request, w *wireTap) {
		if r.Header.Get("Range") == "" {
			w.hold, w.holdAt = hold, 4*cache.ChunkSize
		}
		if r.Header.Get("Range") != chunkOf(w.begin, size) { // what is fetched again alone is right
			w.flips = []int64{random.Int64N(size), random.Int64N(size), w.begin + random.Int64N(cache.ChunkSize)}
		}
	}
	a := startPair(t, c)
	var readers sync.WaitGroup
	for i := range 12 {
		random := rand.New(rand.NewPCG(uint64(i), 3))
		readers.Go(func() {
			for range 10 {
				// In front of the fill, or so far behind it that nobody waits for the fill to come there.
				within := [][2]int{{0, 3 * cache.ChunkSize}, {9 * cache.ChunkSize, size}}[random.IntN(2)]
				from := within[0] + random.IntN(within[1]-within[0])
				to := from + 1 + random.IntN(min(3*cache.ChunkSize, within[1]-from))
				if status, got, err := a.part("images/initrd", from, to); err != nil || status != http.StatusPartialContent || !bytes.Equal(got, body[from:to]) {
					t.Errorf("%d to %d: %d, %d bytes, %v", from, to, status, len(got), err)
				}
			}
		})
	}
	readers.Wait()
	close(hold)
	a.wantFile(t, "images/initrd", body)
	a.settled(t)
	sent := c.transfers(t)
	alone := 0
	for _, tr := range sent {
		var from int64
		if _, err := fmt.Sscanf(tr.asked, "bytes=%d-", &from); err == nil && tr.asked == chunkOf(from, size) {
			alone++
		}
	}
	st := a.cache.Stats()
	if st.Corruptions == 0 || st.Corruptions > int64(alone) || st.FillErrors > 0 {
		t.Errorf("%d chunks fetched alone; %+v", alone, st)
	}
	if n, bound := sum(sent), size*105/100+st.Ranges<<20+st.Corruptions*cache.ChunkSize; n > bound {
		t.Errorf("%d bytes for %d, in %d transfers; %d would do", n, size, len(sent), bound)
	}
}

// TestWhatIsResumedIsVerified: after a cut, and after a restart that finds on the disk what it did not write.
func TestWhatIsResumedIsVerified(t *testing.T) {
	const size = 40*cache.ChunkSize + 5
	c := startRealCentral(t)
	body := c.put(t, "images/initrd", noise(size))
	hold := make(chan struct{})
	c.lie = func(n int, _ *http.Request, w *wireTap) {
		switch n {
		case 0:
			w.cut = 3*cache.ChunkSize + 1000
		case 1:
			w.flips, w.hold, w.holdAt = []int64{7 * cache.ChunkSize}, hold, 36*cache.ChunkSize
		}
	}
	a := startPair(t, c)
	if _, got, err := a.part("images/initrd", 0, 35*cache.ChunkSize); err != nil || !bytes.Equal(got, body[:35*cache.ChunkSize]) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if sent := c.sentSoFar(); len(sent) != 3 || sent[1].asked != fmt.Sprintf("bytes=%d-", 3*cache.ChunkSize+1000) || sent[2].asked != chunkOf(7*cache.ChunkSize, size) {
		t.Errorf("%+v", sent)
	}
	part := filepath.Join(a.cfg.CacheDir(), ".part")
	eventually(t, "what has arrived is in the journal", func() bool {
		journals, err := filepath.Glob(part + "/*.journal")
		if err != nil || len(journals) != 1 {
			return false
		}
		info, err := os.Stat(journals[0])
		return err == nil && info.Size() > 0
	})
	a.end(t)
	close(hold)
	files, err := os.ReadDir(part)
	if err != nil {
		t.Fatal(err)
	}
	damaged := slices.IndexFunc(files, func(f os.DirEntry) bool { return !strings.HasSuffix(f.Name(), ".journal") })
	if damaged < 0 {
		t.Fatalf("no part file among %v", files)
	}
	file, err := os.OpenFile(filepath.Join(part, files[damaged].Name()), os.O_RDWR, 0)
	if err == nil {
		_, err = file.WriteAt([]byte("not what was written here"), 2*cache.ChunkSize)
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	c.transfers(t)
	a = start(t, a.cfg)
	a.wantFile(t, "images/initrd", body)
	a.settled(t)
	sent := c.transfers(t)
	if !slices.ContainsFunc(sent, func(tr *transfer) bool {
		return strings.HasPrefix(tr.asked, fmt.Sprintf("bytes=%d-", 2*cache.ChunkSize))
	}) || sum(sent) > size/2 {
		t.Errorf("%+v", sent)
	}
}

// sentSoFar is transfers, and forgets nothing.
func (c *realCentral) sentSoFar() []*transfer {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.sent)
}

// TestTheEndOfAnUpstreamObjectWaitsForItsDigest: where no chunks are known, the last 64 KiB are the lever.
func TestTheEndOfAnUpstreamObjectWaitsForItsDigest(t *testing.T) {
	const size, withheld = 900_000, 64 << 10
	body := noise(size)
	wrong := bytes.Clone(body)
	wrong[400_000] ^= 1
	sum := sha256.Sum256(body)
	hold := make(chan struct{})
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("ETag", `"`+r.URL.Path+`"`)
		w.Header().Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(sum[:])+":")
		if r.URL.Path == "/wrong" {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(wrong))
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(size))
		w.Write(body[:size-1])
		http.NewResponseController(w).Flush()
		<-hold // the last byte
		w.Write(body[size-1:])
	}))
	t.Cleanup(origin.Close)
	cfg := config(t, nil)
	cfg.Upstreams = []Upstream{{Prefix: "/up/", URL: origin.URL}}
	a := start(t, cfg)

	if status, got, err := a.part("up/wrong", 0, 0); err == nil && status == http.StatusOK || len(got) > size-withheld || !bytes.HasPrefix(wrong, got) {
		t.Errorf("a wrong object: %d, %d bytes, %v", status, len(got), err)
	}
	a.settled(t)
	if st := a.cache.Stats(); st.Entries != 0 {
		t.Errorf("a wrong object is kept: %+v", st)
	}

	res, err := http.Get("http://" + a.at["http"] + "/up/right")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got := make([]byte, size-withheld)
	if _, err := io.ReadFull(res.Body, got); err != nil || !bytes.Equal(got, body[:len(got)]) {
		t.Errorf("before the digest checks: %v", err)
	}
	more := make(chan struct{})
	go func() {
		defer close(more)
		rest, err := io.ReadAll(res.Body)
		if err != nil || !bytes.Equal(rest, body[len(got):]) {
			t.Errorf("the rest: %d bytes, %v", len(rest), err)
		}
	}()
	eventually(t, "all but the last byte is here", func() bool { return a.cache.Stats().BytesIn >= 2*size-1 })
	select {
	case <-more:
		t.Error("the end was sent before the digest checked")
	default:
	}
	close(hold)
	<-more
}
