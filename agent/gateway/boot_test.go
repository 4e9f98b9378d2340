package gateway

import (
	"database/sql"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pureboot/pureboot/central/wire"
)

func TestAPendingMachineGetsItsInstaller(t *testing.T) {
	c := newCentral()
	n := c.add(mac, "pending")
	s := startSite(t, c)
	token := s.tokenOf(t, n)
	for _, notation := range []string{mac, "52-54-00-12-34-56", "525400123456", "5254.0012.3456", "52:54:00:AB:CD:EF"[:9] + "12:34:56"} {
		r := s.get(t, "/boot/"+notation)
		script := r.script(t)
		for _, want := range []string{
			"kernel --name kernel " + s.server.URL + "/images/debian-12/linux",
			"initrd --name initrd.gz " + s.server.URL + "/images/debian-12/initrd.gz",
			s.server.URL + "/boot/52-54-00-12-34-56/started?t=" + token,
			"url=" + s.server.URL + "/render/52-54-00-12-34-56/templates/preseed.cfg?t=" + token,
			"event=" + s.server.URL + "/api/v1/nodes/" + n.ID + "/event",
		} {
			if !strings.Contains(script, want) {
				t.Errorf("%s: no %q in the script:\n%s", notation, want, script)
			}
		}
	}
	if a, b := s.get(t, "/boot/"+mac), s.get(t, "/api/v1/boot?mac="+mac); a.body != b.body {
		t.Errorf("the two routes differ:\n%s\n%s", a.body, b.body)
	}
	if r := s.get(t, "/grub/"+mac); r.StatusCode != 200 || !strings.Contains(r.body, "/images/debian-12/linux") {
		t.Errorf("grub is answered %d: %s", r.StatusCode, r.body)
	}
}

func TestTheServerInAScriptIsTheSocketsNotTheHeaders(t *testing.T) {
	c := newCentral()
	c.add(mac, "pending")
	s := startSite(t, c)
	for _, path := range []string{"/boot/" + mac, "/boot.ipxe", "/autoexec.ipxe"} {
		r := s.raw(t, "GET "+path+" HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: evil.example\r\nForwarded: host=evil.example\r\n\r\n")
		if script := r.script(t); !strings.Contains(script, s.server.URL+"/") || strings.Contains(script, "evil") {
			t.Errorf("%s is\n%s", path, script)
		}
	}
}

func TestLookingAtAScriptMovesNothing(t *testing.T) {
	c := newCentral()
	n := c.add(mac, "pending")
	s := startSite(t, c)
	for range 3 {
		for _, path := range []string{"/boot/" + mac, "/grub/" + mac, "/api/v1/boot?mac=" + mac} {
			s.get(t, path)
			if r := s.do(t, http.MethodHead, path, ""); r.StatusCode != 200 || r.ContentLength <= 0 {
				t.Errorf("HEAD %s is answered %d, %d bytes", path, r.StatusCode, r.ContentLength)
			}
		}
	}
	s.do(t, http.MethodHead, "/boot/"+mac+"/started?t="+s.tokenOf(t, n), "")
	if got := c.node(n.ID); got.State != "pending" || got.InstallAttempts != 0 || got.Version != 1 {
		t.Errorf("the node became %+v", got)
	}
}

func TestAnUnknownMachineIsRegisteredWithWhatItTells(t *testing.T) {
	c := newCentral()
	s := startSite(t, c)
	tells := url.Values{
		"uuid": {"4C4C4544-0042-3510-8052-B4C04F4A4D32"}, "serial": {"ABC 1\n"}, "manufacturer": {strings.Repeat("ü", 150)}, "product": {"R\x00640\xff"},
		"arch": {"x86_64"}, "platform": {"efi"},
	}
	if r := s.do(t, http.MethodHead, "/boot/"+mac+"?"+tells.Encode(), ""); r.StatusCode != 200 || len(c.registered) != 0 {
		t.Errorf("HEAD is answered %d and registered %v", r.StatusCode, c.registered)
	}
	script := s.get(t, "/boot/"+mac+"?"+tells.Encode()).script(t)
	if !strings.Contains(script, "discovered") || !strings.Contains(script, "sanboot") {
		t.Errorf("the script is\n%s", script)
	}
	want := wire.Registration{
		MACAddress: mac, SystemUUID: "4c4c4544-0042-3510-8052-b4c04f4a4d32", SerialNumber: "ABC 1", Vendor: strings.Repeat("ü", 100),
		Model: "R640\ufffd", Arch: "x86_64", BootMode: "uefi", IPAddress: "127.0.0.1",
	}
	if len(c.registered) != 1 || c.registered[0] != want {
		t.Errorf("registered %+v, want %+v", c.registered, want)
	}
}

