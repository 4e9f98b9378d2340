package admin

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/agent/content"
	"github.com/pureboot/pureboot/central/wire"
)

// filled is a site with some of everything in its cache.
func filled(t *testing.T) *site {
	s := openSite(t)
	s.file("bootloaders/ipxe.efi", "loader")
	s.file("scripts/a.ipxe", "script")
	s.file("images/debian/linux", "kernel")
	s.file("images/debian/initrd", "ramdisk")
	s.get("/up/a")
	s.get("/up/a?q=/x")
	s.get("/up/nested/b")
	return s
}

const all = "bootloaders/ipxe.efi images/debian/initrd images/debian/linux scripts/a.ipxe upstream/up/a upstream/up/a?q=|x upstream/up/nested/b"

func TestTheSumOfTheCache(t *testing.T) {
	s := filled(t)
	s.wantKeys(all)
	var c Cache
	if code := s.call("GET", PathCache, "", &c); code != 200 {
		t.Fatalf("answered %d", code)
	}
	if c.Categories["images"] != (Category{2, 13}) || c.Categories["bootloaders"] != (Category{1, 6}) ||
		c.Categories["upstream"] != (Category{3, 38}) || c.Categories["templates"] != (Category{}) {
		t.Errorf("categories %+v", c.Categories)
	}
	if c.TotalSizeBytes != 13+6+6+38 || c.MaxSizeBytes != 1<<30 || c.UsagePercent <= 0 || c.Policy != "minimal" || c.PinnedBytes != 6 ||
		c.NodeCache.Count != 0 || c.NodeCache.OldestEntry != nil || c.HotTier.MaxSizeBytes != 1<<20 || c.Disk.FreeBytes <= 0 {
		t.Errorf("sum %+v", c)
	}
}

// list pages through the entries.
func (s *site) list(query string) (keys []string, pages int) {
	s.t.Helper()
	q, err := url.ParseQuery(query)
	if err != nil {
		s.t.Fatal(err)
	}
	for {
		var page Entries
		if code := s.call("GET", PathEntries+"?"+q.Encode(), "", &page); code != 200 {
			s.t.Fatalf("%s: %d", query, code)
		}
		pages++
		for _, e := range page.Items {
			keys = append(keys, e.Key)
		}
		if page.NextCursor == "" {
			return keys, pages
		}
		q.Set("cursor", page.NextCursor)
	}
}

func TestEntriesAreListedByWhatTheyAre(t *testing.T) {
	s := filled(t)
	for query, want := range map[string]string{
		"":                       all,
		"limit=1":                all,
		"limit=3":                all,
		"category=images":        "images/debian/initrd images/debian/linux",
		"prefix=images/debian/l": "images/debian/linux",
		"prefix=" + url.QueryEscape(s.origin.URL+"/a"): "upstream/up/a upstream/up/a?q=|x",
		"prefix=" + s.origin.URL + "/deep/":            "upstream/up/nested/b",
		"prefix=" + s.origin.URL:                       "upstream/up/a upstream/up/a?q=|x upstream/up/nested/b",
		"tag=deep/er/b":                                "upstream/up/nested/b",
		"tag=none":                                     "",
		"pinned=true":                                  "bootloaders/ipxe.efi",
		"state=stale":                                  "",
		"state=fresh&category=scripts":                 "scripts/a.ipxe",
	} {
		keys, pages := s.list(query)
		if got := strings.Join(keys, " "); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
		if query == "limit=1" && pages != 7 || query == "limit=3" && pages != 3 {
			t.Errorf("%s: %d pages", query, pages)
		}
	}
	var page Entries
	s.call("GET", PathEntries+"?category=upstream&limit=2", "", &page)
	if e := page.Items[1]; e.URL != s.origin.URL+"/a?q=/x" || e.State != Fresh || e.Status != 200 || *e.TTL < 900 || e.SizeBytes != 10 ||
		strings.Join(e.Tags, " ") != "all a" || e.LastUsed == nil {
		t.Errorf("an upstream's entry is %+v", e)
	}
	page = Entries{}
	s.call("GET", PathEntries+"?prefix=boot", "", &page)
	if e := page.Items[0]; e.URL != "" || e.State != Fresh || e.SHA256 == "" || !e.Pinned || e.HaveBytes != 6 {
		t.Errorf("a file's entry is %+v", e)
	}
	s.central.put("scripts/a.ipxe", "changed")
	s.pull()
	if keys, _ := s.list("state=stale"); len(keys) != 1 || keys[0] != "scripts/a.ipxe" {
		t.Errorf("stale is %v", keys)
	}
}

