package e2e

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// admin calls central's REST API as its administrator.
type admin struct {
	url   string
	token string
	http  *http.Client
}

func newAdmin(t *testing.T, url, caFile, tokenFile string) *admin {
	t.Helper()
	ca, err := os.ReadFile(caFile)
	if err != nil {
		t.Fatal(err)
	}
	token, err := os.ReadFile(tokenFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	return &admin{url: url, token: strings.TrimSpace(string(token)), http: &http.Client{
		Transport: transport, Timeout: time.Minute,
	}}
}

// call sends in, as it is if it is bytes and else as JSON, and reads the answer into out unless that is nil.
func (a *admin) call(t *testing.T, method, path string, in, out any) {
	t.Helper()
	body, raw := in.([]byte)
	if !raw && in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), method, a.url+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+a.token)
	req.Header.Set("Content-Type", "application/json")
	if raw {
		req.Header.Set("Content-Type", "application/octet-stream")
	}
	res, err := a.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode >= 300 {
		t.Fatalf("%s %s: %s: %s", method, path, res.Status, text)
	}
	if out != nil {
		if err := json.Unmarshal(text, out); err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
	}
}

// create makes a thing and returns its id.
func (a *admin) create(t *testing.T, kind string, in any) string {
	t.Helper()
	var made struct{ ID string }
	a.call(t, http.MethodPost, "/api/v1/"+kind, in, &made)
	return made.ID
}

// upload puts a boot file and returns how many bytes a site has to fetch for it.
func (a *admin) upload(t *testing.T, path string, body []byte) int64 {
	t.Helper()
	a.call(t, http.MethodPut, "/api/v1/content/"+path, body, nil)
	return int64(len(body))
}

// node reads what central knows of a machine.
func (a *admin) node(t *testing.T, id string) (n struct{ State, Vendor string }) {
	t.Helper()
	a.call(t, http.MethodGet, "/api/v1/nodes/"+id, nil, &n)
	return n
}

// moves returns the state log of a node as from>to, the oldest first.
func (a *admin) moves(t *testing.T, node string) []string {
	t.Helper()
	var log struct {
		Items []struct{ From, To string }
	}
	a.call(t, http.MethodGet, "/api/v1/nodes/"+node+"/history", nil, &log)
	var moves []string
	for _, m := range log.Items {
		moves = append(moves, m.From+">"+m.To)
	}
	return moves
}
