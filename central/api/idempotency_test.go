package api

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
)

// keys returns the rows of all keys.
func (c *central) keys() []*ent.IdempotencyKey {
	c.t.Helper()
	rows, err := c.store.Read().IdempotencyKey.Query().All(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	return rows
}

func TestARepeatedRequestTakesEffectOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, c *central) {
		body := object{"name": "berlin"}
		first := c.do("POST", "/api/v1/sites", c.admin, body, headerKey, `"one"`)
		again := c.do("POST", "/api/v1/sites", c.admin, body, headerKey, "one") // the same text without quotes
		if first.status != 201 || again.status != 201 || !bytes.Equal(first.body, again.body) {
			t.Fatalf("first %d %s, again %d %s", first.status, first.body, again.status, again.body)
		}
		if first.header.Get(headerReplayed) != "" || again.header.Get(headerReplayed) != "true" {
			t.Errorf("replayed: first %q, again %q", first.header.Get(headerReplayed), again.header.Get(headerReplayed))
		}
		for _, name := range []string{"Content-Type", "Location", "ETag"} {
			if first.header.Get(name) == "" || first.header.Get(name) != again.header.Get(name) {
				t.Errorf("%s: first %q, again %q", name, first.header.Get(name), again.header.Get(name))
			}
		}
		if n := len(c.audited("site.create")); n != 1 {
			t.Errorf("%d sites were made", n)
		}
		for name, r := range map[string]reply{
			"another body":  c.do("POST", "/api/v1/sites", c.admin, object{"name": "paris"}, headerKey, "one"),
			"another route": c.do("POST", "/api/v1/groups", c.admin, body, headerKey, "one"),
			"another query": c.do("POST", "/api/v1/sites?x=1", c.admin, body, headerKey, "one"),
		} {
			if r.status != 422 || !r.names(t, "header.Idempotency-Key") {
				t.Errorf("%s: %d %s", name, r.status, r.body)
			}
		}
		if r := c.do("POST", "/api/v1/sites", c.viewer, body, headerKey, "one"); r.status != 403 {
			t.Errorf("a viewer got an admin's answer: %d", r.status)
		}
		if r := c.do("POST", "/api/v1/nodes", c.operator, object{"mac_address": "52:54:00:00:00:01"}, headerKey, "one"); r.status != 201 {
			t.Errorf("the same key of another token: %d %s", r.status, r.body)
		}
	})
}

func TestWhatFailedMayBeRepeated(t *testing.T) {
	c := newCentral(t)
	if r := c.do("POST", "/api/v1/sites", c.admin, object{"nam": "berlin"}, headerKey, "k"); r.status != 422 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if n := len(c.keys()); n != 0 {
		t.Errorf("%d keys are taken by a request without effect", n)
	}
	if r := c.do("POST", "/api/v1/sites", c.admin, object{"name": "berlin"}, headerKey, "k"); r.status != 201 || r.header.Get(headerReplayed) != "" {
		t.Errorf("corrected: %d %s", r.status, r.body)
	}
}

func TestAtOnceOneOfAKeyTakesEffect(t *testing.T) {
	c := newCentral(t)
	race(t, c, c)
}

func TestTwoCentralsHonourAKeyOnce(t *testing.T) {
	url := database(t)
	race(t, openCentral(t, url), openCentral(t, url))
}

// race sends one request many times at once, to two centrals over one database. Commands may be queued any number of
// times, so that nothing but the key keeps it from taking effect again.
func race(t *testing.T, a, b *central) {
	t.Helper()
	const requests = 8
	path := "/api/v1/sites/" + a.site("berlin").ID.String() + "/commands"
	replies := make([]reply, requests)
	var group sync.WaitGroup
	for i := range requests {
		group.Go(func() {
			to := []*central{a, b}[i%2]
			replies[i] = to.do("POST", path, a.admin, object{"command": "sync"}, headerKey, "k")
		})
	}
	group.Wait()
	var made int
	var body []byte
	for _, r := range replies {
		switch {
		case r.status == 201 && body != nil && !bytes.Equal(body, r.body):
			t.Errorf("two answers: %s and %s", body, r.body)
		case r.status == 201:
			body = r.body
			if r.header.Get(headerReplayed) == "" {
				made++
			}
		case r.status != 409 || !r.names(t, "header.Idempotency-Key"):
			t.Errorf("%d %s", r.status, r.body)
		}
	}
	queued := must[store.Page[store.Command]](a, 200, "GET", path, a.viewer, nil)
	if made != 1 || len(queued.Items) != 1 {
		t.Errorf("%d requests took effect, and %d commands are queued", made, len(queued.Items))
	}
}

