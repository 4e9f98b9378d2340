package central

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func config(t *testing.T) Config {
	return Config{DataDir: t.TempDir(), Listen: "127.0.0.1:0"}
}

// serving is a central that runs, and a client that trusts it.
type serving struct {
	*Central
	url, token string
	client     *http.Client
	stop       func() error // ends it and returns what Run did; may be called once
}

func serve(t *testing.T, cfg Config) *serving {
	t.Helper()
	var token string
	_, err := Init(t.Context(), InitOptions{Config: cfg, Log: quiet(), NewToken: true, Keep: func(text string) error {
		token = text
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, cfg)
	s.token = token
	return s
}

// start is serve of a central that was prepared, without a token.
func start(t *testing.T, cfg Config) *serving {
	t.Helper()
	s := &serving{}
	var err error
	ready := make(chan map[string]string, 1)
	s.Central, err = New(t.Context(), Options{Config: cfg, Log: quiet(), Version: "test", Ready: func(at map[string]string) error {
		ready <- at
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	ended := false
	s.stop = func() error {
		if ended {
			return nil
		}
		ended = true
		cancel()
		return <-done
	}
	transport := &http.Transport{TLSClientConfig: trusting(t, filepath.Join(cfg.DataDir, "ca.crt")), ForceAttemptHTTP2: true}
	s.client = &http.Client{Transport: transport, Timeout: time.Minute}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	s.url = "https://" + (<-ready)["https"]
	return s
}

func (s *serving) do(t *testing.T, method, path string, body io.Reader, header ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func read(t *testing.T, res *http.Response, status int) string {
	t.Helper()
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != status {
		t.Fatalf("%s: %v, %s", res.Status, err, text)
	}
	return string(text)
}

func TestTheWholeOverHTTPS(t *testing.T) {
	s := serve(t, config(t))
	if res := s.do(t, "GET", "/readyz", nil); res.ProtoMajor != 2 || res.StatusCode != 200 {
		t.Errorf("%s %s", res.Proto, res.Status)
		res.Body.Close()
	} else {
		read(t, res, 200)
	}
	site := s.do(t, "POST", "/api/v1/sites", strings.NewReader(`{"name":"berlin"}`), "Content-Type", "application/json")
	var made struct{ ID string }
	if err := json.Unmarshal([]byte(read(t, site, 201)), &made); err != nil || made.ID == "" {
		t.Fatal(made, err)
	}
	data := strings.Repeat("0123456789", wire.ChunkSize/5)
	read(t, s.do(t, "PUT", "/api/v1/content/images/x/linux", strings.NewReader(data)), 201)
	part := s.do(t, "GET", "/api/v1/content/images/x/linux", nil, "Range", "bytes=300001-300010")
	if got := read(t, part, 206); got != "1234567890" {
		t.Errorf("the range is %q", got)
	}

	// A join token pins the CA that the handshake shows.
	token := s.do(t, "POST", "/api/v1/sites/"+made.ID+"/agent-token", nil)
	chain := token.TLS.PeerCertificates
	var join wire.JoinToken
	if err := json.Unmarshal([]byte(read(t, token, 201)), &join); err != nil {
		t.Fatal(err)
	}
	pin := SPKIHash(chain[len(chain)-1])
	if want := hex.EncodeToString(pin[:]); !strings.Contains(join.Token, want) {
		t.Errorf("the token %s does not pin %s", join.Token, want)
	}
}

func TestAStopLetsADownloadFinish(t *testing.T) {
	s := serve(t, config(t))
	data := strings.Repeat("x", 8<<20) // more than the buffers on the way hold
	read(t, s.do(t, "PUT", "/api/v1/content/images/big", strings.NewReader(data)), 201)
	res := s.do(t, "GET", "/api/v1/content/images/big", nil)
	defer res.Body.Close()
	if _, err := io.ReadFull(res.Body, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.stop() }()
	// The listener is closed first: from then on central is stopping.
	for deadline := time.Now().Add(10 * time.Second); ; {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "https://"))
		if err != nil {
			break
		}
		conn.Close()
		if time.Now().After(deadline) {
			t.Fatal("it goes on listening")
		}
	}
	if n, err := io.Copy(io.Discard, res.Body); err != nil || n != int64(len(data)-1) {
		t.Errorf("the download ended after %d bytes: %v", n, err)
	}
	s.client.CloseIdleConnections()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestAPortThatIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cfg := config(t)
	cfg.Listen = taken.Addr().String()
	if _, err := New(t.Context(), Options{Config: cfg, Log: quiet()}); err == nil || !strings.Contains(err.Error(), cfg.Listen) {
		t.Errorf("the error is %v", err)
	}
	// It let go of the database.
	cfg.Listen = "127.0.0.1:0"
	serve(t, cfg)
}

func TestTwoCentralsInOneFolder(t *testing.T) {
	cfg := config(t)
	s := serve(t, cfg)
	if _, err := New(t.Context(), Options{Config: cfg, Log: quiet()}); !errors.Is(err, store.ErrInUse) {
		t.Errorf("the error is %v", err)
	}
	read(t, s.do(t, "GET", "/healthz", nil), 200)
}

func TestWhoCannotTellThatItServesEnds(t *testing.T) {
	cfg := config(t)
	bad := errors.New("nobody listens")
	c, err := New(t.Context(), Options{Config: cfg, Log: quiet(), Ready: func(map[string]string) error { return bad }})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Run(t.Context()); !errors.Is(err, bad) {
		t.Errorf("the error is %v", err)
	}
}
