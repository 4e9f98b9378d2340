package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/pureboot/pureboot/central/content"
	"github.com/pureboot/pureboot/central/fleet"
	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/migrate/scratch"
)

// databases are those of all tests.
var databases scratch.Migrated

func TestMain(m *testing.M) { goleak.VerifyTestMain(databases.Around(m)) }

// onBoth runs a test on SQLite, and on PostgreSQL where it is installed.
func onBoth(t *testing.T, test func(t *testing.T, c *central)) {
	t.Run("sqlite", func(t *testing.T) { test(t, newCentral(t)) })
	t.Run("postgres", func(t *testing.T) { test(t, openCentral(t, database(t))) })
}

// database returns the DSN of an empty PostgreSQL database, or skips the test.
func database(t *testing.T) string {
	t.Helper()
	url, err := databases.Postgres(t.Context())
	if errors.Is(err, scratch.ErrMissing) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	return url
}

// central is the whole API over a database and a folder of its own.
type central struct {
	t       *testing.T
	url     string
	client  *http.Client
	store   *store.Store
	content *content.Repository
	api     *api
	log     *logs
	dir     string

	admin, operator, viewer string // tokens

	before func() // each request; nil: nothing
}

func newCentral(t *testing.T) *central {
	t.Helper()
	return openCentral(t, "")
}

// openCentral is newCentral over the database of a DSN; empty means SQLite.
func openCentral(t *testing.T, dsn string) *central {
	t.Helper()
	c := &central{t: t, log: &logs{}}
	log := slog.New(slog.NewTextHandler(c.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	dir := t.TempDir()
	c.dir = dir
	var err error
	if dsn == "" {
		err = databases.SQLite(t.Context(), filepath.Join(dir, "pureboot.db"))
	}
	if err != nil {
		t.Fatal(err)
	}
	if c.store, err = store.Open(t.Context(), store.Options{DSN: dsn, Dir: dir, Log: log}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.store.Close() })
	if c.content, err = content.Open(filepath.Join(dir, "content"), c.store, log); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.content.Close() })
	encodings, err := content.OpenEncodings(filepath.Join(dir, "encoded"), 1<<30, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { encodings.Close() })
	fleet := fleet.New(fleet.Options{Store: c.store, Content: c.content, Pin: [32]byte{1, 2, 3}, CA: selfSigned{}, Log: log})
	c.api, err = build(Options{Store: c.store, Content: c.content, Encodings: encodings, Fleet: fleet, Version: "test", Logins: 1000, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(c.api.shell())
	t.Cleanup(server.Close)
	c.url, c.client = server.URL, server.Client()
	c.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.admin, c.operator, c.viewer = c.token(store.Admin), c.token(store.Operator), c.token(store.Viewer)
	return c
}

func (c *central) token(role store.Role) string {
	c.t.Helper()
	_, text, err := c.store.CreateToken(c.t.Context(), store.Actor{Name: "test"}, store.TokenSpec{Name: string(role), Role: role})
	if err != nil {
		c.t.Fatal(err)
	}
	return text
}

// reply is an answer, read whole.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// do sends a request. A body that is no string and no []byte goes as JSON.
func (c *central) do(method, path, token string, body any, headers ...string) reply {
	c.t.Helper()
	if c.before != nil {
		c.before()
	}
	var text []byte
	switch body := body.(type) {
	case nil:
	case string:
		text = []byte(body)
	case []byte:
		text = body
	default:
		var err error
		if text, err = json.Marshal(body); err != nil {
			c.t.Fatal(err)
		}
	}
	req, err := http.NewRequest(method, c.url+path, bytes.NewReader(text))
	if err != nil {
		c.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := c.client.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	all, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	r := reply{res.StatusCode, res.Header, all}
	if r.status >= 400 && method != "HEAD" {
		if got := r.header.Get("Content-Type"); got != wire.MediaTypeProblem {
			c.t.Errorf("%s %s: %d as %s, not as a problem: %s", method, path, r.status, got, all)
		}
		if p := r.problem(c.t); p.Status != r.status || p.Title == "" || p.Detail == "" {
			c.t.Errorf("%s %s: the problem is not whole: %s", method, path, all)
		}
	}
	if r.header.Get(wire.HeaderRequestID) == "" {
		c.t.Errorf("%s %s: no request id", method, path)
	}
	return r
}

// must sends a request that has to be answered with a status, and decodes the answer.
func must[T any](c *central, status int, method, path, token string, body any, headers ...string) T {
	c.t.Helper()
	r := c.do(method, path, token, body, headers...)
	if r.status != status {
		c.t.Fatalf("%s %s: %d, want %d: %s", method, path, r.status, status, r.body)
	}
	var out T
	if len(r.body) > 0 {
		if err := json.Unmarshal(r.body, &out); err != nil {
			c.t.Fatalf("%s %s: %v in %s", method, path, err, r.body)
		}
	}
	return out
}

func (r reply) problem(t *testing.T) wire.Problem {
	t.Helper()
	var p wire.Problem
	if err := json.Unmarshal(r.body, &p); err != nil {
		t.Fatalf("%v in %s", err, r.body)
	}
	return p
}

// names says whether a problem names a field.
func (r reply) names(t *testing.T, location string) bool {
	t.Helper()
	for _, f := range r.problem(t).Errors {
		if f.Location == location && f.Message != "" {
			return true
		}
	}
	return false
}

// object is JSON to send.
type object = map[string]any

func (c *central) site(name string, more ...object) store.Group {
	c.t.Helper()
	body := object{"name": name}
	for _, m := range more {
		maps.Copy(body, m)
	}
	return must[store.Group](c, 201, "POST", "/api/v1/sites", c.admin, body)
}

// enrol enrols an agent for a site and returns its credential.
func (c *central) enrol(site store.Group) string {
	c.t.Helper()
	token := must[wire.JoinToken](c, 201, "POST", "/api/v1/sites/"+site.ID.String()+"/agent-token", c.admin, nil)
	secret := "secret-of-" + site.Name
	must[wire.Registered](c, 201, "POST", wire.PathRegister, "", wire.Register{JoinToken: token.Token, CredentialSHA256: sha256hex(secret)})
	return "pba_" + site.ID.String() + "_" + secret
}

// audited returns the audit entries of an action.
func (c *central) audited(action string) []*ent.AuditEntry {
	c.t.Helper()
	all, err := c.store.Read().AuditEntry.Query().All(context.Background())
	if err != nil {
		c.t.Fatal(err)
	}
	var found []*ent.AuditEntry
	for _, entry := range all {
		if entry.Action == action {
			found = append(found, entry)
		}
	}
	return found
}

// logs keeps what is logged.
type logs struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// lines returns the lines that hold a text.
func (l *logs) lines(text string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []string
	for line := range strings.Lines(l.text.String()) {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}
