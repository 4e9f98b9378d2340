package admin

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"testing"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/agent/httpcache"
)

// BenchmarkMatch finds one among 100,000 objects of an upstream, in each of the ways a purge does.
func BenchmarkMatch(b *testing.B) {
	store, err := cache.Open(cache.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	h := httpcache.New(httpcache.Options{
		Cache: store, Prefix: "/up/", Origin: &url.URL{Scheme: "http", Host: "x", Path: "/"}, Log: slog.New(slog.DiscardHandler),
	})
	defer h.Close()
	a := New(Options{Cache: store, Upstreams: map[string]*httpcache.Handler{"/up/": h}, Dir: b.TempDir()})
	all := make([]cache.Entry, 100_000)
	for i := range all {
		meta, err := json.Marshal(httpcache.Meta{Method: "GET", Status: 200, Header: http.Header{
			"Etag": {`"0123456789"`}, "Cache-Control": {"max-age=60"}, "Cache-Tag": {fmt.Sprintf("all, archive-%05d", i)}, "Content-Type": {"application/x-deb"},
		}})
		if err != nil {
			b.Fatal(err)
		}
		all[i] = cache.Entry{Key: cache.Key(fmt.Sprintf("upstream/up/pool/main/%d/package_%d_amd64.deb", i%100, i)), Meta: meta}
	}
	for name, p := range map[string]Purge{
		"key": {Key: "http://x/pool/main/7/package_7_amd64.deb"}, "prefix": {Prefix: "http://x/pool/main/7/package_7_"},
		"tag": {Tag: "archive-77777"}, "category": {Category: "images"},
	} {
		b.Run(name, func(b *testing.B) {
			var faults invalid
			m := a.meant(p, &faults)
			found := 0
			for b.Loop() {
				found = 0
				for _, e := range all {
					if m(e) {
						found++
					}
				}
			}
			if found > 1 || len(faults) > 0 {
				b.Errorf("found %d, %v", found, faults)
			}
		})
	}
}
