package agent

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pureboot/pureboot/agent/admin"
	"github.com/pureboot/pureboot/central/wire"
)

// says answers a heartbeat with this text as JSON.
func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, text)
	}
}

// told is what the operator is shown.
func (a *appliance) told(t *testing.T) admin.Status {
	t.Helper()
	return a.status(t.Context())
}

// serves has machines boot, by HTTP and TFTP.
func (a *appliance) serves(t *testing.T, body []byte) {
	t.Helper()
	a.wantFile(t, "bootloaders/loader", body)
	if got, err := a.fetch("bootloaders/loader"); err != nil || !bytes.Equal(got, body) {
		t.Errorf("by TFTP %d bytes of %d, %v", len(got), len(body), err)
	}
	res, script, err := a.get("/boot/" + mac)
	if err != nil || res.StatusCode != http.StatusOK || !bytes.HasPrefix(script, []byte("#!ipxe")) {
		t.Errorf("a script: %.100s, %v", script, err)
	}
}

// kept is what an agent has on the disk beside what machines asked for.
func kept(t *testing.T, cfg Config) map[string]string {
	t.Helper()
	files := map[string]string{}
	entries, err := os.ReadDir(cfg.StateDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".json") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(cfg.StateDir(), e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = string(text)
	}
	return files
}

// TestACentralThatAnswersNonsense: the status says what is wrong, nothing of it is kept, machines boot, also once
// central is gone, and a good answer ends the trouble.
func TestACentralThatAnswersNonsense(t *testing.T) {
	bomb := encoded(t, bytes.Repeat([]byte(" "), 64<<20), 1<<20)
	for name, tt := range map[string]struct {
		answer  http.HandlerFunc
		trouble string
	}{
		"no JSON":     {says(`{"next_in":`), "unexpected EOF"},
		"a page":      {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, "not JSON"},
		"wrong types": {says(`{"next_in":"soon","commands":{"a":1}}`), "cannot unmarshal"},
		"huge":        {says(strings.Repeat(" ", 5<<20) + "{}"), "longer than"},
		"a bomb": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "zstd")
			says(string(bomb))(w, r)
		}, "longer than"},
		"cut off": {func(w http.ResponseWriter, r *http.Request) {
			says(`{"next_in":60,"node_epoch":{"stream":"evil","n":5},`)(w, r)
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, "decode central's answer"},
		"no epochs": {says(`{"node_epoch":{"stream":"a:b","n":-5},"content_epoch":{"stream":"evil","n":-1},"all_nodes":true}`), "content_epoch"},
		"moved": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/elsewhere", http.StatusTemporaryRedirect)
		}, "307"},
		"a long no": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", wire.MediaTypeProblem)
			w.WriteHeader(http.StatusConflict)
			fmt.Fprintf(w, `{"status":200,"detail":"no%s"}`, strings.Repeat("!", 60_000))
		}, "central answered 409: no!!"},
		"no settings": {says(`{"next_in":1,"config":{"generation":"evil","cache_policy":"all","cache_max_size_gb":-5,"sync_schedule":"daily",` +
			`"cache_patterns":["../../**","[` + strings.Repeat("x", 2<<20) + `"],"heartbeat_seconds":-1,"autonomy_level":"god"}}`), "settings of generation evil"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := startCentral(t)
			c.put("bootloaders/loader", 100_000)
			c.nodes[mac] = wire.Boot{Node: wire.Node{ID: "n1", MACAddress: mac, State: "active"}}
			c.says = tt.answer
			cfg := config(t, c)
			before := kept(t, cfg)
			a := start(t, cfg)
			eventually(t, "trouble with central", func() bool { return a.told(t).Trouble != nil })
			s := a.told(t)
			if !strings.Contains(s.Trouble.Error, tt.trouble) || len(s.Trouble.Error) > 1100 || time.Since(s.Trouble.Since) > time.Minute {
				t.Errorf("the status tells of %.2000s, since %v", s.Trouble.Error, s.Trouble.Since)
			}
			if s.ContentEpoch != (wire.Epoch{}) || s.NodeEpoch != (wire.Epoch{}) || s.Config.Generation != "" {
				t.Errorf("something of it is believed: %+v, %+v", s.Heartbeat, s.Config)
			}
			after := kept(t, cfg)
			for name, text := range after {
				if before[name] != text && (name != "config.json" || tt.trouble != "settings of generation evil") {
					t.Errorf("%s is written: %.1000s", name, text)
				}
			}
			if names := a.has(); len(names) > 0 {
				t.Errorf("the cache has %v", names)
			}
			a.serves(t, c.files["bootloaders/loader"])

			c.mu.Lock()
			c.says = nil
			seen := len(c.heartbeats)
			last := c.heartbeats[seen-1]
			c.mu.Unlock()
			if len(last.Config.Reason) > 5000 {
				t.Errorf("a heartbeat that gives a reason of %d bytes", len(last.Config.Reason))
			}
			if name == "cut off" { // which takes the pause after a failure
				eventually(t, "the end of it", func() bool { return a.told(t).Trouble == nil })
			}
			c.Close()
			a.serves(t, c.files["bootloaders/loader"])
		})
	}
}

