package gateway

import (
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/wire"
)

func TestReadingANode(t *testing.T) {
	c := newCentral()
	n := c.add(mac, "pending")
	s := startSite(t, c)
	for _, path := range []string{"/api/v1/nodes?mac=52-54-00-12-34-56", "/api/v1/nodes/" + n.ID, "/api/v1/nodes/" + strings.ToUpper(n.ID)} {
		r := s.get(t, path)
		var got wire.Node
		if err := json.Unmarshal([]byte(r.body), &got); err != nil || r.StatusCode != 200 || got.ID != n.ID || got.State != "pending" || got.MACAddress != mac {
			t.Errorf("%s is answered %d: %s", path, r.StatusCode, r.body)
		}
		for _, secret := range []string{"hunter2", "secret=1", "rack-1", s.tokenOf(t, n)} {
			if strings.Contains(r.body, secret) {
				t.Errorf("%s shows strangers %q: %s", path, secret, r.body)
			}
		}
		if r.ContentLength != int64(len(r.body)) || !strings.Contains(r.Header.Get("Cache-Status"), "detail=node") {
			t.Errorf("%s has the headers %v", path, r.Header)
		}
	}
}

func TestNodesThatAreNotThere(t *testing.T) {
	c := newCentral()
	s := startSite(t, c)
	s.get(t, "/api/v1/nodes/"+uuid.NewString()).problem(t, http.StatusNotFound)
	s.get(t, "/api/v1/nodes?mac="+mac).problem(t, http.StatusNotFound)
	for _, query := range []string{"", "?mac=", "?mac=zz", "?mac=00:00:00:00:00:00", "?uuid=x"} {
		if p := s.get(t, "/api/v1/nodes"+query).problem(t, http.StatusBadRequest); !reflect.DeepEqual(fields(p), []string{"query.mac"}) {
			t.Errorf("%q: the problem names %v", query, fields(p))
		}
	}
	for _, id := range []string{"x", "12345678", "urn:uuid:6ba7b810-9dad-11d1-80b4-00c04fd430c8", "{6ba7b810-9dad-11d1-80b4-00c04fd430c8}", "6ba7b8109dad11d180b400c04fd430c8"} {
		if p := s.get(t, "/api/v1/nodes/"+id).problem(t, http.StatusBadRequest); !reflect.DeepEqual(fields(p), []string{"path.id"}) {
			t.Errorf("%q: the problem names %v", id, fields(p))
		}
	}
	c.set(func() { c.down = errDead })
	if r := s.get(t, "/api/v1/nodes/"+uuid.NewString()); r.Header.Get("Retry-After") == "" {
		t.Errorf("answered %v: %s", r.Header, r.body)
	} else if p := r.problem(t, http.StatusServiceUnavailable); strings.Contains(p.Detail, errDead.Error()) {
		t.Errorf("a stranger is told %s", p.Detail)
	}
	if !strings.Contains(s.log.String(), errDead.Error()) {
		t.Error("the log is not told why")
	}
}

func TestRegistering(t *testing.T) {
	c := newCentral()
	s := startSite(t, c)
	text := `{"mac_address": "5254.0012.3456", "vendor": "ACME", "system_uuid": "4C4C4544-0042-3510-8052-B4C04F4A4D32", "arch": "arm64", "boot_mode": "uefi", "ip_address": "10.0.0.7"}`
	r := s.do(t, "POST", "/api/v1/nodes/register", text)
	var n wire.Node
	if err := json.Unmarshal([]byte(r.body), &n); err != nil || r.StatusCode != 201 || n.MACAddress != mac || n.State != "discovered" {
		t.Errorf("answered %d: %s", r.StatusCode, r.body)
	}
	if n.SystemUUID != "4c4c4544-0042-3510-8052-b4c04f4a4d32" || n.Vendor != "ACME" {
		t.Errorf("the node is %+v", n)
	}
	r = s.do(t, "POST", "/api/v1/nodes/register", text, "Content-Type", "application/x-www-form-urlencoded") // as wget says
	var again wire.Node
	if err := json.Unmarshal([]byte(r.body), &again); err != nil || r.StatusCode != 200 || again.ID != n.ID {
		t.Errorf("a second time answered %d: %s", r.StatusCode, r.body)
	}
	if len(c.registered) != 1 {
		t.Errorf("central was told %d times", len(c.registered))
	}
	c.set(func() { c.down = errDead })
	s.do(t, "POST", "/api/v1/nodes/register", `{"mac_address": "52:54:00:00:00:09"}`).problem(t, http.StatusServiceUnavailable)
	c.set(func() {
		c.down, c.full = nil, &wire.Refusal{Status: 422, Problem: wire.Problem{Detail: "The site is full."}}
	})
	p := s.do(t, "POST", "/api/v1/nodes/register", `{"mac_address": "52:54:00:00:00:0a"}`).problem(t, 422)
	if p.Detail != "The site is full." {
		t.Errorf("central's own words become %q", p.Detail)
	}
	if script := s.get(t, "/boot/52:54:00:00:00:0b").script(t); !strings.Contains(script, "The site is full.") {
		t.Errorf("a machine is told\n%s", script)
	}
}

