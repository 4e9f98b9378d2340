package gateway

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/pureboot/pureboot/agent/content"
)

// prose returns about n bytes of text that compress well.
func prose(n int) []byte {
	var text strings.Builder
	for i := 0; text.Len() < n; i++ {
		fmt.Fprintf(&text, "d-i partman/line-%d string yes\n", i)
	}
	return []byte(text.String())
}

// variantTag is the entity tag of a variant of body.
func variantTag(body []byte, coding string) string {
	return strings.TrimSuffix(etag(body), `"`) + "-" + coding + `"`
}

// store has the site fetch a file whole.
func (s *site) store(t testing.TB, name string) {
	t.Helper()
	category, path, _ := strings.Cut(name, "/")
	f, err := s.Files.Open(t.Context(), category, path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Stored(); err != nil {
		t.Fatal(err)
	}
}

// derived waits until the site has a variant of a file, which it fetches if it must.
func (s *site) derived(t testing.TB, name, coding string) {
	t.Helper()
	s.store(t, name)
	category, path, _ := strings.Cut(name, "/")
	info, _, err := s.Files.Stat(t.Context(), category, path)
	if err != nil {
		t.Fatal(err)
	}
	for range 400 { // each waits for a moment
		if _, ok := s.Files.Variant(t.Context(), info, content.Coding(coding)); ok {
			return
		}
	}
	t.Fatalf("%s never has a variant in %s", name, coding)
}

func decoded(t testing.TB, coding, body string) []byte {
	t.Helper()
	var in io.Reader = strings.NewReader(body)
	switch coding {
	case "zstd":
		d, err := zstd.NewReader(in)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		in = d
	case "gzip":
		d, err := gzip.NewReader(in)
		if err != nil {
			t.Fatal(err)
		}
		in = d
	}
	text, err := io.ReadAll(in)
	if err != nil {
		t.Error(err)
	}
	return text
}

func TestAVariantIsTheFileInAnotherForm(t *testing.T) {
	c := newCentral()
	bodies := map[string][]byte{
		"templates/preseed.cfg": c.file("templates/preseed.cfg", prose(100_000)), "images/info.json": c.file("images/info.json", prose(3<<20)),
		"scripts/late": c.file("scripts/late", prose(2_000)),
	}
	s := startSite(t, c)
	for name, body := range bodies {
		for _, coding := range []string{"zstd", "gzip"} {
			s.derived(t, name, coding)
			r := s.get(t, "/"+name, "Accept-Encoding", coding)
			h := r.Header
			if r.StatusCode != 200 || r.err != nil || h.Get("Content-Encoding") != coding || r.ContentLength != int64(len(r.body)) || len(r.body) > len(body)/2 {
				t.Errorf("%s in %s: answered %d with %d of %d bytes, %v, %v", name, coding, r.StatusCode, len(r.body), r.ContentLength, r.err, h)
			}
			if !bytes.Equal(decoded(t, coding, r.body), body) {
				t.Errorf("%s in %s is another text", name, coding)
			}
			plain := s.get(t, "/"+name, "Accept-Encoding", "identity")
			if h.Get("ETag") != variantTag(body, coding) || h.Get("Vary") != "Accept-Encoding" || h.Get("Repr-Digest") != "" ||
				h.Get("Content-Type") != plain.Header.Get("Content-Type") || h.Get("Last-Modified") != plain.Header.Get("Last-Modified") ||
				!strings.HasPrefix(h.Get("Cache-Status"), "PureBoot; hit") {
				t.Errorf("%s in %s has the headers %v", name, coding, h)
			}
			head := s.do(t, http.MethodHead, "/"+name, "", "Accept-Encoding", coding, "Range", "bytes=0-9")
			if head.StatusCode != 200 || head.ContentLength != r.ContentLength {
				t.Errorf("HEAD of %s in %s: %d, %d bytes", name, coding, head.StatusCode, head.ContentLength)
			}
			for _, key := range []string{"ETag", "Vary", "Content-Encoding", "Content-Type", "Content-Length", "Last-Modified", "Cache-Control", "Accept-Ranges"} {
				if head.Header.Get(key) != h.Get(key) {
					t.Errorf("HEAD of %s in %s says %s: %q, GET %q", name, coding, key, head.Header.Get(key), h.Get(key))
				}
			}
		}
	}
}

// wantIdentity checks an answer with a file's own bytes, from one offset to another.
func wantIdentity(t testing.TB, what string, r reply, body []byte, status, from, to int) {
	t.Helper()
	if r.StatusCode != status || r.err != nil || r.body != string(body[from:to]) || r.ContentLength != int64(to-from) || r.Header.Get("ETag") != etag(body) ||
		r.Header.Get("Content-Encoding") != "" {
		t.Errorf("%s: answered %d with %d bytes, %v, %v", what, r.StatusCode, len(r.body), r.err, r.Header)
	}
}

func TestWhoAsksForNoCodingGetsTheFile(t *testing.T) {
	c := newCentral()
	body := c.file("scripts/late.sh", prose(10_000))
	s := startSite(t, c)
	s.derived(t, "scripts/late.sh", "zstd")
	const ask = "GET /scripts/late.sh HTTP/1.1\r\nHost: x\r\n"
	for what, request := range map[string]string{
		"firmware": ask + "\r\n", "a client of br": ask + "Accept-Encoding: br\r\n\r\n", "a refusal": ask + "Accept-Encoding: *;q=0\r\n\r\n",
		"two lines": ask + "Accept-Encoding: identity\r\nAccept-Encoding: zstd;q=0.1\r\n\r\n",
	} {
		r := s.raw(t, request)
		wantIdentity(t, what, r, body, 200, 0, len(body))
		if r.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s is not told that others get something else: %v", what, r.Header)
		}
	}
}

