package api

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/pureboot/pureboot/central/wire"
)

// prose returns about n bytes of text that compress well.
func prose(n int) []byte {
	var text strings.Builder
	for i := 0; text.Len() < n; i++ {
		fmt.Fprintf(&text, "d-i partman/line-%d string yes\n", i)
	}
	return []byte(text.String())
}

// encoded waits until a file has a form, and returns it.
func (c *central) encoded(path, token string) reply {
	c.t.Helper()
	for began := time.Now(); time.Since(began) < 20*time.Second; {
		if r := c.do("GET", path, token, nil, "Accept-Encoding", "zstd"); r.header.Get("Content-Encoding") != "" {
			return r
		}
	}
	c.t.Fatal("never encoded")
	return reply{}
}

func unzstd(t *testing.T, coded []byte) []byte {
	t.Helper()
	decoder, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer decoder.Close()
	text, err := decoder.DecodeAll(coded, nil)
	if err != nil {
		t.Error(err)
	}
	return text
}

func TestAnAgentGetsTheSmallerForm(t *testing.T) {
	c := newCentral(t)
	const path = "/api/v1/content/templates/preseed.cfg"
	data := prose(100_000)
	file := must[wire.File](c, 201, "PUT", path, c.operator, data)
	agent := c.enrol(c.site("oslo"))
	own, variant := `"`+file.SHA256+`"`, `"`+file.SHA256+`-zstd"`

	form := c.encoded(path, agent)
	h := form.header
	if form.status != 200 || !bytes.Equal(unzstd(t, form.body), data) || len(form.body) > len(data)/2 {
		t.Errorf("answered %d with %d bytes", form.status, len(form.body))
	}
	if h.Get("Content-Encoding") != "zstd" || h.Get("ETag") != variant || h.Get("Repr-Digest") != digestOf(form.body) ||
		h.Get("Content-Length") != strconv.Itoa(len(form.body)) || h.Get("Content-Type") != "application/octet-stream" || h.Get(wire.HeaderEpoch) == "" {
		t.Errorf("headers %v", h)
	}
	admin := c.do("GET", path, c.viewer, nil, "Accept-Encoding", "zstd")
	if admin.status != 200 || admin.header.Get("ETag") != own || !bytes.Equal(admin.body, data) {
		t.Errorf("an administrator: %d, %v", admin.status, admin.header)
	}
	for _, tt := range []struct {
		what    string
		headers []string
		status  int
		zstd    bool
		from    int
	}{
		{"an older agent", nil, 200, false, 0},
		{"an older agent, which knows one tag", []string{"If-Match", own}, 200, false, 0},
		{"who knows one tag and takes zstd", []string{"Accept-Encoding", "zstd", "If-Match", own}, 200, false, 0},
		{"an agent", []string{"Accept-Encoding", "zstd", "If-Match", own + ", " + variant}, 200, true, 0},
		{"an agent with an old version", []string{"Accept-Encoding", "zstd", "If-Match", `"aa", "aa-zstd"`}, 412, false, 0},
		{"any version", []string{"Accept-Encoding", "zstd", "If-Match", "*"}, 200, true, 0},
		{"who prefers the file", []string{"Accept-Encoding", "identity, zstd;q=0.5"}, 200, false, 0},
		{"who refuses it", []string{"Accept-Encoding", "gzip, zstd;q=0"}, 200, false, 0},
		{"who takes anything", []string{"Accept-Encoding", "*"}, 200, true, 0},
		{"a range", []string{"Accept-Encoding", "zstd", "Range", "bytes=90000-"}, 206, false, 90_000},
		{"what is resumed by the file's tag", []string{"Accept-Encoding", "zstd", "Range", "bytes=90000-", "If-Range", own}, 206, false, 90_000},
		{"what is resumed by the form's tag", []string{"Accept-Encoding", "zstd", "Range", "bytes=90000-", "If-Range", variant}, 200, false, 0},
		{"a range that is not there", []string{"Accept-Encoding", "zstd", "Range", "bytes=900000-"}, 416, false, 0},
		{"who has the form", []string{"Accept-Encoding", "zstd", "If-None-Match", variant}, 304, true, 0},
		{"who has the file", []string{"If-None-Match", own}, 304, false, 0},
		{"who has the file and takes the form", []string{"Accept-Encoding", "zstd", "If-None-Match", own}, 200, true, 0},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			if method == "HEAD" && tt.from > 0 {
				continue // only GET has ranges
			}
			r := c.do(method, path, agent, nil, tt.headers...)
			whole, tag, coding := data, own, ""
			if tt.zstd {
				whole, tag, coding = form.body, variant, "zstd"
			}
			want := whole[tt.from:]
			if r.status != tt.status || r.header.Get("Vary") != "Accept-Encoding" {
				t.Errorf("%s %s: answered %d, %v", method, tt.what, r.status, r.header)
				continue
			}
			switch r.status {
			case 200, 206:
				if r.header.Get("ETag") != tag || r.header.Get("Content-Encoding") != coding || r.header.Get("Content-Length") != strconv.Itoa(len(want)) ||
					r.header.Get("Repr-Digest") != digestOf(whole) {
					t.Errorf("%s %s: %v", method, tt.what, r.header)
				}
				if method == "GET" && !bytes.Equal(r.body, want) {
					t.Errorf("%s: %d bytes", tt.what, len(r.body))
				}
			case 304:
				if r.header.Get("ETag") != tag || len(r.body) > 0 {
					t.Errorf("%s %s: %v", method, tt.what, r.header)
				}
			default:
				if r.header.Get("Content-Encoding") != "" || r.header.Get("Repr-Digest") != "" {
					t.Errorf("%s %s: a problem with %v", method, tt.what, r.header)
				}
			}
		}
	}
}

// TestANewVersionHasAFormOfItsOwn: a form is found by the digest of the file, not by its name.
func TestANewVersionHasAFormOfItsOwn(t *testing.T) {
	c := newCentral(t)
	const path = "/api/v1/content/templates/preseed.cfg"
	agent := c.enrol(c.site("oslo"))
	for n := range 3 {
		data := prose(50_000 + n*1000)
		c.do("PUT", path, c.operator, data)
		if form := c.encoded(path, agent); !bytes.Equal(unzstd(t, form.body), data) {
			t.Errorf("version %d: another text", n)
		}
	}
}

func TestWhatIsCompressedGoesOutAsItIs(t *testing.T) {
	c := newCentral(t)
	const path = "/api/v1/content/images/initrd.gz"
	form := must[wire.File](c, 201, "PUT", path, c.operator, noise(300_000))
	agent := c.enrol(c.site("oslo"))
	for range 3 {
		r := c.do("GET", path, agent, nil, "Accept-Encoding", "zstd")
		if r.status != http.StatusOK || int64(len(r.body)) != form.Size || r.header.Get("Content-Encoding") != "" || r.header.Get("ETag") != `"`+form.SHA256+`"` {
			t.Errorf("answered %d with %d bytes, %v", r.status, len(r.body), r.header)
		}
	}
}

func noise(n int) []byte {
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(data)
	return data
}
