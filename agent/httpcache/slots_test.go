package httpcache

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"pgregory.net/rapid"

	"github.com/pureboot/pureboot/agent/cache"
)

// TestKeysOfResources holds that each resource has a key that the store takes, and none has another's, nor that of
// another's variant.
func TestKeysOfResources(t *testing.T) {
	s := &slots{name: "upstream/up/", base: "http://deb.example/d/"}
	seen := map[string]string{} // primary keys by key
	part := rapid.StringMatching(`[a-z.^|%? ~/]{0,6}(/|//|%2F|\^0123456789abcdef)?[a-z|^]{0,3}`)
	rapid.Check(t, func(t *rapid.T) {
		u := &url.URL{Scheme: "http", Host: "deb.example", Path: "/d/" + part.Draw(t, "path")}
		if rapid.Bool().Draw(t, "asked") {
			u.RawQuery, u.ForceQuery = part.Draw(t, "query"), true
		}
		primary := s.primary(u)
		resource := PrimaryKey(u)
		if dotted(u.Path) {
			return // the handler refuses them
		}
		for _, key := range []cache.Key{
			s.key(primary, false, nil, nil), s.key(primary, true, nil, nil),
			s.key(primary, false, &Vary{Fields: []string{"Accept"}}, http.Header{"Accept": {"x"}}),
		} {
			if err := key.Validate(); err != nil {
				t.Fatalf("%s: %v", resource, err)
			}
			if primaryOf(key) != primary {
				t.Fatalf("%s is a place of %s, not of %s", key, primaryOf(key), primary)
			}
			if other, ok := seen[string(key)]; ok && other != resource {
				t.Fatalf("%s is the key of %s and %s", key, other, resource)
			}
			seen[string(key)] = resource
		}
	})
}

func TestPlacesWhereNothingIsStoredAreForgotten(t *testing.T) {
	o := startOrigin(t, file(random(10), "Cache-Control: max-age=60"))
	s := startSite(t, o.URL)
	s.get("/up/kept")
	s.settled()
	for i := range 5 * slackSlots {
		place := fmt.Sprint("upstream/up/", i)
		s.handler.slots.add(place, cache.Key(place))
	}
	if n := len(s.handler.slots.by); n > 2*slackSlots {
		t.Errorf("%d places are known of one object", n)
	}
	s.says(s.get("/up/kept"), "hit")
}

func dotted(path string) bool {
	h := &Handler{Options: Options{Prefix: "/", Origin: &url.URL{Scheme: "http", Host: "x", Path: "/"}}}
	_, err := h.target(&url.URL{Path: path})
	return err != nil
}
