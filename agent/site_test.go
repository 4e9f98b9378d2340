package agent

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	pin "github.com/pin/tftp/v3"
	"go.uber.org/goleak"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/agent/uplink"
	"github.com/pureboot/pureboot/central/wire"
)

func TestMain(m *testing.M) {
	if file := os.Getenv(crashEnv); file != "" {
		crashChild(file)
		return
	}
	goleak.VerifyTestMain(m)
}

// patience bounds every wait of the tests; none of them comes near it unless something is broken.
const patience = 30 * time.Second

// countingCentral speaks central's protocol over HTTPS and counts the content it sends.
type countingCentral struct {
	*httptest.Server

	mu        sync.Mutex
	files     map[string][]byte
	described map[string]wire.Chunks
	nodes     map[string]wire.Boot // by MAC
	epoch     wire.Epoch
	changed   []string                                                               // ids of nodes that the next heartbeats name
	gate      chan struct{}                                                          // if not nil, content after the first chunk waits for it to be closed
	through   func(name string, w http.ResponseWriter, r *http.Request, body []byte) // if not nil, sends the content

	says http.HandlerFunc // if not nil, answers heartbeats in its place

	down       bool           // what files are and hold is not told
	sent       map[string]int // content requests, by file
	asked      int            // questions what a file is made of
	bytes      int64          // of content that was sent
	heartbeats []wire.Heartbeat
	events     []wire.Event
}

func startCentral(t *testing.T) *countingCentral {
	t.Helper()
	c := &countingCentral{
		files: map[string][]byte{}, described: map[string]wire.Chunks{}, nodes: map[string]wire.Boot{}, sent: map[string]int{}, epoch: wire.Epoch{Stream: "s1", N: 1},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+wire.PathHeartbeat, c.heartbeat)
	mux.HandleFunc("GET "+wire.PathManifest, c.manifest)
	mux.HandleFunc("GET "+wire.PathBoot, c.boot)
	mux.HandleFunc("POST "+wire.PathNodes+"/{id}/event", c.event)
	mux.HandleFunc("GET "+wire.PathContent+"/{category}/{path...}", c.content)
	c.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer pba_site-1_secret" {
			refuse(w, http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	c.EnableHTTP2 = true
	c.Config.ErrorLog = log.New(io.Discard, "", 0) // of agents that end
	c.StartTLS()
	t.Cleanup(c.Close)
	return c
}

func send(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}

func refuse(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", wire.MediaTypeProblem)
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(wire.Problem{Status: status})
}

func (c *countingCentral) heartbeat(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var h wire.Heartbeat
	if err := json.NewDecoder(r.Body).Decode(&h); err != nil {
		refuse(w, http.StatusBadRequest)
		return
	}
	c.heartbeats = append(c.heartbeats, h)
	if c.says != nil {
		c.says(w, r)
		return
	}
	send(w, wire.HeartbeatAnswer{
		ProtocolVersion: wire.ProtocolVersion, ServerTime: time.Now(), NextIn: 1, ContentEpoch: c.epoch,
		NodeEpoch: wire.Epoch{Stream: "n1", N: int64(len(c.heartbeats))}, ChangedNodes: c.changed,
	})
}

func (c *countingCentral) manifest(w http.ResponseWriter, _ *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := wire.Manifest{Epoch: c.epoch, Full: true, Items: []wire.ManifestItem{}}
	for _, described := range c.described {
		m.Items = append(m.Items, wire.ManifestItem{File: described.File})
	}
	send(w, m)
}

func (c *countingCentral) boot(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for mac, b := range c.nodes {
		if mac == r.URL.Query().Get("mac") || b.Node.ID == r.URL.Query().Get("id") {
			send(w, b)
			return
		}
	}
	refuse(w, http.StatusNotFound)
}

func (c *countingCentral) event(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var e wire.Event
	if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
		refuse(w, http.StatusBadRequest)
		return
	}
	c.events = append(c.events, e)
	for _, b := range c.nodes {
		if b.Node.ID == r.PathValue("id") {
			send(w, b.Node)
			return
		}
	}
	refuse(w, http.StatusNotFound)
}

func (c *countingCentral) content(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("category") + "/" + r.PathValue("path")
	c.mu.Lock()
	body, ok := c.files[name]
	gate, through, down := c.gate, c.through, c.down
	chunks := c.described[name]
	if r.URL.Query().Has("chunks") {
		c.asked++
	} else if ok {
		c.sent[name]++
	}
	c.mu.Unlock()
	switch {
	case down:
		refuse(w, http.StatusServiceUnavailable)
		return
	case !ok:
		refuse(w, http.StatusNotFound)
		return
	case r.URL.Query().Has("chunks"):
		send(w, chunks)
		return
	}
	w.Header().Set("ETag", `"`+chunks.SHA256+`"`)
	w = &tallied{w, &c.mu, &c.bytes}
	if through != nil {
		through(name, w, r, body)
		return
	}
	var in io.ReadSeeker = bytes.NewReader(body)
	if gate != nil {
		in = &gated{ReadSeeker: in, gate: gate, ctx: r.Context()}
	}
	http.ServeContent(w, r, "", time.Time{}, in)
}