// TestOddAnswersThatDoNoHarm are followed as far as they make sense.
func TestOddAnswersThatDoNoHarm(t *testing.T) {
	for name, answer := range map[string]string{
		"no pause":               `{"next_in":0}`,
		"a negative pause":       `{"next_in":-2147483648,"jitter":-5}`,
		"a pause without end":    `{"next_in":9000000000000000000,"jitter":9000000000000000000}`,
		"years ago":              `{"server_time":"0001-01-01T00:00:00Z"}`,
		"far ahead":              `{"server_time":"9999-12-31T23:59:59Z"}`,
		"before its own release": `{"server_time":"1970-01-01T00:00:00Z"}`,
		"what nobody knows":      `{"protocol_version":99,"capabilities":["x"],"next_in":1,"oracle":{"a":[1]}}`,
		"nodes of nobody":        `{"all_nodes":false,"changed_nodes":["../../x","","n1","\u0000"],"node_epoch":{"stream":"other","n":9223372036854775807}}`,
		"nothing":                `null`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := startCentral(t)
			c.put("bootloaders/loader", 100_000)
			c.nodes[mac] = wire.Boot{Node: wire.Node{ID: "n1", MACAddress: mac, State: "active"}}
			c.says = says(answer)
			a := start(t, config(t, c))
			eventually(t, "a heartbeat", func() bool {
				c.mu.Lock()
				defer c.mu.Unlock()
				return len(c.heartbeats) > 0
			})
			a.beat(t) // another one can follow
			if s := a.told(t); s.Trouble != nil || !s.Online || s.Refused != nil {
				t.Errorf("the status tells of %+v", s.Trouble)
			}
			a.serves(t, c.files["bootloaders/loader"])
		})
	}
}

// TestACentralOfAnotherCA is told nothing, and believed nothing.
func TestACentralOfAnotherCA(t *testing.T) {
	c := startCentral(t)
	c.put("bootloaders/loader", 100_000)
	c.nodes[mac] = wire.Boot{Node: wire.Node{ID: "n1", MACAddress: mac, State: "active"}}
	cfg := config(t, c)
	first := start(t, cfg)
	first.serves(t, c.files["bootloaders/loader"])
	first.end(t)
	c.mu.Lock()
	asked, heard := c.sent["bootloaders/loader"], len(c.heartbeats)
	c.mu.Unlock()

	identity := filepath.Join(cfg.StateDir(), "identity.json")
	text, err := os.ReadFile(identity)
	if err != nil {
		t.Fatal(err)
	}
	pemOf := func(raw []byte) []byte {
		return bytes.ReplaceAll(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), []byte("\n"), []byte(`\n`))
	}
	other := bytes.Replace(text, pemOf(c.Certificate().Raw), pemOf(newAuthority(t).cert.Raw), 1)
	if bytes.Equal(other, text) {
		t.Fatal("the CA is not where it was")
	}
	if err := os.WriteFile(identity, other, 0o600); err != nil {
		t.Fatal(err)
	}
	a := start(t, cfg)
	eventually(t, "trouble with central", func() bool { return a.told(t).Trouble != nil })
	if s := a.told(t); !strings.Contains(s.Trouble.Error, "unknown authority") {
		t.Errorf("the status tells of %s", s.Trouble.Error)
	}
	a.serves(t, c.files["bootloaders/loader"])
	if names := a.has(); !slices.Equal(names, []string{"bootloaders/loader"}) {
		t.Errorf("the cache has %v", names)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sent["bootloaders/loader"] != asked || len(c.heartbeats) != heard {
		t.Error("it was told something")
	}
}
