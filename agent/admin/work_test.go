package admin

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// prefetched waits until the list was worked on.
func (s *site) prefetched() Prefetch {
	s.t.Helper()
	var p Prefetch
	eventually(s.t, func() bool {
		s.call("GET", PathPrefetch, "", &p)
		return !p.Running
	})
	return p
}

func TestWhatIsOnThePrefetchListIsFetched(t *testing.T) {
	s := openSite(t)
	for name, body := range map[string]string{
		"images/debian/linux": "kernel", "images/debian/initrd": "ramdisk", "images/other": "other", "scripts/a.ipxe": "a",
	} {
		s.central.put(name, body)
	}
	s.pull()
	s.refused("POST", PathPrefetch, `{"items": ["`+s.origin.URL+`/*", "nonsense"]}`, 422, "does not say which", "nonsense")
	var p Prefetch
	if code := s.call("POST", PathPrefetch, `{"items": ["images/debian/*", "images/none", "`+s.origin.URL+`/x"]}`, &p); code != 202 || !p.Running {
		t.Errorf("%d, %+v", code, p)
	}
	p = s.prefetched()
	s.wantKeys("images/debian/initrd images/debian/linux upstream/up/x")
	if got := p.Items[1]; got.Item != "images/debian/*" && got.State != PrefetchDone || len(p.Items) != 3 {
		t.Errorf("state %+v", p)
	}
	for _, item := range p.Items {
		switch item.Item {
		case "images/none":
			if item.State != PrefetchFailed || item.Error == "" {
				t.Errorf("what does not exist: %+v", item)
			}
		case "images/debian/*":
			if item.State != PrefetchDone || item.Files != 2 || item.FilesDone != 2 || item.SizeBytes != 13 || item.HaveBytes != 13 || item.FinishedAt == nil {
				t.Errorf("two files: %+v", item)
			}
		default:
			if item.State != PrefetchDone || item.Files != 1 || item.SizeBytes != 10 || item.HaveBytes != 10 {
				t.Errorf("a URL: %+v", item)
			}
		}
	}
	// What is there is not fetched again, also not after a restart; what was evicted is.
	if _, err := s.Cache.Purge(exact("images/debian/linux")); err != nil {
		t.Fatal(err)
	}
	s.reopen()
	s.prefetched()
	s.wantKeys("images/debian/initrd images/debian/linux upstream/up/x")
	if s.central.sent["images/debian/initrd"] != 1 || s.central.sent["images/debian/linux"] != 2 || len(s.requests()) != 1 {
		t.Errorf("central sent %v, the origin was asked %v", s.central.sent, s.requests())
	}
	s.call("DELETE", PathPrefetch+"?item=images/none&item="+url.QueryEscape("images/debian/*"), "", &p)
	if len(p.Items) != 1 {
		t.Errorf("left are %+v", p)
	}
}

func TestAStaleObjectIsPrefetchedByAskingWhetherItHolds(t *testing.T) {
	s := openSite(t)
	s.get("/up/x")
	s.call("POST", PathPurge, `{"category": "upstream", "soft": true}`, nil)
	s.call("PUT", PathPrefetch, `{"items": ["`+s.origin.URL+`/x"]}`, nil)
	if p := s.prefetched(); p.Items[0].State != PrefetchDone || p.Items[0].HaveBytes != 10 {
		t.Errorf("state %+v", p)
	}
	if asked := s.requests(); len(asked) != 2 || asked[1] != `/x "1"` {
		t.Errorf("the origin was asked %v", asked)
	}
	if how := s.get("/up/x"); !strings.Contains(how, "; hit") {
		t.Errorf("then it is %s", how)
	}
}

func TestPrefetchingShowsHowFarItIs(t *testing.T) {
	s := openSite(t)
	s.central.put("images/a", "aaaa")
	s.central.put("images/b", "bbbbbb")
	s.pull()
	s.central.gate = make(chan struct{})
	s.call("PUT", PathPrefetch, `{"items": ["images/*"]}`, nil)
	var p Prefetch
	eventually(t, func() bool {
		s.call("GET", PathPrefetch, "", &p)
		return p.Items[0].State == PrefetchRunning
	})
	if item := p.Items[0]; !p.Running || item.Files != 2 || item.FilesDone != 0 || item.SizeBytes != 10 || item.HaveBytes != 0 {
		t.Errorf("at first %+v", p)
	}
	s.call("PUT", PathPrefetch, `{"items": []}`, &p)
	close(s.central.gate)
	s.prefetched()
	eventually(t, func() bool { return s.Cache.Stats().Filling == 0 })
	s.wantKeys("images/a") // which was under way; what would have followed is no longer wanted
}

func TestVerifyFindsAndRepairs(t *testing.T) {
	s := filled(t)
	damage := func(name, body string) {
		t.Helper()
		file := filepath.Join(s.dir, "cache", name)
		info, err := os.Stat(file)
		if err == nil {
			err = os.WriteFile(file, []byte(body), 0o600)
		}
		if err == nil {
			err = os.Chtimes(file, info.ModTime(), info.ModTime())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	damage("images/debian/linux", "kernal")
	var v Verify
	if code := s.call("POST", PathVerify, "", &v); code != 202 || v.StartedAt == nil {
		t.Errorf("%d, %+v", code, v)
	}
	eventually(t, func() bool {
		s.call("GET", PathVerify, "", &v)
		return !v.Running
	})
	if v.TotalBytes != 63 || v.CheckedBytes != 63 || v.Corrupt != 1 || v.Repaired != 1 || v.Canceled || v.FinishedAt == nil {
		t.Errorf("checked %+v", v)
	}
	if text, err := os.ReadFile(filepath.Join(s.dir, "cache/images/debian/linux")); err == nil && string(text) != "kernel" {
		t.Errorf("the file is %q, %v", text, err)
	}
	again, err := s.Verify(t.Context(), 0)
	if err != nil || again.Corrupt != 0 || again.CheckedBytes != v.TotalBytes {
		t.Errorf("the second time %+v, %v", again, err)
	}
}
