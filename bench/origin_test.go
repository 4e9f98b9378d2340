package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/pureboot/pureboot/agent/uplink"
	"github.com/pureboot/pureboot/central/wire"
)

func testOrigin(t *testing.T) *origin {
	t.Helper()
	o, err := newOrigin(link{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.close(); err != nil {
			t.Error(err)
		}
	})
	return o
}

func (o *origin) url(obj *object) string { return "http://" + o.http.addr + originPrefix + obj.name }

func TestParseRange(t *testing.T) {
	for _, c := range []struct {
		text     string
		from, to int64
	}{
		{"bytes=0-0", 0, 1},
		{"bytes=0-", 0, 1000},
		{"bytes=999-", 999, 1000},
		{"bytes=10-19", 10, 20},
		{"bytes=10-99999", 10, 1000},
		{"bytes=-1", 999, 1000},
		{"bytes=-5000", 0, 1000},
	} {
		if from, to, err := parseRange(c.text, 1000); err != nil || from != c.from || to != c.to {
			t.Errorf("%s: %d, %d, %v", c.text, from, to, err)
		}
	}
	for _, text := range []string{"", "bytes=", "bytes=-", "bytes=-0", "bytes=1000-", "bytes=5-4", "bytes=0-1,5-6", "items=0-1", "bytes=a-b"} {
		if _, _, err := parseRange(text, 1000); !errors.Is(err, errRange) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestOriginServesAndCounts(t *testing.T) {
	o := testOrigin(t)
	obj := o.add(spec{name: "one", size: 1 << 20, watched: span{500_000, 500_700}})
	for name, q := range map[string]request{
		"all":   {obj: obj},
		"range": {obj: obj, from: 1000, to: 501_000},
		"other": {obj: obj, from: 1000, to: 500_000},
		"head":  {obj: obj, method: http.MethodHead},
	} {
		if r := ask(t.Context(), o.url(obj), q); r.verdict != right {
			t.Errorf("%s: %+v", name, r)
		}
	}
	for began := time.Now(); obj.sending.Load() > 0 && time.Since(began) < 20*time.Second; {
		time.Sleep(time.Millisecond) // the last piece is counted when it has left
	}
	if n := obj.sentOf.Load(); n != 700+700 {
		t.Errorf("%d bytes of what is watched", n)
	}
	if g, h, n := obj.gets.Load(), obj.heads.Load(), obj.sent.Load(); g != 3 || h != 1 || n != 1<<20+999_000 {
		t.Errorf("%d GETs, %d HEADs, %d bytes", g, h, n)
	}
}

func TestOriginConditions(t *testing.T) {
	o := testOrigin(t)
	obj := o.add(spec{name: "one", size: 1000})
	etag := obj.etag(obj.current())
	for _, c := range []struct {
		header map[string]string
		status int
	}{
		{map[string]string{"Range": "bytes=5-9", "If-Range": etag}, 206},
		{map[string]string{"Range": "bytes=5-9", "If-Range": `"other"`}, 200},
		{map[string]string{"Range": "bytes=5-9", "If-Range": obj.current().modified.Format(http.TimeFormat)}, 206},
		{map[string]string{"Range": "bytes=1000-"}, 416},
		{map[string]string{"If-None-Match": etag}, 304},
		{map[string]string{"If-None-Match": `"other"`}, 200},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, o.url(obj), nil)
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range c.header {
			req.Header.Set(k, v)
		}
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != c.status {
			t.Errorf("%v: %d, want %d", c.header, res.StatusCode, c.status)
		}
	}
}

func TestOriginCutsWhereItShould(t *testing.T) {
	o := testOrigin(t)
	obj := o.add(spec{name: "one", size: 1 << 20, cuts: []int64{300_000, 700_001}, changes: true})
	for i, want := range []int64{300_000, 700_001} {
		if r := ask(t.Context(), o.url(obj), request{obj: obj}); r.verdict != cut || r.bytes != want {
			t.Errorf("cut %d: %+v", i, r)
		}
	}
	if r := ask(t.Context(), o.url(obj), request{obj: obj}); r.verdict != right {
		t.Errorf("after the cuts: %+v", r)
	}
	if n := len(obj.texts()); n != 2 {
		t.Errorf("%d versions", n)
	}
}

func TestOriginLies(t *testing.T) {
	o := testOrigin(t)
	for name, c := range map[string]struct {
		spec
		want verdict
	}{
		"no length":         {spec{noLength: true}, right},
		"no length, cut":    {spec{noLength: true, cuts: []int64{5000}}, cut},
		"a longer length":   {spec{extra: 10}, cut},
		"a flipped byte":    {spec{flipAt: 77_777, flips: 1}, wrong},
		"no validator":      {spec{noValidator: true}, right},
		"ranges not heeded": {spec{ignoreRange: true}, right},
	} {
		c.name, c.size = name, 100_000
		obj := o.add(c.spec)
		if r := ask(t.Context(), o.url(obj), request{obj: obj, from: 0, to: 0}); r.verdict != c.want {
			t.Errorf("%s: %+v", name, r)
		}
	}
	obj := o.add(spec{name: "wrong range", size: 100_000, wrongRange: true})
	if r := ask(t.Context(), o.url(obj), request{obj: obj, from: 50_000, to: 60_000}); r.verdict != wrong {
		t.Errorf("another range: %+v", r)
	}
}

// TestAgentsTakeTheOriginForCentral has an agent's own client enrol and read.
func TestAgentsTakeTheOriginForCentral(t *testing.T) {
	o := testOrigin(t)
	token, err := uplink.ParseJoinToken(o.ca.joinToken())
	if err != nil {
		t.Fatal(err)
	}
	id, err := uplink.Enroll(t.Context(), uplink.Joining{State: t.TempDir(), CentralURL: "https://" + o.central.addr, Token: token, Hello: wire.Hello{ProtocolVersion: wire.ProtocolVersion}})
	if err != nil {
		t.Fatal(err)
	}
	client, err := uplink.NewClient(id, uplink.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()

	obj := o.add(spec{name: "one", size: 600_000, central: true, cuts: []int64{400_000}, changes: true})
	o.add(spec{name: "not central's", size: 1000})
	m, err := client.Manifest(t.Context(), wire.ManifestQuery{})
	if err != nil || !m.Full || len(m.Items) != 1 || m.Items[0].Path != "one" {
		t.Fatalf("manifest %+v, %v", m, err)
	}
	beat, err := client.Heartbeat(t.Context(), wire.Heartbeat{})
	if err != nil || beat.ContentEpoch != m.Epoch {
		t.Errorf("heartbeat %+v, %v", beat, err)
	}
	first, err := client.Chunks(t.Context(), wire.Images, "one")
	if err != nil || len(first.Chunks) != 3 || first.SHA256 != m.Items[0].SHA256 {
		t.Fatalf("chunks %+v, %v", first, err)
	}
	read := func(sha string, offset, length int64) error {
		body, err := client.ReadContent(t.Context(), wire.Images, "one", sha, offset, length)
		if err != nil {
			return err
		}
		defer body.Close()
		all, err := io.ReadAll(body)
		if err == nil && !obj.current().text.matches(all, offset) {
			err = fmt.Errorf("%d wrong bytes", len(all))
		}
		return err
	}
	if err := read(first.SHA256, 1000, 2000); err != nil {
		t.Error(err)
	}
	if err := read(first.SHA256, 0, 0); err == nil {
		t.Error("it was not cut")
	}
	if r, ok := errors.AsType[*wire.Refusal](read(first.SHA256, 0, 0)); !ok || r.Status != http.StatusPreconditionFailed {
		t.Errorf("the old version: %v", r)
	}
	next, err := client.Manifest(t.Context(), wire.ManifestQuery{Since: m.Epoch})
	if err != nil || next.Full || len(next.Items) != 1 || next.Items[0].SHA256 == first.SHA256 {
		t.Fatalf("next manifest %+v, %v", next, err)
	}
	if err := read(next.Items[0].SHA256, 0, 0); err != nil {
		t.Error(err)
	}
}
