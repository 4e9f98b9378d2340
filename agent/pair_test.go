package agent

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/pureboot/pureboot/agent/uplink"
	"github.com/pureboot/pureboot/central/api"
	"github.com/pureboot/pureboot/central/content"
	"github.com/pureboot/pureboot/central/fleet"
	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

// realCentral is central's own API over HTTPS. It counts the bytes of content that it sends, and can be made to lie.
type realCentral struct {
	*httptest.Server
	operator
	store  *store.Store
	by     string // URL by which agents reach it; empty: its own
	secret string // of the site's agent
	fleet  *fleet.Fleet
	agents *authority // makes the agents' certificates
	dir    string
	shut   func() // ends what open has opened

	mu    sync.Mutex
	api   http.Handler
	asked map[string]int                                // requests by path
	beat  wire.Heartbeat                                // the last one
	sent  []*transfer                                   // of content, in the order of their begin
	lie   func(n int, r *http.Request, w *wireTap)      // is told of the n-th content request before it is answered; nil: no lies
	turn  func(http.ResponseWriter, *http.Request) bool // answers in central's place; nil: never
	away  bool                                          // what agents ask is answered 503

	ear    *watched          // hears all that is asked but heartbeats; may be nil
	answer map[string]string // bodies of JSON that paths are answered with in central's place

	held map[string]chan struct{} // what is asked of these paths waits for them to be closed

	byCertificate bool // beat came with
	lost          int  // answers to enrolments, from now on
}

// transfer is one answer with content.
type transfer struct {
	path, asked, coding string // asked is the Range
	bytes               int64
	over                bool
}

func (tr *transfer) String() string { return fmt.Sprintf("%+v", *tr) }

func startRealCentral(t *testing.T) *realCentral {
	t.Helper()
	c := &realCentral{asked: map[string]int{}, secret: "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I", dir: t.TempDir(), agents: newAuthority(t)}
	c.open(t, store.Options{Dir: c.dir})
	t.Cleanup(func() { c.shut() })
	c.Server = httptest.NewUnstartedServer(c.tapped(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		h := c.api
		c.mu.Unlock()
		h.ServeHTTP(w, r)
	})))
	c.EnableHTTP2 = true
	c.TLS = &tls.Config{ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: x509.NewCertPool()}
	c.TLS.ClientCAs.AddCert(c.agents.cert)
	c.Config.ErrorLog = log.New(io.Discard, "", 0) // of agents that end
	c.StartTLS()
	t.Cleanup(c.Close)
	c.url, c.client = c.URL, c.Client()
	var err error
	if _, c.admin, err = c.store.CreateToken(t.Context(), store.Actor{Name: "test"}, store.TokenSpec{Name: "admin", Role: store.Admin}); err != nil {
		t.Fatal(err)
	}
	c.site = c.call(t, 201, "POST", "/api/v1/sites", `{"name":"oslo"}`)["id"].(string)
	token := c.call(t, 200, "POST", "/api/v1/sites/"+c.site+"/agent-token", "")["token"]
	c.enrolled(t, token.(string))
	return c
}

// enrolled enrols the site's agent.
func (c *realCentral) enrolled(t *testing.T, token string) {
	t.Helper()
	sum := sha256.Sum256([]byte(c.secret))
	c.call(t, 201, "POST", wire.PathRegister, fmt.Sprintf(`{"join_token":%q,"credential_sha256":%q}`, token, hex.EncodeToString(sum[:])))
}

// open opens what central serves from.
func (c *realCentral) open(t *testing.T, o store.Options) {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	o.Log = quiet
	var err error
	if c.store, err = store.Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	files, err := content.Open(filepath.Join(c.dir, "content"), c.store, quiet)
	if err != nil {
		t.Fatal(err)
	}
	encodings, err := content.OpenEncodings(filepath.Join(c.dir, "encoded"), 1<<30, quiet)
	if err != nil {
		t.Fatal(err)
	}
	c.fleet = fleet.New(fleet.Options{Store: c.store, Content: files, CA: c.agents, Log: quiet})
	handler, err := api.New(api.Options{Store: c.store, Content: files, Encodings: encodings, Log: quiet, Fleet: c.fleet})
	if err != nil {
		t.Fatal(err)
	}
	c.change(func() { c.api = handler })
	old := c.store
	c.shut = func() { encodings.Close(); files.Close(); old.Close() }
}

// restore ends central and starts it from a backup of its database. No agent may be talking to it.
func (c *realCentral) restore(t *testing.T, database string) {
	t.Helper()
	c.shut()
	c.open(t, store.Options{DSN: database})
}