func TestFactsThatSayNothing(t *testing.T) {
	for _, uuid := range []string{"00000000-0000-0000-0000-000000000000", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", "4c4c4544", "4c4c4544-0042-3510-8052_b4c04f4a4d32", ""} {
		r := httptest.NewRequest("GET", "/boot/"+mac, nil)
		q := url.Values{"uuid": {uuid}, "arch": {"i386"}, "platform": {"pcbios"}}
		if got := factsOf(r, mac, q); got.SystemUUID != "" || got.Arch != "" || got.BootMode != "bios" {
			t.Errorf("%q becomes %+v", uuid, got)
		}
	}
	r := httptest.NewRequest("GET", "/boot/"+mac, nil)
	if got := factsOf(r, mac, url.Values{}); got != (wire.Registration{MACAddress: mac}) {
		t.Errorf("a person who looks at a script becomes %+v", got)
	}
}

func TestWhateverIsWrongTheAnswerIsAScript(t *testing.T) {
	const stranger = "52:54:00:99:99:99"
	for _, tt := range []struct {
		name, path string
		spoil      func(*site)
		says       string
	}{
		{"malformed MAC", "/boot/zz:zz", nil, "no MAC address"},
		{"no MAC", "/api/v1/boot", nil, "no MAC address"},
		{"group address", "/boot/01:00:5e:00:00:01", nil, "no MAC address"},
		{"central dead", "/boot/" + stranger, func(s *site) { s.central.set(func() { s.central.down = errDead }) }, "cannot be reached"},
		{"central refusing", "/boot/" + stranger, func(s *site) { s.central.set(func() { s.central.down = &wire.Refusal{Status: 500} }) }, "cannot be reached"},
		{"not enrolled", "/boot/" + stranger, func(s *site) { s.Enrolled = false; s.central.set(func() { s.central.down = errDead }) }, "pureboot-agent init"},
		{"bad state", "/boot/" + mac, func(s *site) { s.change("pending", func(b *wire.Boot) { b.Node.State = "confused" }) }, "state"},
		{"bad workflow", "/boot/" + mac, func(s *site) { s.change("pending", func(b *wire.Boot) { b.Workflow.Kernel = "../../x" }) }, "kernel"},
		{"unset parameter", "/boot/" + mac, func(s *site) { s.change("pending", func(b *wire.Boot) { b.Workflow.Cmdline = "${param.none}" }) }, "param.none"},
		{"bad node id", "/boot/" + mac, func(s *site) { s.change("pending", func(b *wire.Boot) { b.Node.ID = "x y" }) }, "token"},
		{"garbage in the store", "/boot/" + mac, (*site).damage, ""},
		{"garbage in the store, central dead", "/boot/" + mac, func(s *site) {
			s.damage()
			s.central.set(func() { s.central.down = errDead })
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCentral()
			c.add(mac, "active")
			s := startSite(t, c)
			if tt.spoil != nil {
				tt.spoil(s)
			}
			began := time.Now()
			script := s.get(t, tt.path).script(t)
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("answered after %v", took)
			}
			if !strings.Contains(script, tt.says) || !strings.Contains(script, "sanboot --no-describe --drive 0x80") || !strings.Contains(script, "exit 1") {
				t.Errorf("the script does not say %q and boot the local disk:\n%s", tt.says, script)
			}
			c.set(func() { c.hanging = false })
		})
	}
}

// change spoils the one node at central.
func (s *site) change(state string, spoil func(*wire.Boot)) {
	s.central.set(func() {
		for id, b := range s.central.nodes {
			b.Node.State = state
			spoil(&b)
			s.central.nodes[id] = b
		}
	})
}

