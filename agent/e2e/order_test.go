package e2e

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// What becomes of a machine's report that it carries an order out.
const (
	taken   = iota // it reaches the agent
	silence        // it gets no answer
	refusal        // it is answered with no
)

// line is the way of machines to the agent, by the addresses in the scripts too.
type line struct {
	address string

	mu      sync.Mutex
	reports map[string]int // what becomes of them, by the machine's MAC as in paths
	came    map[string]int // how many did
}

// report notes that one came, and says what becomes of it.
func (l *line) report(mac string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.came[mac]++
	return l.reports[mac]
}

// expects says what becomes of the reports of a machine, and returns how many have come since it was said last.
func (l *line) expects(m *machine, reports int) int {
	mac := strings.ReplaceAll(m.mac, ":", "-")
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.came[mac]
	l.came[mac], l.reports[mac] = 0, reports
	return n
}

func newLine(t *testing.T, agent string) *line {
	t.Helper()
	l := &line{reports: map[string]int{}, came: map[string]int{}}
	over := make(chan struct{})
	toAgent := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: agent}) },
		ModifyResponse: func(res *http.Response) error {
			text, err := io.ReadAll(res.Body)
			res.Body.Close()
			text = bytes.ReplaceAll(text, []byte(agent), []byte(l.address))
			res.Body = io.NopCloser(bytes.NewReader(text))
			res.Header.Set("Content-Length", strconv.Itoa(len(text)))
			return err
		},
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, report := strings.CutSuffix(r.URL.Path, "/started")
		if report {
			switch l.report(strings.TrimPrefix(path, "/boot/")) {
			case silence:
				select {
				case <-r.Context().Done():
				case <-over:
				}
				return
			case refusal:
				w.WriteHeader(http.StatusConflict)
				return
			}
		}
		toAgent.ServeHTTP(w, r)
	}))
	listener, err := net.Listen("tcp", agentIP+":0")
	if err != nil {
		t.Fatal(err)
	}
	s.Listener.Close()
	s.Listener = listener
	l.address = s.Listener.Addr().String()
	s.Start()
	t.Cleanup(func() {
		close(over)
		s.Close()
	})
	return l
}

// TestOrdersOnRealFirmware: iPXE goes on into what was ordered if its report was taken, and else to the local disk.
func TestOrdersOnRealFirmware(t *testing.T) {
	programs, _ := inside(t)
	newMachine := func(name, mac string) *machine { return &machine{name: name, mac: mac, mode: "bios", disk: newDisk(t)} }
	unheard, refused := newMachine("unheard0", "52:54:00:e2:e0:11"), newMachine("refused0", "52:54:00:e2:e0:12")
	local, heard := newMachine("local0", "52:54:00:e2:e0:13"), newMachine("heard0", "52:54:00:e2:e0:14")
	machines := []*machine{unheard, refused, local, heard}
	newLAN(t, unheard.name, refused.name, local.name, heard.name)
	s := newSite(t, programs)
	s.admin.upload(t, "scripts/up.ipxe", []byte("#!ipxe\necho ORDERED-INSTALLER-UP\npoweroff\n"))
	workflow := s.admin.create(t, "workflows", map[string]any{
		"name": "handed-over", "arch": "x86_64", "boot_mode": "bios", "install_method": "chain", "boot_url": "${server}/scripts/up.ipxe",
	})
	nodes, orders := map[*machine]string{}, map[*machine]string{unheard: "installer", refused: "installer", local: "local", heard: "installer"}
	for _, m := range machines {
		nodes[m] = s.admin.create(t, "nodes", map[string]any{
			"mac_address": m.mac, "home_site_id": s.id, "workflow_id": workflow, "state": "pending", "arch": "x86_64", "boot_mode": "bios",
		})
		for _, state := range []string{"installing", "installed", "active"} {
			s.admin.call(t, http.MethodPatch, "/api/v1/nodes/"+nodes[m]+"/state", map[string]any{"state": state}, nil)
		}
		s.admin.call(t, http.MethodPatch, "/api/v1/nodes/"+nodes[m], map[string]any{"next_boot": orders[m]}, nil)
	}
	s.enrol(t)
	s.startAgent(t)
	way := newLine(t, s.http)
	s.startDHCP(t, "boot.ipxe,,AGENT", "http://"+way.address+"/boot/${net0/mac:hexhyp}")

	way.expects(unheard, silence)
	way.expects(refused, refusal)
	way.expects(local, refusal)
	boots(t, "orders", machines, func(t *testing.T, m *machine) {
		const ordered, failed, disk = "ordered its installation", "what was ordered for this boot did not start", "PureBoot: local disk"
		shows, state, order := []string{ordered, failed, disk, markBIOSDisk}, "active", orders[m]
		switch m {
		case local:
			shows = []string{"ordered the local disk", "the order is not crossed out", disk, markBIOSDisk}
		case heard:
			shows, state, order = []string{ordered, "ORDERED-INSTALLER-UP"}, "installing", ""
		}
		expect(t, unwrapped(m.boot(t)), shows...)
		if n := way.expects(m, taken); n != 1 {
			t.Errorf("%d reports", n)
		}
		var n struct {
			State    string
			NextBoot string `json:"next_boot"`
		}
		s.admin.call(t, http.MethodGet, "/api/v1/nodes/"+nodes[m], nil, &n)
		if n.State != state || n.NextBoot != order {
			t.Errorf("the node is %+v, want %s with the order %q", n, state, order)
		}
	})
}

// unwrapped is a console's text without the ends of lines that a BIOS puts in at 80 columns.
func unwrapped(printed string) string { return strings.ReplaceAll(printed, "\n", "") }