func TestTheFileItselfIsTheAuthorityForRanges(t *testing.T) {
	c := newCentral()
	body := c.file("scripts/late.sh", prose(10_000))
	s := startSite(t, c)
	s.derived(t, "scripts/late.sh", "zstd")
	get := func(headers ...string) reply {
		return s.get(t, "/scripts/late.sh", append(headers, "Accept-Encoding", "zstd")...)
	}
	wantIdentity(t, "a range", get("Range", "bytes=100-199"), body, 206, 100, 200)
	wantIdentity(t, "a range to resume by the file's tag", get("Range", "bytes=100-", "If-Range", etag(body)), body, 206, 100, len(body))
	wantIdentity(t, "a range to resume by the variant's tag", get("Range", "bytes=100-", "If-Range", variantTag(body, "zstd")), body, 200, 0, len(body))
	if r := get("Range", "bytes=20000-"); r.StatusCode != 416 || r.Header.Get("Content-Encoding") != "" || r.Header.Get("Content-Range") != "bytes */"+strconv.Itoa(len(body)) ||
		r.Header.Get("Vary") != "Accept-Encoding" {
		t.Errorf("a range that is not there: %d, %v", r.StatusCode, r.Header)
	}
	// If-Range says nothing without Range (RFC 9110, section 13.1.5).
	if r := get("If-Range", etag(body)); r.Header.Get("Content-Encoding") != "zstd" {
		t.Errorf("If-Range alone: %d, %v", r.StatusCode, r.Header)
	}
}

func TestConditionsAreAboutTheVariant(t *testing.T) {
	c := newCentral()
	body := c.file("scripts/late.sh", prose(10_000))
	s := startSite(t, c)
	s.derived(t, "scripts/late.sh", "zstd")
	s.derived(t, "scripts/late.sh", "gzip")
	own, zstd, gzip := etag(body), variantTag(body, "zstd"), variantTag(body, "gzip")
	for _, tt := range []struct {
		accept, key, value string
		status             int
		tag                string
	}{
		{"zstd", "If-None-Match", zstd, 304, zstd},
		{"zstd", "If-None-Match", `"old", W/` + zstd, 304, zstd},
		{"gzip", "If-None-Match", gzip, 304, gzip},
		{"identity", "If-None-Match", own, 304, own},
		{"zstd", "If-None-Match", "*", 304, zstd},
		{"zstd", "If-None-Match", own, 200, zstd},
		{"zstd", "If-None-Match", gzip, 200, zstd},
		{"gzip", "If-None-Match", zstd, 200, gzip},
		{"identity", "If-None-Match", zstd, 200, own},
		{"zstd", "If-Match", zstd, 200, zstd},
		{"zstd", "If-Match", `"old"`, 412, zstd},
		{"zstd", "If-Modified-Since", "Fri, 02 Jan 2026 03:04:05 GMT", 304, zstd},
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			r := s.do(t, method, "/scripts/late.sh", "", "Accept-Encoding", tt.accept, tt.key, tt.value)
			if r.StatusCode != tt.status || r.Header.Get("ETag") != tt.tag || r.Header.Get("Vary") != "Accept-Encoding" || r.err != nil {
				t.Errorf("%s %s with %s: %s: answered %d, %v, %v", method, tt.accept, tt.key, tt.value, r.StatusCode, r.Header, r.err)
			}
			if coding := r.Header.Get("Content-Encoding"); tt.status != 200 && (len(r.body) > 0 || r.ContentLength > 0 || coding != "") {
				t.Errorf("%s %s with %s: %s: %d has %d bytes, coding %q", method, tt.accept, tt.key, tt.value, r.StatusCode, len(r.body), coding)
			}
		}
	}
}