// tallied counts the bytes of bodies. Who has all that he wants hangs up, and the last Write may end in an error although
// its bytes have arrived: what is counted is what was to be sent.
type tallied struct {
	http.ResponseWriter
	mu *sync.Mutex
	n  *int64
}

func (w *tallied) Write(b []byte) (int, error) {
	w.mu.Lock()
	*w.n += int64(len(b))
	w.mu.Unlock()
	return w.ResponseWriter.Write(b)
}

func (w *tallied) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// gated reads a chunk and what may be left of it in a buffer on the way, and the rest when its gate is open.
type gated struct {
	io.ReadSeeker
	gate chan struct{}
	ctx  context.Context
	read int
}

func (g *gated) Read(p []byte) (int, error) {
	const free = cache.ChunkSize + 64<<10
	if g.read < free {
		n, err := g.ReadSeeker.Read(p[:min(len(p), free-g.read)])
		g.read += n
		return n, err
	}
	select {
	case <-g.gate:
		return g.ReadSeeker.Read(p)
	case <-g.ctx.Done():
		return 0, g.ctx.Err()
	}
}

func describe(name string, body []byte) wire.Chunks {
	obj, err := cache.Describe(bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	category, path, _ := bytes.Cut([]byte(name), []byte("/"))
	c := wire.Chunks{ChunkSize: wire.ChunkSize, Chunks: []string{}, File: wire.File{
		Category: string(category), Path: string(path), Size: obj.Size, SHA256: obj.SHA256.String(), Modified: time.Unix(1767323045, 0),
	}}
	for _, d := range obj.Chunks {
		c.Chunks = append(c.Chunks, hex.EncodeToString(d[:]))
	}
	return c
}

// put stores a file of n bytes and returns it.
func (c *countingCentral) put(name string, n int) []byte {
	body := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(len(name))}).Read(body)
	c.set(name, body)
	return body
}

// set stores a file.
func (c *countingCentral) set(name string, body []byte) {
	described := describe(name, body)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.files[name], c.described[name] = body, described
}

func (c *countingCentral) contentRequests(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent[name]
}

// config is that of an agent of its own, with ports that are free. central may be nil: the agent is not enrolled.
func config(t testing.TB, central *countingCentral) Config {
	t.Helper()
	dir, err := os.MkdirTemp("", "agent") // t.TempDir is too long for a socket's name
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	cfg := Default()
	cfg.DataDir = filepath.Join(dir, "data")
	cfg.Listen = Listen{HTTP: "127.0.0.1:0", TFTP: "127.0.0.1:0", Admin: filepath.Join(dir, "admin.sock"), Metrics: "127.0.0.1:0"}
	cfg.Cache.MinFreeGB = 0
	if central == nil {
		return cfg
	}
	text, err := json.Marshal(uplink.Identity{
		CentralURL: central.URL, SiteID: "site-1", SiteName: "Oslo", Secret: "secret",
		CA: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: central.Certificate().Raw})),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(cfg.StateDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(cfg.StateDir(), "identity.json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// appliance is an agent that runs.
type appliance struct {
	*Agent
	at    map[string]string // its addresses, as --ready-fd told them
	stop  context.CancelFunc
	ended chan error
}

func start(t *testing.T, cfg Config) *appliance {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	agent, err := New(t.Context(), cfg, "test", log)
	if err != nil {
		t.Fatal(err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	ctx, stop := context.WithCancel(context.Background())
	a := &appliance{Agent: agent, stop: stop, ended: make(chan error, 1)}
	go func() { a.ended <- agent.Run(ctx, write) }()
	t.Cleanup(func() { a.end(t) })
	text, err := io.ReadAll(read)
	if err == nil {
		err = json.Unmarshal(text, &a.at)
	}
	if err != nil || !bytes.HasSuffix(text, []byte("}\n")) {
		t.Fatalf("--ready-fd told %q, %v", text, err)
	}
	return a
}

// end stops the agent, which must succeed. It may be called again.
func (a *appliance) end(t *testing.T) {
	t.Helper()
	a.stop()
	select {
	case err := <-a.ended:
		if err != nil {
			t.Errorf("run: %v", err)
		}
		a.ended <- nil
	case <-time.After(patience):
		t.Fatal("the agent does not end")
	}
}

// get asks the agent by HTTP.
func (a *appliance) get(path string) (*http.Response, []byte, error) { return get(a.at["http"], path) }

func get(address, path string) (*http.Response, []byte, error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	res, err := client.Get("http://" + address + path)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res, body, err
}

// fetch asks the agent by TFTP.
func (a *appliance) fetch(name string) ([]byte, error) {
	client, err := pin.NewClient(a.at["tftp"])
	if err != nil {
		return nil, err
	}
	client.SetBlockSize(1428)
	client.SetTimeout(patience)
	transfer, err := client.Receive(name, "octet")
	if err != nil {
		return nil, err
	}
	var body bytes.Buffer
	_, err = transfer.WriteTo(&body)
	return body.Bytes(), err
}

// eventually waits for what happens by itself.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	await(t, what, 5*time.Millisecond, done)
}

// await is eventually, looking after each pause.
func await(t *testing.T, what string, pause time.Duration, done func() bool) {
	t.Helper()
	for began := time.Now(); !done(); time.Sleep(pause) {
		if time.Since(began) > patience {
			t.Fatalf("never: %s", what)
		}
	}
}