// damage makes garbage of the site's copies.
func (s *site) damage() {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.dir, "state", "nodes.db"))
	if err != nil {
		panic(err)
	}
	defer db.Close()
	s.recorded(httptest.NewRequest("GET", "/boot/"+mac, nil)) // so that there is one
	if _, err := db.Exec("UPDATE nodes SET boot = x'6761'"); err != nil {
		panic(err)
	}
}

func TestAHangingCentralIsNotWaitedForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCentral()
		c.hanging = true
		s := openSite(t, c)
		began := time.Now()
		w := s.recorded(httptest.NewRequest("GET", "/boot/"+mac, nil))
		if took := time.Since(began); took > 3*time.Second || !strings.HasPrefix(w.Body.String(), "#!ipxe\n") {
			t.Errorf("answered %d after %v: %s", w.Code, took, w.Body)
		}
	})
}

func TestAMachineCannotWriteIntoItsScript(t *testing.T) {
	hostile := "x'\"`\n#!ipxe\r\nchain http://evil.example/ || ; && ${net0/mac} $(id) \\ \u2028 %0a"
	c := newCentral()
	s := startSite(t, c)
	q := url.Values{"platform": {"efi"}}
	for _, fact := range []string{"uuid", "serial", "manufacturer", "product", "arch", "t", "mac"} {
		q.Set(fact, hostile)
	}
	for _, path := range []string{"/boot/" + mac, "/boot/" + mac, "/boot/" + url.PathEscape(strings.ReplaceAll(hostile, "/", "")), "/api/v1/boot"} {
		script := s.get(t, path+"?"+q.Encode()).script(t)
		for line := range strings.Lines(script) {
			if strings.Contains(line, "evil") && !strings.HasPrefix(line, "echo ") && !strings.HasPrefix(line, "chain --replace --autofree "+s.server.URL) {
				t.Errorf("%s: a line of the machine's own: %q", path, line)
			}
		}
		if strings.ContainsAny(script, "\"'`\\\r\u2028") || strings.Count(script, "#!ipxe") != 1 || strings.Contains(script, "${net0/mac}") {
			t.Errorf("%s: the script is\n%s", path, script)
		}
	}
	for _, reg := range c.registered {
		if strings.ContainsAny(reg.Vendor+reg.Model+reg.SerialNumber, "\n\r") {
			t.Errorf("registered %+v", reg)
		}
	}
}

func TestAFloodOfStrangersIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no second passes
		c := newCentral()
		s := openSite(t, c)
		var last string
		for i := range 400 {
			stranger := "52540000" + string("0123456789abcdef"[i>>8&15]) + string("0123456789abcdef"[i>>4&15]) + string("0123456789abcdef"[i&15]) + "0"
			w := s.recorded(httptest.NewRequest("GET", "/boot/"+stranger, nil))
			if w.Code != 200 || !strings.HasPrefix(w.Body.String(), "#!ipxe\n") {
				t.Fatalf("answered %d: %s", w.Code, w.Body)
			}
			last = w.Body.String()
		}
		if !strings.Contains(last, "Too many unknown machines") || len(c.registered) != 256 {
			t.Errorf("%d strangers are registered, and the last is told\n%s", len(c.registered), last)
		}
	})
}

func TestAMachineIsBootedFromTheCopyWhileCentralIsAway(t *testing.T) {
	c := newCentral()
	n := c.add(mac, "pending")
	s := startSite(t, c)
	first := s.get(t, "/boot/"+mac)
	if got := first.Header.Get("Cache-Status"); got != "PureBoot; fwd=miss; detail=node" {
		t.Errorf("the first script is %q", got)
	}
	c.set(func() { c.down = errDead })
	again := s.get(t, "/boot/"+mac)
	if got := again.Header.Get("Cache-Status"); got != "PureBoot; hit; detail=node" || again.Header.Get("Age") == "" || again.body != first.body {
		t.Errorf("the second script is %q, aged %q", got, again.Header.Get("Age"))
	}
	if err := s.Nodes.Expire(t.Context(), []string{n.ID}); err != nil {
		t.Fatal(err)
	}
	stale := s.get(t, "/boot/"+mac)
	if got := stale.Header.Get("Cache-Status"); got != "PureBoot; hit; detail=stale-node" || stale.body != first.body {
		t.Errorf("the third script is %q:\n%s", got, stale.body)
	}
}
