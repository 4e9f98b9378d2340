package api

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pureboot/pureboot/central/wire"
)

func TestAnAgentGetsLongJSONCompressed(t *testing.T) {
	c := newCentral(t)
	for i := range 50 {
		c.do("PUT", fmt.Sprintf("/api/v1/content/images/debian-%d/linux", i), c.operator, fmt.Append(nil, i))
	}
	agent := c.enrol(c.site("oslo"))
	plain := c.do("GET", wire.PathManifest, agent, nil)
	if plain.status != 200 || plain.header.Get("Content-Encoding") != "" || len(plain.body) < 5_000 {
		t.Fatalf("an older agent: %d, %v, %d bytes", plain.status, plain.header, len(plain.body))
	}
	var readers sync.WaitGroup
	for range 10 {
		readers.Go(func() {
			r := c.do("GET", wire.PathManifest, agent, nil, "Accept-Encoding", "zstd")
			if r.status != 200 || r.header.Get("Content-Encoding") != "zstd" || len(r.body) > len(plain.body)/2 {
				t.Errorf("an agent: %d, %v, %d bytes", r.status, r.header, len(r.body))
				return
			}
			var m wire.Manifest
			if text := unzstd(t, r.body); string(text) != string(plain.body) || json.Unmarshal(text, &m) != nil || len(m.Items) != 50 {
				t.Errorf("decoded to %d bytes, %d files", len(text), len(m.Items))
			}
			if r.header.Get("Content-Type") != "application/json" || !slices.Contains(r.header.Values("Vary"), "Accept-Encoding") {
				t.Errorf("headers %v", r.header)
			}
		})
	}
	readers.Wait()

	for what, r := range map[string]reply{
		"a short answer":   c.do("GET", "/api/v1/content/images/debian-1/linux?chunks", agent, nil, "Accept-Encoding", "zstd"),
		"an administrator": c.do("GET", "/api/v1/content", c.viewer, nil, "Accept-Encoding", "zstd"),
		"another coding":   c.do("GET", wire.PathManifest, agent, nil, "Accept-Encoding", "gzip, zstd;q=0"),
		"nobody":           c.do("GET", wire.PathManifest, "", nil, "Accept-Encoding", "zstd"),
		"a problem":        c.do("GET", wire.PathManifest+"?since="+strings.Repeat("x", 90), agent, nil, "Accept-Encoding", "zstd"),
	} {
		if coding := r.header.Get("Content-Encoding"); coding != "" || !json.Valid(r.body) {
			t.Errorf("%s: %d, coding %q, %d bytes", what, r.status, coding, len(r.body))
		}
	}
	head := c.do("HEAD", "/api/v1/content/images/debian-1/linux?chunks", agent, nil, "Accept-Encoding", "zstd")
	if head.status != 200 || len(head.body) != 0 {
		t.Errorf("HEAD: %d, %d bytes", head.status, len(head.body))
	}
}