// Central may end between an effect and the keeping of its answer.
func TestAnEffectWithoutAnAnswerIsNotRepeated(t *testing.T) {
	onBoth(t, func(t *testing.T, c *central) {
		c.do("POST", "/api/v1/sites", c.admin, object{"name": "berlin"}, headerKey, "k")
		err := c.store.Write(t.Context(), func(tx *ent.Tx) error {
			return tx.IdempotencyKey.Update().SetStatus(0).ClearBody().SetHeader(map[string]string{}).Exec(t.Context())
		})
		if err != nil {
			t.Fatal(err)
		}
		r := c.do("POST", "/api/v1/sites", c.admin, object{"name": "berlin"}, headerKey, "k")
		if r.status != 409 || !r.names(t, "header.Idempotency-Key") || len(c.audited("site.create")) != 1 {
			t.Errorf("%d %s", r.status, r.body)
		}
	})
}

func TestSecretsAreNotKeptToRepeatThem(t *testing.T) {
	c := newCentral(t)
	site := c.site("berlin")
	for path, body := range map[string]any{
		"/api/v1/tokens": object{"name": "ci", "role": "viewer"}, "/api/v1/sites/" + site.ID.String() + "/agent-token": nil,
	} {
		first := must[struct{ Token string }](c, 201, "POST", path, c.admin, body, headerKey, path)
		again := c.do("POST", path, c.admin, body, headerKey, path)
		if again.status != 409 || !again.names(t, "header.Idempotency-Key") || !strings.Contains(string(again.body), "answered with 201") {
			t.Errorf("%s again: %d %s", path, again.status, again.body)
		}
		if path == "/api/v1/tokens" && !strings.HasPrefix(again.header.Get("Location"), path+"/") {
			t.Errorf("%s again does not say what was made: %v", path, again.header)
		}
		for _, row := range c.keys() {
			if len(row.Body) > 0 || first.Token == "" {
				t.Errorf("%s: kept %s", path, row.Body)
			}
		}
	}
	if made := len(c.audited("token.create")); made != 4 { // three of the tests' own
		t.Errorf("%d tokens were made", made)
	}
}

func TestKeysAreBounded(t *testing.T) {
	c := newCentral(t)
	for _, key := range []string{"", `""`, `"open`, `a"b`, `"a\\b"`, "a\tb", "ключ", strings.Repeat("k", 256)} {
		r := c.do("POST", "/api/v1/sites", c.admin, object{"name": "berlin"}, headerKey, key)
		if r.status != 400 || !r.names(t, "header.Idempotency-Key") {
			t.Errorf("%q: %d %s", key, r.status, r.body)
		}
	}
	if r := c.do("POST", "/api/v1/sites", c.admin, strings.Repeat(" ", 1<<20+1), headerKey, "k"); r.status != 413 {
		t.Errorf("a body that is too long: %d", r.status)
	}
	if r := c.do("POST", "/api/v1/sites", c.admin, object{"name": "berlin"}, headerKey, strings.Repeat("k", 255)); r.status != 201 {
		t.Errorf("the longest key: %d %s", r.status, r.body)
	}
}

func TestAnExpiredKeyIsNew(t *testing.T) {
	onBoth(t, func(t *testing.T, c *central) {
		node := func(mac string) reply {
			return c.do("POST", wire.PathNodes, c.operator, object{"mac_address": mac}, headerKey, "k")
		}
		node("52:54:00:00:00:01")
		if got := time.Until(c.keys()[0].ExpiresAt); got < 23*time.Hour || got > 24*time.Hour {
			t.Errorf("the key expires in %v", got)
		}
		err := c.store.Write(t.Context(), func(tx *ent.Tx) error {
			return tx.IdempotencyKey.Update().SetExpiresAt(time.Now().UTC().Add(-time.Second)).Exec(t.Context())
		})
		if err != nil {
			t.Fatal(err)
		}
		if r := node("52:54:00:00:00:02"); r.status != 201 {
			t.Errorf("%d %s", r.status, r.body)
		}
		if rows := c.keys(); len(rows) != 1 || !slices.ContainsFunc(rows, func(k *ent.IdempotencyKey) bool { return k.Status == 201 }) {
			t.Errorf("%v", rows)
		}
	})
}
