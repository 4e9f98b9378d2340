package gateway

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/agent/content"
	"github.com/pureboot/pureboot/agent/node"
	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// central is central in memory, as far as a site's machines notice it. It counts what it is asked.
type central struct {
	mu       sync.Mutex
	nodes    map[string]wire.Boot // by id
	events   map[string]bool      // by id of node and event
	files    map[string][]byte
	manifest *wire.Manifest // nil: there is none
	cut      chan struct{}  // if not nil, content after the first chunk is refused when it is closed
	down     error          // what everything is answered with
	hanging  bool           // takes every question and answers none
	full     error          // what a registration is answered with
	pause    time.Duration  // before each chunk's worth of content

	sent       int // content requests
	registered []wire.Registration
}

var errDead = errors.New("connect: no route to host")

func newCentral() *central {
	return &central{nodes: map[string]wire.Boot{}, events: map[string]bool{}, files: map[string][]byte{}}
}

// begin waits or fails as the central does that a test wants.
func (c *central) begin(ctx context.Context) error {
	c.mu.Lock()
	hanging, down := c.hanging, c.down
	c.mu.Unlock()
	if hanging {
		<-ctx.Done()
		return ctx.Err()
	}
	return down
}

func (c *central) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

func (c *central) BootByMAC(ctx context.Context, mac, uuid string) (wire.Boot, error) {
	if err := c.begin(ctx); err != nil {
		return wire.Boot{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.nodes {
		if b.Node.MACAddress == mac || uuid != "" && b.Node.SystemUUID == uuid {
			return b, nil
		}
	}
	return wire.Boot{}, &wire.Refusal{Status: 404}
}

func (c *central) BootByID(ctx context.Context, id string) (wire.Boot, error) {
	if err := c.begin(ctx); err != nil {
		return wire.Boot{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if b, ok := c.nodes[id]; ok {
		return b, nil
	}
	return wire.Boot{}, &wire.Refusal{Status: 404}
}

func (c *central) Register(ctx context.Context, r wire.Registration) (wire.Node, error) {
	if err := c.begin(ctx); err != nil {
		return wire.Node{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.full != nil {
		return wire.Node{}, c.full
	}
	c.registered = append(c.registered, r)
	for _, b := range c.nodes {
		if b.Node.MACAddress == r.MACAddress {
			return b.Node, nil
		}
	}
	n := wire.Node{
		ID: uuid.NewString(), MACAddress: r.MACAddress, State: "discovered", Vendor: r.Vendor, Model: r.Model,
		SerialNumber: r.SerialNumber, SystemUUID: r.SystemUUID, IPAddress: r.IPAddress, Arch: r.Arch, BootMode: r.BootMode,
		Hostname: r.Hostname,
	}
	c.nodes[n.ID] = wire.Boot{Node: n}
	return n, nil
}

func (c *central) ChangeState(ctx context.Context, id string, change wire.StateChange) (wire.Node, error) {
	if err := c.begin(ctx); err != nil {
		return wire.Node{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	b, ok := c.nodes[id]
	if !ok {
		return wire.Node{}, &wire.Refusal{Status: 404}
	}
	next, err := (&node.Record{Boot: b}).Install().To(lifecycle.State(change.State), change.Force, time.Now())
	if err != nil {
		return wire.Node{}, &wire.Refusal{Status: 409, Problem: wire.Problem{Detail: err.Error()}}
	}
	b.Node = moved(b.Node, next)
	c.nodes[id] = b
	return b.Node, nil
}

func (c *central) Event(ctx context.Context, id string, e wire.Event) (wire.Node, error) {
	if err := c.begin(ctx); err != nil {
		return wire.Node{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	b, ok := c.nodes[id]
	if !ok {
		return wire.Node{}, &wire.Refusal{Status: 404}
	}
	if !c.events[id+e.EventID] {
		c.events[id+e.EventID] = true
		next, _ := (&node.Record{Boot: b}).Install().On(lifecycle.Event{
			Type: lifecycle.EventType(e.EventType), Status: lifecycle.EventStatus(e.Status), Message: e.Message,
		}, time.Now())
		b.Node = moved(b.Node, next)
		c.nodes[id] = b
	}
	return b.Node, nil
}

func moved(n wire.Node, in lifecycle.Install) wire.Node {
	n.State, n.InstallSeq, n.InstallAttempts, n.LastInstallError = string(in.State), in.Seq, in.Attempts, in.LastError
	n.InstallStartedAt = nil
	if !in.StartedAt.IsZero() {
		n.InstallStartedAt = &in.StartedAt
	}
	n.Version++
	return n
}

func (c *central) Online() bool { return true }

func (c *central) Chunks(ctx context.Context, category, path string) (wire.Chunks, error) {
	if err := c.begin(ctx); err != nil {
		return wire.Chunks{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	body, ok := c.files[category+"/"+path]
	if !ok {
		return wire.Chunks{}, &wire.Refusal{Status: 404}
	}
	obj, err := cache.Describe(bytes.NewReader(body))
	if err != nil {
		return wire.Chunks{}, err
	}
	chunks := wire.Chunks{ChunkSize: wire.ChunkSize, File: wire.File{
		Category: category, Path: path, Size: obj.Size, SHA256: obj.SHA256.String(),
		Modified: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}}
	for _, d := range obj.Chunks {
		chunks.Chunks = append(chunks.Chunks, d.String())
	}
	return chunks, nil
}

func (c *central) ReadContent(ctx context.Context, category, path, _ string, offset, _ int64) (io.ReadCloser, error) {
	if err := c.begin(ctx); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent++
	body := c.files[category+"/"+path]
	if c.pause > 0 {
		return io.NopCloser(&slowly{bytes.NewReader(body[offset:]), c.pause}), nil
	}
	switch {
	case c.cut == nil:
		return io.NopCloser(bytes.NewReader(body[offset:])), nil
	case offset > 0:
		return nil, &wire.Refusal{Status: 412}
	}
	first := io.LimitReader(bytes.NewReader(body), cache.ChunkSize)
	return io.NopCloser(io.MultiReader(first, waiting(c.cut))), nil
}

// waiting is a body that ends when its channel is closed.
type waiting chan struct{}

func (w waiting) Read([]byte) (int, error) {
	<-w
	return 0, io.ErrUnexpectedEOF
}

// slowly brings a chunk in four parts, with a pause that they share before it: for a bubble, where a pause takes no time.
type slowly struct {
	*bytes.Reader
	pause time.Duration
}

func (s *slowly) Read(p []byte) (int, error) {
	time.Sleep(s.pause / 4) // within what a source may be silent
	return s.Reader.Read(p[:min(len(p), cache.ChunkSize/4)])
}

func (c *central) Manifest(context.Context, wire.ManifestQuery) (wire.Manifest, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.manifest == nil {
		return wire.Manifest{}, errDead
	}
	return *c.manifest, nil
}

func (c *central) node(id string) wire.Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodes[id].Node
}

// add makes a node that is to be installed, unless state says otherwise.
func (c *central) add(mac, state string) wire.Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := wire.Boot{
		Node: wire.Node{
			ID: uuid.NewString(), MACAddress: mac, Hostname: "web-1", State: state, InstallSeq: 1, Version: 1,
			Params: map[string]string{"root_password": "hunter2"}, ExtraCmdline: "secret=1", Tags: []string{"rack-1"},
		},
		Workflow: &wire.Workflow{
			ID: uuid.NewString(), Name: "debian", InstallMethod: "kernel", Kernel: "images/debian-12/linux",
			Initrd: []string{"images/debian-12/initrd.gz"}, Cmdline: "url=${render_url} event=${event_url}",
			Template: "templates/preseed.cfg",
		},
		Params: map[string]string{"root_password": "hunter2"},
	}
	c.nodes[b.Node.ID] = b
	return b.Node
}

func (c *central) file(name string, body []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.files[name] = body
	return body
}

func (c *central) contentRequests() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent
}

// site is the gateway of a site with real parts around it.
type site struct {
	*Gateway
	central *central
	cache   *cache.Store
	server  *httptest.Server // nil in a bubble
	log     *journal
	dir     string
}

// journal keeps what is logged.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// openSite makes a gateway without a listener.
func openSite(t testing.TB, c *central) *site {
	t.Helper()
	return openSiteWith(t, c, slog.LevelDebug, 0)
}

// openSiteWith says what of the log is kept, and how many bytes of small files in memory.
func openSiteWith(t testing.TB, c *central, level slog.Level, hot int64) *site {
	t.Helper()
	s := &site{central: c, log: new(journal), dir: t.TempDir()}
	log := slog.New(slog.NewJSONHandler(s.log, &slog.HandlerOptions{Level: level}))
	var err error
	if s.cache, err = cache.Open(cache.Options{Dir: s.dir + "/cache", HotBytes: hot, Rank: content.Rank, Tries: 1, Log: log}); err != nil {
		t.Fatal(err)
	}
	nodes, err := node.Open(context.Background(), node.Options{Dir: s.dir + "/state", Central: c, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	files, err := content.Open(content.Options{Cache: s.cache, Central: c, Dir: s.dir + "/state", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	s.Gateway = New(Options{Nodes: nodes, Files: files, Key: node.Key{1, 2, 3}, Enrolled: true, Traces: new(node.Traces), Log: log})
	t.Cleanup(func() {
		files.Close()
		if err := errors.Join(nodes.Close(), s.cache.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// startSite makes a gateway that listens.
func startSite(t testing.TB, c *central) *site {
	t.Helper()
	s := openSite(t, c)
	s.start(t)
	return s
}

func (s *site) start(t testing.TB) {
	t.Helper()
	s.server = httptest.NewUnstartedServer(s.Gateway)
	s.server.Listener = Listen(s.server.Listener)
	s.server.Config.ConnContext = ConnContext
	s.server.Config.DisableGeneralOptionsHandler = true
	s.server.Start()
	t.Cleanup(func() {
		s.server.Client().CloseIdleConnections()
		s.server.Close()
	})
}

// idle waits until no request is being answered: a client has its bytes before the handler has returned.
func (s *site) idle(t testing.TB) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); s.Active() > 0; <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d requests never end", s.Active())
		}
	}
}

// reply is an answer, read to its end.
type reply struct {
	*http.Response
	body string
	err  error // of reading the body
}

// do sends a request. headers are names and values in turn.
func (s *site) do(t testing.TB, method, path, body string, headers ...string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, s.server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	client := *s.server.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return read(res)
}

func (s *site) get(t testing.TB, path string, headers ...string) reply {
	t.Helper()
	return s.do(t, http.MethodGet, path, "", headers...)
}

func read(res *http.Response) reply {
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return reply{res, string(text), err}
}

// raw sends bytes that no HTTP client would, and reads one answer.
func (s *site) raw(t testing.TB, request string) reply {
	t.Helper()
	conn, err := net.Dial("tcp", s.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	return read(res)
}

// problem returns the problem that the answer must be.
func (r reply) problem(t testing.TB, status int) wire.Problem {
	t.Helper()
	var p wire.Problem
	if err := json.Unmarshal([]byte(r.body), &p); err != nil {
		t.Errorf("no problem, %v: %q", err, r.body)
	}
	if r.StatusCode != status || p.Status != status || r.Header.Get("Content-Type") != wire.MediaTypeProblem || p.Title == "" {
		t.Errorf("answered %d, %q: %s; want the problem %d", r.StatusCode, r.Header.Get("Content-Type"), r.body, status)
	}
	if r.Header.Get("Cache-Status") == "" || r.Header.Get(wire.HeaderRequestID) == "" {
		t.Errorf("a problem without Cache-Status or X-Request-Id: %v", r.Header)
	}
	return p
}

// fields are the places that the problem names.
func fields(p wire.Problem) []string {
	var at []string
	for _, e := range p.Errors {
		at = append(at, e.Location)
	}
	return at
}

// script returns the script that the answer must be.
func (r reply) script(t testing.TB) string {
	t.Helper()
	if r.StatusCode != http.StatusOK || !strings.HasPrefix(r.body, "#!ipxe\n") || r.err != nil {
		t.Errorf("answered %d, %v: %q; want a script", r.StatusCode, r.err, r.body)
	}
	if r.ContentLength != int64(len(r.body)) {
		t.Errorf("Content-Length is %d for %d bytes", r.ContentLength, len(r.body))
	}
	if r.Header.Get("Cache-Status") == "" || r.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("a script with the headers %v", r.Header)
	}
	return r.body
}

// tokenOf returns the node's token, as its script holds it.
func (s *site) tokenOf(t testing.TB, n wire.Node) string {
	t.Helper()
	token, err := s.Key.Token(&n)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// recorded answers a request without a connection.
func (s *site) recorded(r *http.Request) *httptest.ResponseRecorder {
	local := net.TCPAddrFromAddrPort(netip.MustParseAddrPort("10.0.0.1:8080"))
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(local))))
	return w
}

const mac = "52:54:00:12:34:56"

var discard = slog.New(slog.DiscardHandler)
