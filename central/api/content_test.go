package api

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

// pattern is a file of so many bytes, no two chunks of which are alike.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

func TestAFileComesBackAsItWas(t *testing.T) {
	c := newCentral(t)
	const path = "/api/v1/content/images/debian/linux"
	old, data := pattern(1000), pattern(wire.ChunkSize*2+100)

	must[wire.File](c, 201, "PUT", path, c.operator, old, "Repr-Digest", digestOf(old))
	must[wire.File](c, 200, "PUT", path, c.operator, old)
	file := must[wire.File](c, 200, "PUT", path, c.operator, data, "Repr-Digest", "md5=:AAAA:, "+digestOf(data)+";x=1")
	if file.Size != int64(len(data)) || file.Category != "images" || file.Path != "debian/linux" {
		t.Errorf("stored as %+v", file)
	}
	etag := `"` + file.SHA256 + `"`
	epoch, err := c.content.Epoch(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	part := func(r reply, from, to int) bool {
		return r.status == 206 && bytes.Equal(r.body, data[from:to]) &&
			r.header.Get("Content-Range") == fmt.Sprintf("bytes %d-%d/%d", from, to-1, len(data))
	}
	whole := func(r reply) bool { return r.status == 200 && bytes.Equal(r.body, data) }
	get := func(headers ...string) reply { return c.do("GET", path, c.viewer, nil, headers...) }
	for name, good := range map[string]struct {
		reply
		right func(reply) bool
	}{
		"whole":            {get(), whole},
		"from a byte on":   {get("Range", "bytes=262144-"), func(r reply) bool { return part(r, 262144, len(data)) }},
		"a part":           {get("Range", "bytes=10-19"), func(r reply) bool { return part(r, 10, 20) }},
		"the last bytes":   {get("Range", "bytes=-5"), func(r reply) bool { return part(r, len(data)-5, len(data)) }},
		"the same":         {get("If-None-Match", etag), func(r reply) bool { return r.status == 304 && len(r.body) == 0 }},
		"another":          {get("If-None-Match", `"x"`), whole},
		"if it is this":    {get("If-Match", etag, "Range", "bytes=10-19"), func(r reply) bool { return part(r, 10, 20) }},
		"if it is not":     {get("If-Match", `"x"`), func(r reply) bool { return r.status == 412 }},
		"range of this":    {get("If-Range", etag, "Range", "bytes=10-19"), func(r reply) bool { return part(r, 10, 20) }},
		"range of another": {get("If-Range", `"x"`, "Range", "bytes=10-19"), whole},
		"beyond the end":   {get("Range", "bytes=9999999-"), func(r reply) bool { return r.status == 416 }},
		"in other units":   {get("Range", "lines=1-2"), whole},
		"only the head": {c.do("HEAD", path, c.viewer, nil), func(r reply) bool {
			return r.status == 200 && len(r.body) == 0 && r.header.Get("Content-Length") == fmt.Sprint(len(data))
		}},
	} {
		if !good.right(good.reply) {
			t.Errorf("%s: %d with %d bytes, %v", name, good.status, len(good.body), good.header)
		}
		if got := good.header.Get(wire.HeaderEpoch); got != epoch.String() {
			t.Errorf("%s: epoch %q, want %s", name, got, epoch)
		}
		if got := good.header.Get("Cache-Control"); got != "no-cache" {
			t.Errorf("%s: Cache-Control %q", name, got)
		}
		if good.status < 400 && (good.header.Get("ETag") != etag) {
			t.Errorf("%s: ETag %s", name, good.header.Get("ETag"))
		}
		if good.status == 200 && (good.header.Get("Content-Type") != "application/octet-stream" || good.header.Get("Repr-Digest") != digestOf(data)) {
			t.Errorf("%s: %v", name, good.header)
		}
	}

	chunks := must[wire.Chunks](c, 200, "GET", path+"?chunks", c.viewer, nil)
	if len(chunks.Chunks) != 3 || chunks.Epoch != epoch || chunks.SHA256 != file.SHA256 {
		t.Fatalf("chunks: %+v", chunks)
	}
	for i, want := range chunks.Chunks {
		sum := sha256.Sum256(data[i*wire.ChunkSize : min((i+1)*wire.ChunkSize, len(data))])
		if hex.EncodeToString(sum[:]) != want {
			t.Errorf("chunk %d is %s", i, want)
		}
	}

	if r := c.do("DELETE", path, c.operator, nil); r.status != 204 {
		t.Errorf("delete: %d", r.status)
	}
	gone := get()
	if now, _ := c.content.Epoch(t.Context()); gone.status != 404 || gone.header.Get(wire.HeaderEpoch) != now.String() || now.N != epoch.N+1 {
		t.Errorf("once deleted: %d at epoch %s", gone.status, gone.header.Get(wire.HeaderEpoch))
	}
	if r := c.do("DELETE", path, c.operator, nil); r.status != 404 {
		t.Errorf("delete again: %d", r.status)
	}
	if puts, deletes := c.audited("content.put"), c.audited("content.delete"); len(puts) != 3 || len(deletes) != 1 || puts[0].Who != "admin:operator" {
		t.Errorf("audited: %d puts, %d deletes", len(puts), len(deletes))
	}
}

func TestAnUploadThatIsNotWhatItSaysIsNotStored(t *testing.T) {
	c := newCentral(t)
	const path = "/api/v1/content/images/linux"
	before, err := c.content.Epoch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]struct {
		digest string
		status int
	}{
		"another digest": {digestOf([]byte("something else")), 422},
		"too short":      {"sha-256=:AAAA:", 400},
		"no bytes":       {"sha-256=abc", 400},
		"not base64":     {"sha-256=:" + strings.Repeat("*", 44) + ":", 400},
	} {
		r := c.do("PUT", path, c.operator, []byte("data"), "Repr-Digest", bad.digest)
		if r.status != bad.status || !r.names(t, "header.Repr-Digest") {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}

	// A connection that breaks in the middle.
	conn, err := net.Dial("tcp", strings.TrimPrefix(c.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 1000\r\n\r\nonly this", path, c.operator)
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, res.Body)
	res.Body.Close()
	conn.Close()
	if res.StatusCode != 400 || res.Header.Get("Content-Type") != wire.MediaTypeProblem {
		t.Errorf("cut off: %d", res.StatusCode)
	}

	if r := c.do("GET", path, c.viewer, nil); r.status != 404 {
		t.Errorf("afterwards it is there: %d", r.status)
	}
	if after, _ := c.content.Epoch(t.Context()); after != before {
		t.Errorf("the epoch went from %s to %s", before, after)
	}
}

// TestNothingOutsideIsRead sends paths as no client library would.
func TestNothingOutsideIsRead(t *testing.T) {
	c := newCentral(t)
	const secret = "this is not content"
	for _, name := range []string{"secret", "content/secret", "content/blobs/secret"} {
		if err := os.WriteFile(filepath.Join(c.dir, name), []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	must[wire.File](c, 201, "PUT", "/api/v1/content/images/a", c.operator, "a")
	base := "/api/v1/content/"
	for _, target := range []string{
		base + "images/../../secret", base + "images/..", base + "images/./a", base + "images//a", base + "images/",
		base + "images/%2e%2e/%2e%2e/secret", base + "images/%2E./secret", base + "images/..%2f..%2fsecret", base + "images/a%2fb",
		base + "images%2fa", base + "images/%2Fetc%2Fpasswd", base + "images//etc/passwd", base + "images/%5c..%5csecret", base + "images/..\\secret",
		base + "images/a%00", base + "images/%00", base + "images/a%0d%0aX: y", base + "images/%01", base + "images/%ff",
		base + "blobs/secret", base + "../secret", base + "%2e%2e/secret", base + "tmp/x", base + "images", base + "Images/a",
		base + "images/" + strings.Repeat("a", 300), base + "images/" + strings.Repeat("a/", 400) + "a",
		"//api/v1/content/images/a", "/api/v1/../v1/content/images/a", "/api/v1//content/images/a",
		"/../../../../etc/passwd", "/etc/passwd", "*", "http://other/api/v1/content/images/../a",
	} {
		for _, method := range []string{"GET", "HEAD", "PUT", "DELETE"} {
			status, kind, body := c.raw(method, target)
			if status != 400 && status != 404 && status != 405 {
				t.Errorf("%s %.80s: %d", method, target, status)
			}
			if strings.Contains(body, secret) || strings.Contains(body, "root:") {
				t.Errorf("%s %.80s: read %q", method, target, body)
			}
			if kind != wire.MediaTypeProblem && target != "*" && !strings.Contains(target, " ") {
				t.Errorf("%s %.80s: %d as %s", method, target, status, kind)
			}
		}
	}
	if list := must[store.Page[wire.File]](c, 200, "GET", "/api/v1/content", c.viewer, nil); list.Total != 1 {
		t.Errorf("there are %d files now", list.Total)
	}
}

// raw sends a request line as it is.
func (c *central) raw(method, target string) (status int, contentType, body string) {
	c.t.Helper()
	u, _ := url.Parse(c.url)
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		c.t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", method, target, c.admin)
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, target, err)
	}
	defer res.Body.Close()
	all, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return res.StatusCode, res.Header.Get("Content-Type"), string(all)
}

func TestContentIsListedInPages(t *testing.T) {
	c := newCentral(t)
	for _, name := range []string{"images/b", "images/a/1", "images/a/2", "bootloaders/ipxe.efi"} {
		must[wire.File](c, 201, "PUT", "/api/v1/content/"+name, c.operator, name)
	}
	list := func(query string) (names []string) {
		cursor := ""
		for {
			page := must[store.Page[wire.File]](c, 200, "GET", "/api/v1/content?"+query+"&limit=2&cursor="+url.QueryEscape(cursor), c.viewer, nil)
			for _, f := range page.Items {
				names = append(names, f.Category+"/"+f.Path)
			}
			if cursor = page.NextCursor; cursor == "" {
				return names
			}
		}
	}
	for query, want := range map[string]string{
		"":                           "[bootloaders/ipxe.efi images/a/1 images/a/2 images/b]",
		"category=images":            "[images/a/1 images/a/2 images/b]",
		"category=images&prefix=a/":  "[images/a/1 images/a/2]",
		"category=scripts":           "[]",
		"prefix=ipxe&category=":      "[bootloaders/ipxe.efi]",
		"category=images&prefix=%25": "[]",
	} {
		if got := fmt.Sprint(list(query)); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
}

func FuzzReprDigest(f *testing.F) {
	for _, seed := range []string{digestOf(nil), "sha-256=:", "md5=:AAAA:," + digestOf([]byte("x")), "sha-256=::;", ",,=", "sha-256"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		sum, fault := sha256Of([]string{header})
		if fault == "" && sum != nil && !strings.Contains(header, base64.StdEncoding.EncodeToString(sum[:])) {
			t.Errorf("%q became %x", header, sum)
		}
	})
}
