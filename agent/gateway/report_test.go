package gateway

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/agent/node"
	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/wire"
)

// installation is a machine that is about to be installed.
func installation(t *testing.T) (*site, wire.Node, string) {
	c := newCentral()
	n := c.add(mac, "pending")
	s := startSite(t, c)
	return s, n, s.tokenOf(t, n)
}

func (s *site) report(t testing.TB, id, token, event string) reply {
	t.Helper()
	return s.do(t, "POST", "/api/v1/nodes/"+id+"/event", event, "Authorization", "Bearer "+token)
}

func TestAnInstallation(t *testing.T) {
	s, n, token := installation(t)
	if r := s.get(t, "/boot/"+mac+"/started?t="+token); r.StatusCode != 200 || r.ContentLength != int64(len(r.body)) {
		t.Errorf("started is answered %d: %s", r.StatusCode, r.body)
	}
	for _, step := range []struct{ event, state string }{
		{`{"event_type": "install_started"}`, "installing"},
		{`{"event_type": "install_progress", "status": "in_progress", "progress": 50, "metadata": {"disk": "sda"}}`, "installing"},
		{`{"event_type": "install_complete", "event_id": "done-1"}`, "installed"},
		{`{"event_type": "install_complete", "event_id": "done-1"}`, "installed"},
		{`{"event_type": "first_boot"}`, "active"},
	} {
		r := s.report(t, n.ID, token, step.event)
		var got accepted
		if err := json.Unmarshal([]byte(r.body), &got); err != nil || r.StatusCode != 200 || got != (accepted{State: step.state}) {
			t.Errorf("%s is answered %d: %s", step.event, r.StatusCode, r.body)
		}
		if at := s.central.node(n.ID); at.State != step.state || at.InstallAttempts != 1 {
			t.Errorf("after %s the node is %s, %d attempts", step.event, at.State, at.InstallAttempts)
		}
	}
	// The token has served its purpose.
	s.report(t, n.ID, token, `{"event_type": "install_complete"}`).problem(t, http.StatusForbidden)
	if script := s.get(t, "/boot/"+mac).script(t); !strings.Contains(script, "active") || strings.Contains(script, token) {
		t.Errorf("the script is\n%s", script)
	}
}

func TestAnAttemptCountsOnce(t *testing.T) {
	s, n, token := installation(t)
	started := "/boot/" + mac + "/started?t=" + token
	for attempt := 1; attempt <= lifecycle.MaxAttempts; attempt++ {
		for range 3 { // iPXE sends it again when the answer is lost
			if r := s.get(t, started); r.StatusCode != 200 {
				t.Fatalf("answered %d: %s", r.StatusCode, r.body)
			}
		}
		if at := s.central.node(n.ID); at.State != "installing" || at.InstallAttempts != attempt {
			t.Fatalf("at attempt %d the node is %s, %d attempts", attempt, at.State, at.InstallAttempts)
		}
		s.report(t, n.ID, token, `{"event_type": "install_failed", "message": "disk on fire"}`)
	}
	if at := s.central.node(n.ID); at.State != "install_failed" {
		t.Errorf("the node is %s", at.State)
	}
	s.get(t, started)
	if at := s.central.node(n.ID); at.State != "install_failed" || at.InstallAttempts != lifecycle.MaxAttempts {
		t.Errorf("the node is %s, %d attempts", at.State, at.InstallAttempts)
	}
}

func TestAnAttemptThatTimedOutIsFollowedByAnother(t *testing.T) {
	s, n, token := installation(t)
	started := "/boot/" + mac + "/started?t=" + token
	s.get(t, started)
	s.get(t, started)
	s.change("installing", func(b *wire.Boot) {
		long := time.Now().Add(-2 * lifecycle.InstallTimeout)
		b.Node.InstallStartedAt = &long
		b.Node.Version += 10
	})
	if err := s.Nodes.ExpireAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if script := s.get(t, "/boot/"+mac).script(t); !strings.Contains(script, "kernel --name kernel") {
		t.Errorf("the installer is not served again:\n%s", script)
	}
	s.get(t, started)
	if at := s.central.node(n.ID); at.InstallAttempts != 2 {
		t.Errorf("%d attempts are counted, want 2", at.InstallAttempts)
	}
}