func TestWhatComesAndGoesMovesNoPage(t *testing.T) {
	s := filled(t)
	var first, second Entries
	s.call("GET", PathEntries+"?limit=2", "", &first)
	s.file("bootloaders/early", "x")
	if _, err := s.Cache.Purge(exact("images/debian/initrd")); err != nil {
		t.Fatal(err)
	}
	s.call("GET", PathEntries+"?limit=2&cursor="+first.NextCursor, "", &second)
	if second.Items[0].Key != "images/debian/linux" || second.Items[1].Key != "scripts/a.ipxe" {
		t.Errorf("the second page is %+v", second.Items)
	}
}

func exact(key string) match {
	m, _ := new(API).byKey(key)
	return m
}

func TestQuestionsThatCannotBeMeant(t *testing.T) {
	s := openSite(t)
	s.refused("GET", PathEntries+"?category=x&state=y&limit=0&cursor=!&pinned=maybe&prefix=http://", "", 422,
		"query.category", "query.state", "query.limit", "query.cursor", "query.pinned", "query.prefix", "want one of fresh")
	s.refused("POST", PathPurge, `{}`, 422, "one of key, prefix")
	s.refused("POST", PathPurge, `{"key": "a", "tag": "b"}`, 422, "one of key, prefix")
	s.refused("POST", PathPurge, `{"category": "x"}`, 422, "body.category")
	s.refused("POST", PathPurge, `{"key": "http://elsewhere/x"}`, 422, "body.key", "not below")
	s.refused("POST", PathPurge, `{"key": "../x"}`, 422, "body.key")
	s.refused("POST", PathPurge, `{"kee": "x"}`, 400, "kee")
	s.refused("POST", PathPurge, `{"tag": "x"} {}`, 400, "more than one")
	s.refused("POST", PathEvict, `{"policy": "some"}`, 422, "expired, lru, all")
	s.refused("POST", PathEvict, `{"policy": "all", "bytes": 5}`, 422, "body.bytes")
	s.refused("DELETE", PathCache+"/images/none", "", 404)
	s.refused("GET", "/api/v1/nothing", "", 404)
	s.refused("PATCH", PathCache, "", 405, "GET")
	s.refused("POST", PathPins, strings.Repeat(" ", maxBody+1), 413)
}

func TestADeletedEntryIsGoneWhateverItIs(t *testing.T) {
	s := filled(t)
	s.call("POST", PathPins, `{"items": ["scripts/**"]}`, nil)
	for _, path := range []string{"/bootloaders/ipxe.efi", "/scripts/a.ipxe", "/upstream/up/nested/b"} {
		var gone Gone
		if code := s.call("DELETE", PathCache+path, "", &gone); code != 200 || gone.Objects != 1 || gone.Bytes == 0 {
			t.Errorf("%s: %d, %+v", path, code, gone)
		}
	}
	s.reopen()
	s.wantKeys("images/debian/initrd images/debian/linux upstream/up/a upstream/up/a?q=|x")
}

func TestPurges(t *testing.T) {
	for _, tt := range []struct {
		purge string
		gone  int
		left  string
	}{
		{`{"key": "images/debian/linux"}`, 1, strings.Replace(all, " images/debian/linux", "", 1)},
		{`{"key": "ORIGIN/a"}`, 1, strings.Replace(all, " upstream/up/a ", " ", 1)},
		{`{"key": "ORIGIN/%61?q=/x"}`, 1, strings.Replace(all, " upstream/up/a?q=|x", "", 1)},
		{`{"key": "upstream/up/a"}`, 1, strings.Replace(all, " upstream/up/a ", " ", 1)},
		{`{"key": "images/none"}`, 0, all},
		{`{"prefix": "images/"}`, 2, strings.Replace(all, " images/debian/initrd images/debian/linux", "", 1)},
		{`{"prefix": "ORIGIN/deep"}`, 1, strings.Replace(all, " upstream/up/nested/b", "", 1)},
		{`{"category": "upstream"}`, 3, "bootloaders/ipxe.efi images/debian/initrd images/debian/linux scripts/a.ipxe"},
		{`{"category": "bootloaders"}`, 1, strings.Replace(all, "bootloaders/ipxe.efi ", "", 1)},
		{`{"tag": "deep/er/b"}`, 1, strings.Replace(all, " upstream/up/nested/b", "", 1)},
		{`{"tag": "all"}`, 3, "bootloaders/ipxe.efi images/debian/initrd images/debian/linux scripts/a.ipxe"},
		{`{"tag": "al"}`, 0, all},
	} {
		s := filled(t)
		var gone Gone
		code := s.call("POST", PathPurge, strings.Replace(tt.purge, "ORIGIN", s.origin.URL, 1), &gone)
		if code != 200 || gone.Objects != tt.gone {
			t.Errorf("%s: %d, %+v, want %d", tt.purge, code, gone, tt.gone)
		}
		s.wantKeys(tt.left)
		s.close()
	}
}