func TestBodiesThatAreWrong(t *testing.T) {
	c := newCentral()
	n := c.add(mac, "pending")
	s := startSite(t, c)
	register, event, state := "/api/v1/nodes/register", "/api/v1/nodes/"+n.ID+"/event", "/api/v1/nodes/"+n.ID+"/state"
	for _, tt := range []struct {
		path, body string
		status     int
		fields     []string
	}{
		{register, ``, 400, nil},
		{register, `{`, 400, nil},
		{register, `[]`, 400, nil},
		{register, `"x"`, 400, nil},
		{register, `{"mac_address": "52:54:00:00:00:01"} {}`, 400, nil},
		{register, `{"mac_address": "52:54:00:00:00:01",}`, 400, nil},
		{register, "\xff\xfe", 400, nil},
		{register, `{"mac": "52:54:00:00:00:01"}`, 422, []string{"body.mac"}},
		{register, `{"mac_address": 5}`, 422, []string{"body.mac_address"}},
		{register, `{"mac_address": "52:54:00:00:00:01", "vendor": ["x"]}`, 422, []string{"body.vendor"}},
		{register, `{}`, 422, []string{"body.mac_address"}},
		{
			register, `{"mac_address": "zz", "arch": "vax", "boot_mode": "tape", "system_uuid": "1", "ip_address": "fe80::1%eth0", "hostname": "a\nb",
			"vendor": "\u0000", "model": "` + strings.Repeat("x", 201) + `", "serial_number": "\u0085"}`, 422,
			[]string{"body.mac_address", "body.arch", "body.boot_mode", "body.system_uuid", "body.ip_address", "body.hostname", "body.vendor", "body.model", "body.serial_number"},
		},
		{register, `{"mac_address": "` + strings.Repeat("x", maxBody) + `"}`, 413, nil},
		{event, `{"event_type": "explode"}`, 422, []string{"body.event_type"}},
		{event, `{}`, 422, []string{"body.event_type"}},
		{event, `{"event_type": "install_progress", "progress": "half"}`, 422, []string{"body.progress"}},
		{event, `{"event_type": "install_progress", "progress": 1.5}`, 422, []string{"body.progress"}},
		{
			event, `{"event_type": "nope", "status": "so-so", "progress": 101, "event_id": "` + strings.Repeat("x", 101) + `", "message": "` + strings.Repeat("x", 1001) +
				`", "metadata": "` + strings.Repeat("x", 64<<10) + `"}`, 422,
			[]string{"body.event_type", "body.status", "body.progress", "body.event_id", "body.message", "body.metadata"},
		},
		{event, `{"event_type": "heartbeat", "state": "active"}`, 422, []string{"body.state"}},
		{state, `{"state": "flying"}`, 422, []string{"body.state"}},
		{state, `{"state": 7}`, 422, []string{"body.state"}},
		{state, `{"state": "installing", "force": "yes"}`, 422, []string{"body.force"}},
	} {
		method := "POST"
		if tt.path == state {
			method = "PATCH"
		}
		p := s.do(t, method, tt.path, tt.body).problem(t, tt.status)
		if !slices.Equal(fields(p), tt.fields) {
			t.Errorf("%.80s: the problem names %v, want %v", tt.body, fields(p), tt.fields)
		}
	}
	s.do(t, "POST", register, `{}`, "Content-Type", "text/plain").problem(t, http.StatusUnsupportedMediaType)
	s.do(t, "POST", register, `{}`, "Content-Type", "multipart/form-data; boundary=x").problem(t, http.StatusUnsupportedMediaType)
	if got := c.node(n.ID); got.Version != 1 || len(c.registered) != 0 {
		t.Errorf("the node became %+v, and %d machines were registered", got, len(c.registered))
	}
}