func TestOnlyTheNodesTokenMovesIt(t *testing.T) {
	s, n, token := installation(t)
	other := s.central.add("52:54:00:00:00:02", "pending")
	old := n
	old.InstallSeq = 0
	key := node.Key{9}
	forged, err := key.Token(&n)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		token  string
		status int
	}{
		"none": {"", 401}, "garbage": {"garbage", 403}, "another node's": {s.tokenOf(t, other), 403}, "an older installation's": {s.tokenOf(t, old), 403},
		"another site's": {forged, 403}, "cut": {token[:len(token)-1], 403}, "padded": {token + "=", 403}, "long": {strings.Repeat("A", 5000), 403},
	} {
		t.Run(name, func(t *testing.T) {
			header := []string{}
			if tt.token != "" {
				header = []string{"Authorization", "Bearer " + tt.token}
			}
			for _, r := range []reply{
				s.get(t, "/boot/"+mac+"/started?t="+tt.token),
				s.get(t, "/boot/"+mac+"/started", header...),
				s.get(t, "/render/"+mac+"/templates/preseed.cfg?t="+tt.token),
				s.do(t, "POST", "/api/v1/nodes/"+n.ID+"/event?t="+tt.token, `{"event_type": "install_complete"}`),
				s.do(t, "POST", "/api/v1/nodes/"+n.ID+"/event", `{"event_type": "install_complete"}`, header...),
				s.do(t, "PATCH", "/api/v1/nodes/"+n.ID+"/state", `{"state": "installing"}`, header...),
			} {
				r.problem(t, tt.status)
				if (r.Header.Get("WWW-Authenticate") != "") != (tt.status == 401) {
					t.Errorf("a %d with the headers %v", tt.status, r.Header)
				}
			}
		})
	}
	s.do(t, "POST", "/api/v1/nodes/"+n.ID+"/event", `{"event_type": "heartbeat"}`, "Authorization", "Bearer x").problem(t, 403)
	if at := s.central.node(n.ID); at.State != "pending" || at.Version != 1 {
		t.Errorf("the node became %+v", at)
	}
	s.get(t, "/boot/zz/started?t="+token).problem(t, 400)
	s.get(t, "/boot/52:54:00:77:77:77/started?t="+token).problem(t, 404)
	s.report(t, uuid.NewString(), token, `{"event_type": "install_complete"}`).problem(t, 404)
	s.report(t, "x", token, `{"event_type": "install_complete"}`).problem(t, 400)
}

func TestChangingState(t *testing.T) {
	s, n, token := installation(t)
	change := func(body string) reply {
		return s.do(t, "PATCH", "/api/v1/nodes/"+n.ID+"/state?t="+token, body)
	}
	if p := change(`{"state": "active"}`).problem(t, http.StatusConflict); !strings.Contains(p.Detail, "valid are installing, retired") {
		t.Errorf("the problem does not name the valid states: %s", p.Detail)
	}
	change(`{"state": "retired"}`).problem(t, http.StatusForbidden)
	change(`{"state": "active", "force": true}`).problem(t, http.StatusForbidden)
	r := change(`{"state": "installing", "comment": "by hand"}`)
	var got wire.Node
	if err := json.Unmarshal([]byte(r.body), &got); err != nil || r.StatusCode != 200 || got.State != "installing" || strings.Contains(r.body, "hunter2") {
		t.Errorf("answered %d: %s", r.StatusCode, r.body)
	}
	s.central.set(func() { s.central.down = errDead })
	if r := change(`{"state": "installed"}`); r.StatusCode != 503 || r.Header.Get("Retry-After") == "" {
		t.Errorf("with central away answered %d: %s", r.StatusCode, r.body)
	}
	s.central.set(func() {
		s.central.down = &wire.Refusal{Status: 409, Problem: wire.Problem{Detail: "Somebody was faster.", Errors: []wire.ProblemField{{Location: "body.state"}}}}
	})
	if p := change(`{"state": "installed"}`).problem(t, http.StatusConflict); p.Detail != "Somebody was faster." || len(p.Errors) != 1 {
		t.Errorf("central's own words become %+v", p)
	}
}

func TestAReportWhileCentralIsAway(t *testing.T) {
	s, n, token := installation(t)
	s.get(t, "/boot/"+mac+"/started?t="+token)
	s.central.set(func() { s.central.down = errDead })
	r := s.report(t, n.ID, token, `{"event_type": "install_complete"}`)
	var got accepted
	if err := json.Unmarshal([]byte(r.body), &got); err != nil || r.StatusCode != 202 || got != (accepted{"installed", true}) {
		t.Errorf("answered %d: %s", r.StatusCode, r.body)
	}
	if script := s.get(t, "/boot/"+mac).script(t); strings.Contains(script, "kernel --name") {
		t.Errorf("the machine is installed again:\n%s", script)
	}
	s.central.set(func() { s.central.down = nil })
	if err := s.Nodes.Deliver(t.Context()); err != nil {
		t.Fatal(err)
	}
	if at := s.central.node(n.ID); at.State != "installed" {
		t.Errorf("central has the node as %s", at.State)
	}
}

func TestAHeartbeatWithoutATokenIsASighting(t *testing.T) {
	s, n, _ := installation(t)
	r := s.do(t, "POST", "/api/v1/nodes/"+n.ID+"/event", `{"event_type": "heartbeat"}`)
	if r.StatusCode != 202 || !strings.Contains(r.body, `"state":"pending"`) {
		t.Errorf("answered %d: %s", r.StatusCode, r.body)
	}
	if seen := s.Nodes.SeenWithin(time.Hour); seen != 1 {
		t.Errorf("%d machines were seen", seen)
	}
	if at := s.central.node(n.ID); at.Version != 1 || len(s.central.events) != 0 {
		t.Errorf("central was told: %+v", at)
	}
	s.do(t, "POST", "/api/v1/nodes/"+uuid.NewString()+"/event", `{"event_type": "heartbeat"}`).problem(t, 404)
	s.do(t, "POST", "/api/v1/nodes/x/event", `{"event_type": "heartbeat"}`).problem(t, 400)
}