func TestASoftPurgeHasTheOriginAsked(t *testing.T) {
	s := filled(t)
	var gone Gone
	if code := s.call("POST", PathPurge, `{"tag": "a", "soft": true}`, &gone); code != 200 || gone != (Gone{Objects: 2, Bytes: 20}) {
		t.Errorf("%d, %+v", code, gone)
	}
	s.wantKeys(all)
	if keys, _ := s.list("state=stale"); len(keys) != 2 {
		t.Errorf("stale is %v", keys)
	}
	if how := s.get("/up/a"); !strings.Contains(how, "fwd-status=304") {
		t.Errorf("the next client gets %s", how)
	}
	if how := s.get("/up/a"); !strings.Contains(how, "; hit") {
		t.Errorf("the one after it gets %s", how)
	}
	if code := s.call("POST", PathPurge, `{"category": "images", "soft": true}`, &gone); code != 200 || gone.Objects != 0 {
		t.Errorf("of central's files: %d, %+v", code, gone)
	}
}

func TestEvictionSparesBootloadersAndPins(t *testing.T) {
	s := filled(t)
	s.call("POST", PathPins, `{"items": ["images/debian/initrd", "`+s.origin.URL+`/deep/**"]}`, nil)
	var gone Gone
	if code := s.call("POST", PathEvict, `{"policy": "expired"}`, &gone); code != 200 || gone.Objects != 0 {
		t.Errorf("expired: %d, %+v", code, gone)
	}
	if code := s.call("POST", PathEvict, `{"policy": "lru", "bytes": 6}`, &gone); code != 200 || gone != (Gone{Objects: 1, Bytes: 6}) {
		t.Errorf("lru: %d, %+v", code, gone)
	}
	s.wantKeys(strings.Replace(all, " images/debian/linux", "", 1))
	if code := s.call("POST", PathEvict, `{"policy": "all"}`, &gone); code != 200 || gone.Objects != 3 {
		t.Errorf("all: %d, %+v", code, gone)
	}
	s.wantKeys("bootloaders/ipxe.efi images/debian/initrd upstream/up/nested/b")
	if st := s.Cache.Stats(); st.EvictedByHand != 4 {
		t.Errorf("counted %d evictions", st.EvictedByHand)
	}
}

func TestPinsSurviveARestart(t *testing.T) {
	s := filled(t)
	var p Pins
	body := `{"items": ["images/**/linux", "scripts/a.ipxe", "` + s.origin.URL + `/a?q=/x"]}`
	if code := s.call("PUT", PathPins, body, &p); code != 200 || len(p.Items) != 3 || p.PinnedBytes != 6+6+6+10 {
		t.Errorf("%d, %+v", code, p)
	}
	s.reopen()
	if keys, _ := s.list("pinned=true"); strings.Join(keys, " ") != "bootloaders/ipxe.efi images/debian/linux scripts/a.ipxe upstream/up/a?q=|x" {
		t.Errorf("after a restart these are pinned: %v", keys)
	}
	if code := s.call("DELETE", PathPins+"?item=scripts/a.ipxe&item="+url.QueryEscape("images/**/linux"), "", &p); code != 200 || len(p.Items) != 1 {
		t.Errorf("%d, %+v", code, p)
	}
	s.reopen()
	if keys, _ := s.list("pinned=true"); strings.Join(keys, " ") != "bootloaders/ipxe.efi upstream/up/a?q=|x" {
		t.Errorf("after a restart these are pinned: %v", keys)
	}
	s.refused("DELETE", PathPins+"?item=typo", "", 422, "not on the list")
	s.refused("DELETE", PathPins, "", 422, "query.item")
	s.refused("PUT", PathPins, `{"items": ["a", "[", "`+strings.Repeat("{a,b,c,d}", 6)+`", "http://elsewhere/", ""]}`, 422,
		"items[1]", "items[2]", "items[3]", "items[4]", "braces")
	if s.call("GET", PathPins, "", &p); len(p.Items) != 1 {
		t.Errorf("a list that was refused is %+v", p)
	}
}

