package agent

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pureboot/pureboot/central/wire"
)

// skewed is the central as a peer of another version has it: what goes each way is changed in between.
func skewed(t *testing.T, c *realCentral, asks, answers func(path string, body map[string]any)) *realCentral {
	t.Helper()
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		in, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		path := r.URL.Path
		r.Body, r.RequestURI = io.NopCloser(bytes.NewReader(change(path, in, asks))), ""
		r.ContentLength = -1
		r.Header.Del("Accept-Encoding") // which an older one would not know, and nobody could change
		r.URL.Scheme, r.URL.Host = "https", c.Listener.Addr().String()
		res, err := c.Client().Transport.RoundTrip(r)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer res.Body.Close()
		out, err := io.ReadAll(res.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if strings.HasSuffix(res.Header.Get("Content-Type"), "json") {
			out = change(path, out, answers)
			res.Header.Del("Content-Length")
		}
		maps.Copy(w.Header(), res.Header)
		w.WriteHeader(res.StatusCode)
		_, _ = w.Write(out)
	}))
	front.EnableHTTP2 = true
	front.StartTLS()
	t.Cleanup(front.Close)
	return &realCentral{Server: front, operator: operator{site: c.site}, secret: c.secret}
}

func change(path string, text []byte, how func(string, map[string]any)) []byte {
	var body map[string]any
	if how == nil || json.Unmarshal(text, &body) != nil {
		return text
	}
	how(path, body)
	if text, err := json.Marshal(body); err == nil {
		return text
	}
	return text
}

// only keeps the fields that the first version had.
func only(of map[string][]string) func(string, map[string]any) {
	return func(path string, body map[string]any) {
		if keep := of[path]; keep != nil {
			maps.DeleteFunc(body, func(name string, _ any) bool { return !slices.Contains(keep, name) })
		}
	}
}

// more adds what no version has to every object, and a version that is not there yet to the message.
func more(_ string, body map[string]any) {
	addTo(body)
	body["protocol_version"], body["capabilities"] = 99, []string{"time-travel"}
}

func addTo(v any) {
	switch v := v.(type) {
	case map[string]any:
		for name, field := range v {
			switch name {
			case "services", "params", "metadata": // whose names are data
			default:
				addTo(field)
			}
		}
		v["x_unheard_of"] = map[string]any{"deep": []any{1, "two", nil}}
	case []any:
		for _, item := range v {
			addTo(item)
		}
	}
}

// The fields of the first version of the protocol.
var (
	firstAsks = map[string][]string{
		wire.PathHeartbeat: {"protocol_version", "agent_version", "boot_id", "seq", "uptime_seconds", "content_epoch", "node_epoch"},
	}
	firstAnswers = map[string][]string{
		wire.PathHeartbeat: {"protocol_version", "server_time", "next_in", "content_epoch", "node_epoch", "changed_nodes", "all_nodes"},
	}
)

// TestPeersOfDifferentVersionsBootMachines, whichever is the newer: fleets are upgraded one site at a time.
func TestPeersOfDifferentVersionsBootMachines(t *testing.T) {
	for name, skew := range map[string]struct {
		asks, answers func(string, map[string]any)
		version       float64 // that central has of the agent
	}{
		"the same":      {nil, nil, wire.ProtocolVersion},
		"older agent":   {only(firstAsks), nil, 1},
		"older central": {nil, only(firstAnswers), wire.ProtocolVersion},
		"newer agent":   {more, nil, 99},
		"newer central": {nil, more, wire.ProtocolVersion},
		"both newer":    {more, more, 99},
	} {
		t.Run(name, func(t *testing.T) {
			c := startRealCentral(t)
			kernel := c.put(t, "images/linux", noise(300_000))
			workflow := c.call(t, 201, "POST", "/api/v1/workflows", `{"name":"debian","install_method":"kernel","kernel":"images/linux","cmdline":"quiet"}`)
			c.call(t, 200, "PATCH", "/api/v1/sites/"+c.site, fmt.Sprintf(`{"heartbeat_seconds":1,"auto_provision":true,"default_workflow_id":%q}`, workflow["id"]))
			a := startPair(t, skewed(t, c, skew.asks, skew.answers))

			installs(t, a, c, kernel)
			eventually(t, "heartbeats are heard", func() bool {
				agent := c.call(t, 200, "GET", "/api/v1/agents/"+c.site+"/status", "")
				return agent["status"] == "online" && agent["protocol_version"] == skew.version && agent["agent_version"] == "test"
			})
			// What changes at central is seen here by the next heartbeat.
			current := c.put(t, "images/linux", noise(310_000))
			eventually(t, "the new kernel is served", func() bool {
				_, got, err := a.get("/images/linux")
				return err == nil && bytes.Equal(got, current)
			})
		})
	}
}

// installs has a machine that nobody knows ask what to boot, fetch it, say that it began and that it is done.
func installs(t *testing.T, a *appliance, c *realCentral, kernel []byte) {
	t.Helper()
	var script []byte
	eventually(t, "the machine is told to install", func() bool {
		_, text, err := a.get("/boot/" + mac)
		script = text
		return err == nil && bytes.Contains(text, []byte("/images/linux"))
	})
	if _, got, err := a.get("/images/linux"); err != nil || !bytes.Equal(got, kernel) {
		t.Fatalf("kernel: %d bytes, %v", len(got), err)
	}
	started := regexp.MustCompile(`/boot/\S+/started\?t=([A-Za-z0-9_-]+)`).FindSubmatch(script)
	if started == nil {
		t.Fatalf("the script says nothing of its begin:\n%s", script)
	}
	if res, text, err := a.get(string(started[0])); err != nil || res.StatusCode != 200 {
		t.Fatalf("started: %v, %s", err, text)
	}
	nodes := func() map[string]any {
		page := c.call(t, 200, "GET", "/api/v1/nodes?mac="+mac, "")
		if items := page["items"].([]any); len(items) == 1 {
			return items[0].(map[string]any)
		}
		return map[string]any{}
	}
	eventually(t, "central hears that it installs", func() bool { return nodes()["state"] == "installing" })
	id := nodes()["id"].(string)
	req, err := http.NewRequest(http.MethodPost, "http://"+a.at["http"]+"/api/v1/nodes/"+id+"/event", strings.NewReader(`{"event_type":"install_complete","event_id":"done"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+string(started[1]))
	req.Header.Set("Content-Type", "application/json")
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode >= 300 {
		t.Fatalf("install_complete: %d", res.StatusCode)
	}
	eventually(t, "central hears that it is installed", func() bool { return nodes()["state"] == "installed" })
}
