package agent

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/pureboot/pureboot/central/wire"
)

// operator is who uses central's REST API, as its administrator and for one site.
type operator struct {
	url    string // of central
	client *http.Client
	admin  string // token
	site   string // id
}

// ask sends a request and returns the answer, which is good.
func (o *operator) ask(t *testing.T, status int, method, path, body string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, o.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if path != wire.PathRegister {
		req.Header.Set("Authorization", "Bearer "+o.admin)
	}
	if strings.HasPrefix(body, "{") {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := o.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != status && res.StatusCode != http.StatusCreated {
		t.Fatalf("%s %s: %d, %s, %v", method, path, res.StatusCode, text, err)
	}
	return text
}

// call is ask for JSON.
func (o *operator) call(t *testing.T, status int, method, path, body string) map[string]any {
	t.Helper()
	out := map[string]any{}
	if err := json.Unmarshal(o.ask(t, status, method, path, body), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// onSite is call of what is below the site.
func (o *operator) onSite(t *testing.T, status int, method, path, body string) map[string]any {
	t.Helper()
	return o.call(t, status, method, "/api/v1/sites/"+o.site+path, body)
}

func (o *operator) put(t *testing.T, name string, body []byte) []byte {
	t.Helper()
	o.call(t, 200, "PUT", wire.PathContent+"/"+name, string(body))
	return body
}

func (o *operator) del(t *testing.T, name string) {
	t.Helper()
	o.ask(t, 204, "DELETE", wire.PathContent+"/"+name, "")
}

// order queues a command for the site and returns its number.
func (o *operator) order(t *testing.T, body string) int {
	t.Helper()
	return int(o.onSite(t, 201, "POST", "/commands", body)["seq"].(float64))
}

// became returns what has become of a command: its state and result.
func (o *operator) became(t *testing.T, seq int) string {
	t.Helper()
	k := o.onSite(t, 200, "GET", fmt.Sprintf("/commands/%d", seq), "")
	return strings.TrimSpace(fmt.Sprint(k["state"], " ", k["result"]))
}

// becomes waits until a command's state and result begin like this.
func (o *operator) becomes(t *testing.T, seq int, want string) {
	t.Helper()
	last := ""
	eventually(t, fmt.Sprintf("command %d is %s", seq, want), func() bool {
		if is := o.became(t, seq); is != last {
			last = is
			t.Logf("command %d is %s", seq, is)
		}
		return strings.HasPrefix(last, want)
	})
}

// state is that of the credential of the site's agent; empty: none is enrolled.
func (o *operator) state(t *testing.T) string {
	t.Helper()
	credential, _ := o.onSite(t, 200, "GET", "/health", "")["credential"].(map[string]any)
	state, _ := credential["state"].(string)
	return state
}
