package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pureboot/pureboot/central/content"
	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

type uploaded struct {
	Upload *content.Session
	File   *wire.File
}

func announcement(path string, data []byte) object {
	sum := sha256.Sum256(data)
	return object{"category": "images", "path": path, "size": len(data), "sha256": hex.EncodeToString(sum[:])}
}

// send sends a piece.
func (c *central) send(at string, offset int, data []byte, headers ...string) reply {
	c.t.Helper()
	headers = append([]string{"Upload-Offset", strconv.Itoa(offset), "Content-Type", partialUpload}, headers...)
	return c.do("PATCH", at, c.operator, data, headers...)
}

func TestAnUploadIsContinued(t *testing.T) {
	c := newCentral(t)
	data := pattern(2*wire.ChunkSize + 10)
	created := c.do("POST", pathUploads, c.operator, announcement("debian/linux", data))
	at := created.header.Get("Location")
	if created.status != 201 || created.header.Get("Upload-Offset") != "0" || created.header.Get("Upload-Complete") != "?0" ||
		created.header.Get("Upload-Length") != strconv.Itoa(len(data)) || !strings.HasPrefix(at, pathUploads+"/") {
		t.Fatalf("%d %v %s", created.status, created.header, created.body)
	}

	// The connection stalls in the middle of a piece, and the next request finds what came.
	conn, err := net.Dial("tcp", strings.TrimPrefix(c.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	half := wire.ChunkSize + 5
	fmt.Fprintf(conn, "PATCH %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nUpload-Offset: 0\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n",
		at, c.operator, partialUpload, len(data))
	if _, err := conn.Write(data[:half]); err != nil {
		t.Fatal(err)
	}
	part := filepath.Join(c.dir, "content", "uploads", strings.TrimPrefix(at, pathUploads+"/"))
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		if info, err := os.Stat(part); err == nil && info.Size() >= wire.ChunkSize {
			break
		}
		if time.Since(began) > time.Minute {
			t.Fatal("nothing came")
		}
	}
	head := c.do("HEAD", at, c.operator, nil)
	offset, _ := strconv.Atoi(head.header.Get("Upload-Offset"))
	if head.status != 200 || head.header.Get("Cache-Control") != "no-store" || offset < wire.ChunkSize {
		t.Fatalf("HEAD: %d %v", head.status, head.header)
	}
	if offset > half {
		t.Fatalf("%d bytes are here", offset)
	}
	wrong := c.send(at, offset+1, data[offset+1:])
	if wrong.status != 409 || wrong.header.Get("Upload-Offset") != strconv.Itoa(offset) || !strings.HasSuffix(wrong.problem(t).Type, "#mismatching-upload-offset") {
		t.Errorf("from elsewhere: %d %s", wrong.status, wrong.body)
	}
	more := c.send(at, offset, data[offset:offset+3])
	if more.status != 204 || more.header.Get("Upload-Offset") != strconv.Itoa(offset+3) || more.header.Get("Upload-Complete") != "?0" {
		t.Errorf("a piece: %d %v", more.status, more.header)
	}
	if r := c.do("GET", "/api/v1/content/images/debian/linux", c.viewer, nil); r.status != 404 {
		t.Errorf("half of it is visible: %d", r.status)
	}
	if list := must[store.Page[content.Session]](c, 200, "GET", pathUploads, c.viewer, nil); list.Total != 1 || list.Items[0].CreatedBy != "admin:operator" {
		t.Errorf("listed: %+v", list)
	}
	last := c.send(at, offset+3, data[offset+3:])
	if last.status != 201 || last.header.Get("Upload-Complete") != "?1" || last.header.Get("ETag") == "" || last.header.Get(wire.HeaderEpoch) == "" {
		t.Errorf("the last: %d %v %s", last.status, last.header, last.body)
	}
	if r := c.do("GET", "/api/v1/content/images/debian/linux", c.viewer, nil); !bytes.Equal(r.body, data) {
		t.Errorf("it holds other bytes")
	}
	if r := c.do("HEAD", at, c.operator, nil); r.status != 404 {
		t.Errorf("once done: %d", r.status)
	}
	if puts := c.audited("content.put"); len(puts) != 1 || puts[0].Detail != "created" {
		t.Errorf("audited: %v", puts)
	}
	same := must[uploaded](c, 201, "POST", pathUploads, c.operator, announcement("ubuntu/linux", data))
	if same.Upload != nil || same.File == nil || same.File.Path != "ubuntu/linux" {
		t.Errorf("what central has: %+v", same)
	}
	if got := must[uploaded](c, 200, "POST", pathUploads, c.operator, announcement("ubuntu/linux", data)); got.File == nil {
		t.Errorf("what central has by that name: %+v", got)
	}
}

func TestUploadsThatCannotBe(t *testing.T) {
	c := newCentral(t)
	bad := object{"category": "disks", "path": "../x", "size": -1, "sha256": "x", "more": 1}
	r := c.do("POST", pathUploads, c.operator, bad)
	for _, field := range []string{"body.category", "body.size", "body.sha256", "body.more"} {
		if r.status != 422 || !r.names(t, field) {
			t.Errorf("%s is not named: %d %s", field, r.status, r.body)
		}
	}
	bad = announcement("../x", []byte("data"))
	if r := c.do("POST", pathUploads, c.operator, bad); r.status != 422 || !r.names(t, "body.path") {
		t.Errorf("a path: %d %s", r.status, r.body)
	}
	bad["path"], bad["size"] = "x", int64(1)<<40
	if r := c.do("POST", pathUploads, c.operator, bad); r.status != 507 {
		t.Errorf("more than fits: %d %s", r.status, r.body)
	}
	at := c.do("POST", pathUploads, c.operator, announcement("a", []byte("data"))).header.Get("Location")
	r = c.do("PATCH", at+"?x=1", c.operator, "data", "Upload-Offset", "-1", "Content-Range", "bytes 0-3/4")
	for _, field := range []string{"header.Upload-Offset", "header.Content-Type", "header.Content-Range", "query.x"} {
		if r.status != 400 || !r.names(t, field) {
			t.Errorf("%s is not named: %d %s", field, r.status, r.body)
		}
	}
	if r := c.send(at, 0, []byte("data and more")); r.status != 400 {
		t.Errorf("too long: %d %s", r.status, r.body)
	}
	if r := c.send(at, 0, []byte("dada")); r.status != 422 || !r.names(t, "body") {
		t.Errorf("other bytes: %d %s", r.status, r.body)
	}
	for _, path := range []string{at, pathUploads + "/7c9e6679-7425-40de-944b-e07fc1f90ae7", pathUploads + "/x"} {
		if r := c.send(path, 0, []byte("data")); r.status != 404 {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
	at = c.do("POST", pathUploads, c.operator, announcement("a", []byte("data"))).header.Get("Location")
	if r := c.do("DELETE", at, c.operator, nil); r.status != 204 {
		t.Errorf("cancel: %d", r.status)
	}
	if r := c.do("HEAD", at, c.operator, nil); r.status != 404 {
		t.Errorf("once canceled: %d", r.status)
	}
}
