package gateway

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestWantReprDigest(t *testing.T) {
	for _, tt := range []struct {
		rule   string // of RFC 9530, or of RFC 9651
		fields []string
		want   bool
	}{
		{"nothing is asked for", nil, false},
		{"9530, 4: a weight from 1 to 10", []string{"sha-256=1"}, true},
		{"9530, 4: a weight from 1 to 10", []string{"sha-512=3, sha-256=10, unixsum=0"}, true},
		{"9530, 4: 0 is not acceptable", []string{"sha-256=0, sha-512=5"}, false},
		{"9530, 4: others only", []string{"sha-512=5"}, false},
		{"9530, 4: more than 10 is malformed", []string{"sha-256=11"}, false},
		{"9651, 3.2: without a value it is a boolean", []string{"sha-256"}, false},
		{"9651, 3.2: the last of a key counts", []string{"sha-256=0, sha-256=5"}, true},
		{"9651, 3.2: lines are one dictionary", []string{"sha-256=5", "sha-256=0"}, false},
		{"9651, 3.2: keys are lower-case", []string{"SHA-256=5"}, false},
		{"9651, 3.1.2: parameters", []string{"sha-256=5;x=1"}, true},
		{"9651, 3.3.1: an integer", []string{"sha-256=0.5"}, false},
		{"9651, 3.3.1: an integer", []string{"sha-256=-1"}, false},
		{"9651, 3.3.1: an integer", []string{"sha-256=:YQ==:"}, false},
		{"white space", []string{" \tsha-256=5\t ,"}, true},
	} {
		if got := prefersSHA256(tt.fields); got != tt.want {
			t.Errorf("%s: %q: %t", tt.rule, tt.fields, got)
		}
	}
}

func FuzzWantReprDigest(f *testing.F) {
	for _, seed := range []string{"", "sha-256=1", "sha-512=3, sha-256=10;x", "sha-256,=", "sha-256=5, sha-256"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, field string) {
		got := prefersSHA256([]string{field})
		if got && !strings.Contains(field, "sha-256=") {
			t.Errorf("%q asks for a digest", field)
		}
		if prefersSHA256([]string{field, "sha-256=0"}) || !prefersSHA256([]string{field, "sha-256=1"}) {
			t.Errorf("after %q the last word does not count", field)
		}
		if split := prefersSHA256(strings.Split(field, ",")); split != got {
			t.Errorf("%q: %t, and %t on lines of its own", field, got, split)
		}
	})
}

// TestReprDigest: the digest is that of the whole file, whatever part or form of it is sent, and goes with nothing else.
func TestReprDigest(t *testing.T) {
	c := newCentral()
	body := c.file("templates/preseed.cfg", prose(600_000))
	s := startSite(t, c)
	s.derived(t, "templates/preseed.cfg", "zstd")
	digest := reprDigest(sha256.Sum256(body))
	if want := fmt.Sprintf("%x", sha256.Sum256(body)); etag(body) != `"`+want+`"` {
		t.Fatal(want)
	}
	const want, no = "sha-256=5", ""
	for _, tt := range []struct {
		what, method, want string
		headers            []string
		status             int
		digest             string
	}{
		{"who does not ask", "GET", no, nil, 200, ""},
		{"who asks for another", "GET", "sha-512=5", nil, 200, ""},
		{"who asks", "GET", want, nil, 200, digest},
		{"HEAD", "HEAD", no, nil, 200, digest},
		{"HEAD of who asks", "HEAD", want, nil, 200, digest},
		{"a range", "GET", want, []string{"Range", "bytes=5-9"}, 206, digest},
		{"ranges", "GET", want, []string{"Range", "bytes=5-9, 20-29"}, 206, digest},
		{"a range of the same", "GET", want, []string{"Range", "bytes=5-9", "If-Range", etag(body)}, 206, digest},
		{"a range of another", "GET", want, []string{"Range", "bytes=5-9", "If-Range", `"x"`}, 200, digest},
		{"a range that is not there", "GET", want, []string{"Range", "bytes=900000-"}, 416, ""},
		{"who has it", "GET", want, []string{"If-None-Match", etag(body)}, 304, ""},
		{"HEAD of who has it", "HEAD", want, []string{"If-None-Match", etag(body)}, 304, ""},
		{"who has another", "GET", want, []string{"If-Match", `"x"`}, 412, ""},
		{"a variant", "GET", want, []string{"Accept-Encoding", "zstd"}, 200, ""},
		{"HEAD of a variant", "HEAD", want, []string{"Accept-Encoding", "zstd"}, 200, ""},
		{"a range of who takes variants", "GET", want, []string{"Accept-Encoding", "zstd", "Range", "bytes=5-9"}, 206, digest},
	} {
		if tt.want != "" {
			tt.headers = append(tt.headers, "Want-Repr-Digest", tt.want)
		}
		r := s.do(t, tt.method, "/templates/preseed.cfg", "", append([]string{"Accept-Encoding", "identity"}, tt.headers...)...)
		if r.StatusCode != tt.status || r.err != nil || strings.Join(r.Header.Values("Repr-Digest"), ", ") != tt.digest {
			t.Errorf("%s: answered %d, %v, %v", tt.what, r.StatusCode, r.Header, r.err)
		}
	}
	if r := s.do(t, http.MethodHead, "/templates/none", ""); r.StatusCode != 404 || r.Header.Get("Repr-Digest") != "" {
		t.Errorf("what does not exist: %d, %v", r.StatusCode, r.Header)
	}
	cold := c.file("images/cold", noise(3, 700_000))
	if r := s.get(t, "/images/cold", "Want-Repr-Digest", want); r.body != string(cold) || r.Header.Get("Repr-Digest") != reprDigest(sha256.Sum256(cold)) {
		t.Errorf("while it is fetched: %d bytes, %v", len(r.body), r.Header)
	}
}