// TestVariantsAreCounted: by the answers that hold one, and what these were shorter than the file.
func TestVariantsAreCounted(t *testing.T) {
	c := newCentral()
	body := c.file("scripts/late.sh", prose(10_000))
	s := startSite(t, c)
	s.derived(t, "scripts/late.sh", "zstd")
	s.derived(t, "scripts/late.sh", "gzip")
	var served, saved int64
	for _, headers := range [][]string{
		{"Accept-Encoding", "zstd"},
		{"Accept-Encoding", "gzip"},
		{"Accept-Encoding", "zstd"},
		{"Accept-Encoding", "identity"},
		{"Accept-Encoding", "zstd", "Range", "bytes=0-9"},
		{"Accept-Encoding", "zstd", "If-None-Match", variantTag(body, "zstd")},
		{"Accept-Encoding", "zstd", "If-Match", `"old"`},
	} {
		if r := s.get(t, "/scripts/late.sh", headers...); r.Header.Get("Content-Encoding") != "" {
			served, saved = served+1, saved+int64(len(body)-len(r.body))
		}
		s.do(t, http.MethodHead, "/scripts/late.sh", "", headers...)
	}
	if st := s.Files.VariantStats(); served != 3 || st.Served != served || st.Saved != saved || st.Derived != 2 || st.Entries != 2 {
		t.Errorf("%d served, %d bytes saved: counted %+v", served, saved, st)
	}
}

func TestWhatHasNoVariants(t *testing.T) {
	c := newCentral()
	s := startSite(t, c)
	for name, body := range map[string][]byte{
		"images/debian/linux": prose(50_000), "images/debian/initrd.gz": prose(50_000), "templates/a.cfg.xz": prose(50_000), "scripts/logo.png": prose(50_000),
		"bootloaders/ipxe.efi": prose(50_000), "images/big.txt": prose(8 << 20), "scripts/short": []byte("#!/bin/sh\n"), "scripts/noise": noise(1, 50_000),
	} {
		c.file(name, body)
		s.store(t, name)
		for range 2 {
			r := s.get(t, "/"+name, "Accept-Encoding", "zstd, gzip")
			wantIdentity(t, name, r, body, 200, 0, len(body))
			if vary := r.Header.Get("Vary"); (vary != "") != (name == "scripts/noise") {
				t.Errorf("%s has Vary: %q", name, vary)
			}
		}
	}
	if r := s.get(t, "/boot/"+mac, "Accept-Encoding", "zstd, gzip"); r.Header.Get("Content-Encoding") != "" || r.script(t) == "" {
		t.Errorf("a boot script: %v", r.Header)
	}
}

func TestAColdFileGoesOutAsItArrives(t *testing.T) {
	c := newCentral()
	body := c.file("templates/user-data", prose(1<<20))
	cut := make(chan struct{})
	c.set(func() { c.cut = cut }) // the first chunk comes, and then nothing
	s := startSite(t, c)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.server.URL+"/templates/user-data", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", "zstd")
	res, err := s.server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != 200 || res.Header.Get("Content-Encoding") != "" || res.ContentLength != int64(len(body)) || res.Header.Get("Vary") != "Accept-Encoding" {
		t.Errorf("answered %d, %v", res.StatusCode, res.Header)
	}
	close(cut)
	read(res)
	c.set(func() { c.cut = nil })
	s.derived(t, "templates/user-data", "zstd")
	r := s.get(t, "/templates/user-data", "Accept-Encoding", "zstd")
	if r.Header.Get("Content-Encoding") != "zstd" || !bytes.Equal(decoded(t, "zstd", r.body), body) {
		t.Errorf("afterwards answered %d, %v", r.StatusCode, r.Header)
	}
}

// TestAHerdGetsTheTextInEitherForm: while a variant is being derived the file itself goes out, and what anybody gets is
// what its headers say.
func TestAHerdGetsTheTextInEitherForm(t *testing.T) {
	c := newCentral()
	body := c.file("templates/big.yaml", prose(1<<20))
	s := startSite(t, c)
	s.store(t, "templates/big.yaml")
	var herd sync.WaitGroup
	for i := range 40 {
		accept := []string{"zstd", "gzip", "gzip, zstd;q=0.5", "identity"}[i%4]
		herd.Go(func() {
			r := s.get(t, "/templates/big.yaml", "Accept-Encoding", accept)
			coding, want := r.Header.Get("Content-Encoding"), etag(body)
			if coding != "" {
				want = variantTag(body, coding)
			}
			if r.StatusCode != 200 || !strings.Contains(accept, coding) || r.Header.Get("ETag") != want || r.ContentLength != int64(len(r.body)) ||
				!bytes.Equal(decoded(t, coding, r.body), body) {
				t.Errorf("who accepts %s is answered %d, %v", accept, r.StatusCode, r.Header)
			}
		})
	}
	herd.Wait()
}