// tapped counts what goes out to the agent.
func (c *realCentral) tapped(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		away := c.away && strings.HasPrefix(r.Header.Get("Authorization"), "Bearer pba_")
		c.mu.Unlock()
		if away {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		var held chan struct{}
		c.change(func() {
			c.asked[r.URL.Path]++
			held = c.held[r.URL.Path]
		})
		if held != nil {
			select {
			case <-held:
			case <-r.Context().Done():
			}
		}
		if r.URL.Path == wire.PathRegister {
			lose := false
			c.change(func() { lose, c.lost = c.lost > 0, c.lost-1 })
			if lose {
				h.ServeHTTP(httptest.NewRecorder(), r)
				panic(http.ErrAbortHandler)
			}
		}
		if r.URL.Path == wire.PathHeartbeat {
			text, _ := io.ReadAll(r.Body) // the handler says if it is cut
			c.change(func() {
				_ = json.Unmarshal(text, &c.beat)
				c.byCertificate = r.Header.Get("Authorization") == "" && len(r.TLS.VerifiedChains) > 0
			})
			r.Body = io.NopCloser(bytes.NewReader(text))
		} else {
			tally := &wireTap{ResponseWriter: w, ctx: r.Context(), cut: -1, holdAt: math.MaxInt64}
			var ear *watched
			var answer string
			c.change(func() { ear, answer = c.ear, c.answer[r.URL.Path] })
			if ear != nil {
				asked := r.Clone(r.Context())
				defer func() { c.change(func() { ear.hear(asked, tally.Header(), tally.at) }) }()
				w = tally
			}
			if answer != "" {
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, answer) // an agent that has enough hangs up
				return
			}
		}
		if r.Method != http.MethodGet || !strings.HasPrefix(r.URL.Path, wire.PathContent+"/") || r.URL.Query().Has("chunks") {
			h.ServeHTTP(w, r)
			return
		}
		tap := &wireTap{ResponseWriter: w, ctx: r.Context(), cut: -1, holdAt: math.MaxInt64}
		_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &tap.begin) // 0 without one
		c.mu.Lock()
		tr := &transfer{path: r.URL.Path, asked: r.Header.Get("Range")}
		if c.lie != nil {
			c.lie(len(c.sent), r, tap)
		}
		c.sent = append(c.sent, tr)
		turn := c.turn
		c.mu.Unlock()
		defer func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			tr.bytes, tr.coding, tr.over = tap.at, w.Header().Get("Content-Encoding"), true
		}()
		if turn == nil || !turn(tap, r) {
			h.ServeHTTP(tap, r)
		}
	})
}

func (c *realCentral) change(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

// transfers returns those so far, when they are over, and forgets them.
func (c *realCentral) transfers(t *testing.T) []*transfer {
	t.Helper()
	var sent []*transfer
	eventually(t, "the end of the transfers", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		if slices.ContainsFunc(c.sent, func(tr *transfer) bool { return !tr.over }) {
			return false
		}
		sent, c.sent = c.sent, nil
		return true
	})
	return sent
}

// wireTap is the way to the agent. It counts bytes and may change them.
type wireTap struct {
	http.ResponseWriter
	ctx   context.Context // of the request
	begin int64           // offset in the file of the first byte
	at    int64           // bytes so far

	cut    int64         // the connection ends before this byte of the answer; -1: it does not
	flips  []int64       // offsets of bytes of the file, or of its form, that are changed
	holdAt int64         // from this offset on bytes wait
	hold   chan struct{} // for this to be closed
}