func TestAListThatCannotBeKeptIsNotUsed(t *testing.T) {
	s := openSite(t)
	if err := os.Mkdir(filepath.Join(s.dir, "pins.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.refused("PUT", PathPins, `{"items": ["images/**"]}`, 500, "pins.json")
	var p Pins
	if s.call("GET", PathPins, "", &p); len(p.Items) != 0 {
		t.Errorf("pinned is %v", p.Items)
	}
	left, err := filepath.Glob(filepath.Join(s.dir, ".pins*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestADamagedListIsNoReasonToEnd(t *testing.T) {
	s := openSite(t)
	for _, name := range []string{"pins.json", "prefetch.json"} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.reopen()
	var p Pins
	if code := s.call("PUT", PathPins, `{"items": ["images/x"]}`, &p); code != 200 || len(p.Items) != 1 {
		t.Errorf("%d, %+v", code, p)
	}
	s.reopen()
	if s.call("GET", PathPins, "", &p); len(p.Items) != 1 {
		t.Errorf("after a restart %+v", p)
	}
}

func TestTheMachinesOfTheSite(t *testing.T) {
	s := openSite(t)
	var page Nodes
	if code := s.call("GET", PathNodes+"?group_id=g&state=active", "", &page); code != 200 || page.Items == nil || len(page.Items) != 0 {
		t.Errorf("%d, %+v", code, page)
	}
	s.refused("GET", PathNodes+"?state=gone", "", 422, "query.state")
}

func TestAPurgeOutrunsWhatIsOnItsWay(t *testing.T) {
	for _, soft := range []bool{false, true} {
		s := openSite(t)
		gate := make(chan struct{})
		slow := s.origin.Config.Handler
		s.origin.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=1000")
			if r.URL.Path != "/slow" {
				slow.ServeHTTP(w, r)
				return
			}
			w.Write([]byte("old ")) // of no known length
			http.NewResponseController(w).Flush()
			<-gate
			w.Write([]byte("bytes"))
		})
		first := make(chan string)
		go func() { first <- s.get("/up/slow") }()
		eventually(t, func() bool {
			all := s.Cache.Unfinished()
			return len(all) == 1 && all[0].Have == 4
		})
		var gone Gone
		if code := s.call("POST", PathPurge, fmt.Sprintf(`{"prefix": "%s/s", "soft": %t}`, s.origin.URL, soft), &gone); code != 200 || gone != (Gone{Objects: 1, Bytes: 4}) {
			t.Errorf("soft %t: answered %d, %+v", soft, code, gone)
		}
		close(gate)
		<-first
		if how := s.get("/up/slow"); strings.Contains(how, "; hit") {
			t.Errorf("soft %t: what was asked for before the purge is served after it: %s", soft, how)
		}
		s.close()
	}
}

func TestWhatIsExpired(t *testing.T) {
	const day = 24 * time.Hour
	s := openSite(t)
	if code := s.call("PUT", PathPrefetch, `{"items": ["images/wanted/**"]}`, nil); code != 202 {
		t.Fatalf("answered %d", code)
	}
	for _, tt := range []struct {
		key    cache.Key
		days   int // cache.retention_days
		unused time.Duration
		want   bool
	}{
		{"bootloaders/a", 0, 1000 * day, false},
		{"scripts/a", 0, day - time.Hour, false},
		{"scripts/a", 0, day + time.Hour, true},
		{"templates/a", 0, 6 * day, false},
		{"templates/a", 0, 8 * day, true},
		{"images/a", 0, 29 * day, false},
		{"images/a", 0, 31 * day, true},
		{"upstream/up/a", 0, 29 * day, false},
		{"upstream/up/a", 0, 31 * day, true},
		{"images/wanted/a", 0, 31 * day, false},
		{"images/a", 0, 56 * 365 * day, false}, // it was used at the beginning of 1970
		{"bootloaders/a", 3, 1000 * day, false},
		{"scripts/a", 3, 2 * day, false},
		{"scripts/a", 3, 4 * day, true},
		{"images/a", 3, 4 * day, true},
		{"upstream/up/a", 90, 80 * day, false},
	} {
		s.SetRetention(tt.days)
		if got := s.expired()(cache.Entry{Key: tt.key, LastUsed: time.Now().Add(-tt.unused)}); got != tt.want {
			t.Errorf("%s, unused for %v, kept for %d days: %v", tt.key, tt.unused, tt.days, got)
		}
	}

	// What the site's policy wants would be missed when central is away.
	s.file("images/assigned-to-nobody", "bytes")
	old := cache.Entry{Key: "images/assigned-to-nobody", LastUsed: time.Now().Add(-300 * day)}
	s.SetRetention(0)
	if !s.expired()(old) {
		t.Error("what the policy does not want is kept for ever")
	}
	mirror, err := content.NewPolicy(wire.PolicyMirror, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Files.SetPolicy(mirror)
	if s.expired()(old) {
		t.Error("what the policy wants expires")
	}
}