func TestRendering(t *testing.T) {
	s, n, token := installation(t)
	s.central.file("templates/preseed.cfg", []byte("host ${hostname} mac ${mac} token ${token} pw ${param.root_password} at ${server} $${keep} ${else}\n"))
	s.central.file("scripts/late.sh", []byte("curl -d '{}' ${event_url}\n"))
	s.central.file("templates/bad", []byte("${param.none}"))
	s.central.file("templates/huge", make([]byte, maxTemplate+1))
	s.central.file("images/linux", []byte("${hostname}"))
	at := "/render/" + mac
	r := s.get(t, at+"/templates/preseed.cfg?t="+token)
	want := "host web-1 mac " + mac + " token " + token + " pw hunter2 at " + s.server.URL + " ${keep} ${else}\n"
	if r.StatusCode != 200 || r.body != want || r.ContentLength != int64(len(want)) || r.Header.Get("Cache-Control") != "no-store" ||
		r.Header.Get("Cache-Status") != "PureBoot; fwd=miss; stored" {
		t.Errorf("answered %d, %v:\n%s\nwant\n%s", r.StatusCode, r.Header, r.body, want)
	}
	if r := s.get(t, at+"/scripts/late.sh", "Authorization", "bearer "+token); r.StatusCode != 200 || !strings.Contains(r.body, "/api/v1/nodes/"+n.ID+"/event") {
		t.Errorf("a script is answered %d: %s", r.StatusCode, r.body)
	}
	if r := s.do(t, http.MethodHead, at+"/templates/preseed.cfg?t="+token, ""); r.StatusCode != 200 || r.ContentLength != int64(len(want)) {
		t.Errorf("HEAD is answered %d, %d bytes", r.StatusCode, r.ContentLength)
	}
	s.get(t, at+"/templates/none?t="+token).problem(t, 404)
	s.get(t, at+"/templates?t="+token).problem(t, 400)
	s.get(t, at+"/images/linux?t="+token).problem(t, 404)
	s.get(t, at+"/etc/passwd?t="+token).problem(t, 404)
	s.get(t, at+"/templates/huge?t="+token).problem(t, 422)
	s.get(t, "/render/zz/templates/preseed.cfg?t="+token).problem(t, 400)
	if p := s.get(t, at+"/templates/bad?t="+token).problem(t, 422); !strings.Contains(p.Detail, "param.none") {
		t.Errorf("the problem does not name the parameter: %s", p.Detail)
	}
	for _, state := range []string{"installing", "installed", "install_failed"} {
		s.change(state, func(b *wire.Boot) { b.Node.Version++ })
		if err := s.Nodes.ExpireAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		r := s.get(t, at+"/templates/preseed.cfg?t="+token)
		if state == "installing" && r.StatusCode != 200 {
			t.Errorf("a node that is %s is answered %d", state, r.StatusCode)
		} else if state != "installing" {
			r.problem(t, http.StatusForbidden)
			if strings.Contains(r.body, "hunter2") {
				t.Errorf("a node that is %s is answered %s", state, r.body)
			}
		}
	}
}

func TestNoTokenIsInTheLog(t *testing.T) {
	s, n, token := installation(t)
	s.central.file("templates/preseed.cfg", []byte("${token}"))
	s.central.file("templates/bad", []byte("${param.none}"))
	s.get(t, "/boot/"+mac+"?platform=efi")
	s.get(t, "/render/"+mac+"/templates/preseed.cfg?t="+token)
	s.get(t, "/render/"+mac+"/templates/bad?t="+token)
	s.get(t, "/boot/"+mac+"/started?t="+token)
	s.report(t, n.ID, token, `{"event_type": "install_progress"}`)
	s.central.set(func() { s.central.down = errDead })
	s.report(t, n.ID, token, `{"event_type": "install_complete"}`)
	s.get(t, "/render/"+mac+"/templates/none?t="+token)
	s.get(t, "/boot/52:54:00:77:77:77/started?t="+token)
	log := s.log.String()
	if strings.Contains(log, token) || strings.Contains(log, "t=") || strings.Contains(log, "hunter2") {
		t.Errorf("the log holds a secret:\n%s", log)
	}
	if strings.Count(log, `"msg":"request"`) != 8 {
		t.Errorf("not every request is in the log:\n%s", log)
	}
}

// slowBody is announced, and never comes.
type slowBody struct{ t *testing.T }

func (b slowBody) Read([]byte) (int, error) {
	b.t.Error("a body that is announced to be too large is read")
	return 0, io.ErrUnexpectedEOF
}

func TestABodyAnnouncedTooLargeIsNotAwaited(t *testing.T) {
	s := openSite(t, newCentral())
	r := httptest.NewRequest("POST", "/api/v1/nodes/register", slowBody{t})
	r.ContentLength = maxBody + 1
	if w := s.recorded(r); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("answered %d", w.Code)
	}
}