func (w *wireTap) Write(p []byte) (int, error) {
	from := w.begin + w.at
	to := from + int64(len(p))
	if to > w.holdAt {
		select {
		case <-w.hold:
		case <-w.ctx.Done():
			return 0, w.ctx.Err()
		}
	}
	p = bytes.Clone(p)
	for _, flip := range w.flips {
		if from <= flip && flip < to {
			p[flip-from] ^= 0x40
		}
	}
	if w.cut >= 0 && w.at+int64(len(p)) > w.cut {
		n, _ := w.ResponseWriter.Write(p[:w.cut-w.at])
		w.at += int64(n)
		http.NewResponseController(w.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	// An agent that has all that it wants hangs up, which may come back before this does.
	w.at += int64(len(p))
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *wireTap) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// startPair starts an agent that is enrolled with the central.
func startPair(t *testing.T, c *realCentral) *appliance {
	t.Helper()
	return startWith(t, c, config(t, nil))
}

// startWith is startPair of an agent with this configuration.
func startWith(t *testing.T, c *realCentral, cfg Config) *appliance {
	t.Helper()
	enrol(t, c, cfg)
	return start(t, cfg)
}

// enrolled is the configuration of an agent that is enrolled with the central.
func enrolled(t *testing.T, c *realCentral) Config {
	t.Helper()
	cfg := config(t, nil)
	enrol(t, c, cfg)
	return cfg
}

func enrol(t *testing.T, c *realCentral, cfg Config) {
	t.Helper()
	text, err := json.Marshal(uplink.Identity{
		CentralURL: cmp.Or(c.by, c.URL), SiteID: c.site, SiteName: "oslo", Secret: c.secret,
		CA: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate().Raw})),
	})
	if err == nil {
		err = os.MkdirAll(cfg.StateDir(), 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(cfg.StateDir(), "identity.json"), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// warm has central encode what it will, so that how long that takes is no matter of the test.
func (c *realCentral) warm(t *testing.T, name string, coded bool) {
	t.Helper()
	client, link := &http.Client{Transport: c.Client().Transport}, c.URL+wire.PathContent+"/"+name
	eventually(t, "an answer in the form that is expected", func() bool {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodHead, link, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer pba_"+c.site+"_"+c.secret)
		req.Header.Set("Accept-Encoding", "zstd")
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return (res.Header.Get("Content-Encoding") == "zstd") == coded
	})
}

// wantFile has a client fetch a file, which must be whole and right.
func (a *appliance) wantFile(t *testing.T, name string, body []byte) {
	t.Helper()
	res, got, err := a.get("/" + name)
	if err != nil || res.StatusCode != http.StatusOK || !bytes.Equal(got, body) {
		t.Fatalf("%s: got %d bytes of %d, %v", name, len(got), len(body), err)
	}
}

// settled waits until no fill runs.
func (a *appliance) settled(t *testing.T) {
	t.Helper()
	eventually(t, "the end of the fills", func() bool { return a.cache.Stats().Filling == 0 })
}

func prose(n int) []byte {
	var text strings.Builder
	for i := 0; text.Len() < n; i++ {
		fmt.Fprintf(&text, "d-i partman/line-%d string %x\n", i, sha256.Sum256(fmt.Append(nil, i)))
	}
	return []byte(text.String()[:n])
}

func TestTextCostsTheLineLessThanItIsLong(t *testing.T) {
	c := startRealCentral(t)
	text := c.put(t, "templates/preseed.cfg", prose(900_000))
	packed := c.put(t, "images/initrd.gz", noise(900_000))
	short := c.put(t, "scripts/late.sh", []byte("#!/bin/sh\nreboot\n"))
	c.warm(t, "templates/preseed.cfg", true)
	c.warm(t, "images/initrd.gz", false)
	a := startPair(t, c)
	for _, tt := range []struct {
		name   string
		body   []byte
		coding string
	}{{"templates/preseed.cfg", text, "zstd"}, {"images/initrd.gz", packed, ""}, {"scripts/late.sh", short, ""}} {
		before := a.cache.Stats().BytesIn
		c.transfers(t)
		a.wantFile(t, tt.name, tt.body)
		a.settled(t)
		a.wantFile(t, tt.name, tt.body) // from the cache
		sent := c.transfers(t)
		if len(sent) != 1 || sent[0].coding != tt.coding || sent[0].asked != "" {
			t.Fatalf("%s: %+v", tt.name, sent)
		}
		if in := a.cache.Stats().BytesIn - before; in != sent[0].bytes {
			t.Errorf("%s: counted %d bytes, sent were %d", tt.name, in, sent[0].bytes)
		}
		if n, size := sent[0].bytes, int64(len(tt.body)); tt.coding == "" && n != size || tt.coding != "" && n > size*2/3 {
			t.Errorf("%s: %d bytes over the line, of %d", tt.name, n, size)
		}
	}
}

func TestACutOfTheSmallerFormIsResumedByBytesOfTheFile(t *testing.T) {
	c := startRealCentral(t)
	text := c.put(t, "templates/preseed.cfg", prose(2<<20))
	c.warm(t, "templates/preseed.cfg", true)
	c.lie = func(n int, _ *http.Request, w *wireTap) {
		if n == 0 {
			w.cut = 600_000
		}
	}
	a := startPair(t, c)
	c.transfers(t)
	a.wantFile(t, "templates/preseed.cfg", text)
	a.settled(t)
	sent := c.transfers(t)
	if len(sent) != 2 || sent[0].coding != "zstd" || sent[0].bytes != 600_000 || sent[1].coding != "" || !strings.HasPrefix(sent[1].asked, "bytes=") {
		t.Fatalf("%+v", sent)
	}
	// What was decoded before the cut is not asked for again, but for what the decoder held of its last block.
	var from int64
	if _, err := fmt.Sscanf(sent[1].asked, "bytes=%d-", &from); err != nil || from < 600_000 || from+sent[1].bytes != int64(len(text)) {
		t.Errorf("resumed by %s, %d bytes; %v", sent[1].asked, sent[1].bytes, err)
	}
	if st := a.cache.Stats(); st.Corruptions != 0 || st.Resumes != 1 {
		t.Errorf("%+v", st)
	}
}

// TestASmallerFormThatIsDamagedIsNoMatter: whichever byte of it is wrong, the client gets the file and the next one the
// same from the cache.
func TestASmallerFormThatIsDamagedIsNoMatter(t *testing.T) {
	c := startRealCentral(t)
	a := startPair(t, c)
	for i, at := range []int64{0, 5, 9, 40, 5_000, 100_000, 250_000, -1} {
		name := fmt.Sprintf("templates/%d.cfg", i)
		text := c.put(t, name, append(prose(700_000), fmt.Sprint(i)...))
		c.warm(t, name, true)
		c.change(func() {
			c.sent, c.lie = nil, func(n int, _ *http.Request, w *wireTap) {
				if n == 0 {
					w.flips = []int64{at}
				}
			}
		})
		a.wantFile(t, name, text)
		a.settled(t)
		a.wantFile(t, name, text)
		sent := c.transfers(t)
		if sent[0].coding != "zstd" || len(sent) == 1 != (at < 0) || slices.ContainsFunc(sent[1:], func(tr *transfer) bool { return tr.coding != "" || tr.asked == "" }) {
			t.Errorf("byte %d: %+v", at, sent)
		}
	}
}

// TestALyingFormIsNotBelieved: a form may decode to anything, without end, or to nothing. Of the file it costs no more
// memory than its own, and what is missing is asked for as it is.
func TestALyingFormIsNotBelieved(t *testing.T) {
	c := startRealCentral(t)
	a := startPair(t, c)
	for i, form := range [][]byte{
		encoded(t, make([]byte, 256<<20), 1<<20), // a bomb: 256 MiB of zeros in a few kilobytes
		encoded(t, prose(3<<20), 1<<20),          // another file, longer
		encoded(t, prose(1000), 1<<20),           // another one, shorter
		encoded(t, prose(1<<20), 64<<20),         // one that wants more memory than it may have
		encoded(t, nil, 1<<20), nil,
	} {
		name := fmt.Sprintf("templates/%d.cfg", i)
		text := c.put(t, name, append(noise(600_000), fmt.Sprint(i)...))
		c.change(func() {
			c.sent, c.turn = nil, func(w http.ResponseWriter, r *http.Request) bool {
				if r.Header.Get("Accept-Encoding") != "zstd" {
					return false
				}
				w.Header().Set("Content-Encoding", "zstd")
				w.Write(form)
				return true
			}
		})
		a.wantFile(t, name, text)
		a.settled(t)
		sent := c.transfers(t)
		if in, bound := sum(sent[1:]), int64(2*len(text)); sent[0].coding != "zstd" || in < int64(len(text))/2 || in > bound {
			t.Errorf("form %d: %d bytes in place of %d: %+v", i, in, len(text), sent)
		}
	}
}

func sum(sent []*transfer) (n int64) {
	for _, tr := range sent {
		n += tr.bytes
	}
	return n
}

// TestAnOlderCentralSendsFilesAsTheyAre: it knows nothing of Accept-Encoding.
func TestAnOlderCentralSendsFilesAsTheyAre(t *testing.T) {
	c := startRealCentral(t)
	text := c.put(t, "templates/preseed.cfg", prose(900_000))
	c.lie = func(_ int, r *http.Request, _ *wireTap) { r.Header.Del("Accept-Encoding") }
	a := startPair(t, c)
	a.wantFile(t, "templates/preseed.cfg", text)
	a.settled(t)
	if sent := c.transfers(t); len(sent) != 1 || sent[0].coding != "" || sent[0].bytes != int64(len(text)) {
		t.Errorf("%+v", sent)
	}
}

func noise(n int) []byte {
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n)}).Read(data)
	return data
}

// encoded is text in the coding zstd, of which a decoder keeps a window in memory.
func encoded(t *testing.T, text []byte, window int) []byte {
	t.Helper()
	var out bytes.Buffer
	enc, err := zstd.NewWriter(&out, zstd.WithWindowSize(window), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithZeroFrames(true))
	if err != nil {
		t.Fatal(err)
	}
	for piece := range slices.Chunk(text, 1<<20) { // more than a write, so that it is a stream
		if _, err := enc.Write(piece); err != nil {
			t.Fatal(err)
		}
	}
	if err := enc.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
