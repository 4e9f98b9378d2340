package admin

import (
	"context"
	"encoding/json"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/pureboot/pureboot/central/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// socketPath is short enough for a socket, whatever the test's name.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "admin")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "run", "admin.sock")
}

func listen(t *testing.T, path string) net.Listener {
	t.Helper()
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestTheStatusIsReadThroughTheSocket(t *testing.T) {
	path := socketPath(t)
	want := Status{
		Version: "1.2", CentralURL: "https://central:8443", SiteID: "id", SiteName: "Oslo", Enrolled: true, Online: true,
		Addresses: map[string]string{"http": "127.0.0.1:8080"}, Waiting: 3,
		Heartbeat: wire.Heartbeat{
			Hello: wire.Hello{ProtocolVersion: 1, Capabilities: []string{}, AgentVersion: "1.2"}, UptimeSeconds: 60,
			Services: map[string]string{"http": "running"}, NodeCacheEntries: 7, ContentEpoch: wire.Epoch{Stream: "s", N: 9},
		},
	}
	asked := 0
	server := &http.Server{Handler: statusOf(t, func(context.Context) Status { asked++; return want })}
	l := listen(t, path)
	served := make(chan error)
	go func() { served <- server.Serve(l) }()
	for range 2 {
		got, err := ReadStatus(t.Context(), path)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("read %+v, %v; want %+v", got, err, want)
		}
	}
	if asked != 2 {
		t.Errorf("the agent was asked %d times, want each time anew", asked)
	}
	server.Close()
	<-served
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is left behind: %v", err)
	}
	if _, err := ReadStatus(t.Context(), path); err == nil || !strings.Contains(err.Error(), "is it running?") {
		t.Errorf("without an agent: %v", err)
	}
}

func TestTheStatusIsFlat(t *testing.T) {
	w := httptest.NewRecorder()
	statusOf(t, func(context.Context) Status { return Status{Version: "1"} }).ServeHTTP(w, httptest.NewRequest("GET", PathStatus, nil))
	var fields map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &fields); err != nil || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%v: %s", err, w.Body)
	}
	for _, name := range []string{"version", "enrolled", "online", "addresses", "waiting_reports", "uptime_seconds", "cache_entries", "content_epoch"} {
		if _, ok := fields[name]; !ok {
			t.Errorf("no %s in %s", name, w.Body)
		}
	}
}

func TestOnlyTheUserAndTheGroupReachTheSocket(t *testing.T) {
	path := socketPath(t)
	listen(t, path)
	for name, want := range map[string]fs.FileMode{path: 0o660 | fs.ModeSocket, filepath.Dir(path): 0o750 | fs.ModeDir} {
		if info, err := os.Lstat(name); err != nil || info.Mode() != want {
			t.Errorf("%s is %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
}

func TestTheSocketOfADeadAgentIsReplaced(t *testing.T) {
	path := socketPath(t)
	dead := listen(t, path).(*net.UnixListener)
	dead.SetUnlinkOnClose(false)
	dead.Close()
	if !isSocket(path) {
		t.Fatal("no socket is left behind")
	}
	listen(t, path)
}

func TestTheSocketOfALivingAgentIsLeftAlone(t *testing.T) {
	path := socketPath(t)
	l := listen(t, path)
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a second agent: %v", err)
	}
	conn, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatalf("the first agent is no longer reached: %v", err)
	}
	conn.Close()
}

func TestAFileThatIsNoSocketIsLeftAlone(t *testing.T) {
	path := socketPath(t)
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); err == nil {
		t.Error("listens in place of a file")
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "precious" {
		t.Errorf("the file became %q, %v", text, err)
	}
}

func TestASocketThatSomethingElseServes(t *testing.T) {
	for _, answer := range []http.HandlerFunc{
		http.NotFound,
		func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("hello")) },
	} {
		path := socketPath(t)
		server := &http.Server{Handler: answer}
		l := listen(t, path)
		served := make(chan error)
		go func() { served <- server.Serve(l) }()
		if s, err := ReadStatus(t.Context(), path); err == nil {
			t.Errorf("read %+v", s)
		}
		server.Close()
		<-served
	}
}
