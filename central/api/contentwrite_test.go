package api

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pureboot/pureboot/central/content"
	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

func TestAFileIsRolledBack(t *testing.T) {
	c := newCentral(t)
	const path = "/api/v1/content/images/linux"
	one := must[wire.File](c, 201, "PUT", path, c.operator, "one")
	if r := c.do("POST", path+"/rollback", c.operator, nil); r.status != 409 {
		t.Errorf("with one version: %d %s", r.status, r.body)
	}
	two := must[wire.File](c, 200, "PUT", path, c.operator, "two")
	back := must[wire.File](c, 200, "POST", path+"/rollback", c.operator, nil, "If-Match", content.ETag(two.SHA256))
	if r := c.do("GET", path, c.viewer, nil); string(r.body) != "one" || back.SHA256 != one.SHA256 || r.header.Get("ETag") != content.ETag(one.SHA256) {
		t.Errorf("rolled back to %+v, it holds %s", back, r.body)
	}
	if r := c.do("POST", path+"/rollback", c.operator, nil, "If-Match", content.ETag(two.SHA256)); r.status != 412 {
		t.Errorf("if it is another: %d", r.status)
	}
	if r := c.do("POST", "/api/v1/content/images/none/rollback", c.operator, nil); r.status != 404 || r.header.Get(wire.HeaderEpoch) == "" {
		t.Errorf("none: %d", r.status)
	}
	if r := c.do("POST", path, c.operator, nil); r.status != 405 || r.header.Get("Allow") == "" {
		t.Errorf("POST of a file: %d", r.status)
	}
	if entries := c.audited("content.rollback"); len(entries) != 1 || entries[0].Subject != "content/images/linux" || !strings.Contains(string(entries[0].After), one.SHA256) {
		t.Errorf("audited: %v", entries)
	}
}

func TestWritesOnCondition(t *testing.T) {
	c := newCentral(t)
	const path = "/api/v1/content/images/linux"
	one := must[wire.File](c, 201, "PUT", path, c.operator, "one", "If-None-Match", "*")
	if r := c.do("PUT", path, c.operator, "two", "If-None-Match", "*"); r.status != 412 {
		t.Errorf("only if there is none: %d", r.status)
	}
	if r := c.do("PUT", path, c.operator, "two", "If-Match", `"x"`); r.status != 412 {
		t.Errorf("if it is another: %d", r.status)
	}
	must[wire.File](c, 200, "PUT", path, c.operator, "two", "If-Match", content.ETag(one.SHA256))
	if r := c.do("DELETE", path, c.operator, nil, "If-Match", content.ETag(one.SHA256)); r.status != 412 {
		t.Errorf("removing another: %d", r.status)
	}
}

func TestAnUploadNamesAllThatIsWrongWithIt(t *testing.T) {
	c := newCentral(t)
	const path = "/api/v1/content/images/a"
	for name, bad := range map[string]struct {
		path    string
		headers []string
		status  int
		fields  string
	}{
		"a name":            {"/api/v1/content/disks/" + strings.Repeat("x", 300) + "/" + strings.Repeat("x", 300) + "%E2%80%AE", nil, 400, "path.category path.path"},
		"a part":            {path, []string{"Content-Range", "bytes 0-3/10", "Content-Encoding", "gzip"}, 400, "header.Content-Range header.Content-Encoding"},
		"digests":           {path + "?x=1", []string{"Repr-Digest", "sha-256=x", "Content-Digest", "sha-256=y"}, 400, "header.Repr-Digest header.Content-Digest query.x"},
		"two digests":       {path, []string{"Repr-Digest", digestOf([]byte("data")), "Content-Digest", digestOf([]byte("x"))}, 400, "header.Content-Digest"},
		"the second digest": {path, []string{"Content-Digest", digestOf([]byte("x"))}, 422, "header.Repr-Digest"},
	} {
		r := c.do("PUT", bad.path, c.operator, "data", bad.headers...)
		if r.status != bad.status {
			t.Errorf("%s: %d %s", name, r.status, r.body)
			continue
		}
		for field := range strings.FieldsSeq(bad.fields) {
			if !r.names(t, field) {
				t.Errorf("%s: %s is not named: %s", name, field, r.body)
			}
		}
	}
	must[wire.File](c, 201, "PUT", path, c.operator, "data", "Content-Digest", digestOf([]byte("data")))
}

func TestWhatIsInUseIsNotRemoved(t *testing.T) {
	c := newCentral(t)
	site := c.site("berlin")
	const path = "/api/v1/content/images/linux"
	must[wire.File](c, 201, "PUT", path, c.operator, "one")
	must[wire.Workflow](c, 201, "POST", "/api/v1/workflows", c.admin, object{"name": "debian", "install_method": "kernel", "kernel": "images/linux"})
	must[object](c, 200, "PUT", "/api/v1/sites/"+site.ID.String()+"/assigned-content", c.operator, object{"content": []string{"images/linux"}})
	r := c.do("DELETE", path, c.operator, nil)
	if detail := r.problem(t).Detail; r.status != 409 || !strings.Contains(detail, "debian") || !strings.Contains(detail, "berlin") {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := c.do("DELETE", path+"?force", c.operator, nil); r.status != 403 {
		t.Errorf("an operator by force: %d", r.status)
	}
	if r := c.do("DELETE", path+"?frce", c.admin, nil); r.status != 400 || !r.names(t, "query.frce") {
		t.Errorf("a typo: %d", r.status)
	}
	if r := c.do("DELETE", path+"?force&purge", c.admin, nil); r.status != 204 {
		t.Errorf("an admin by force: %d %s", r.status, r.body)
	}
	if r := c.do("POST", path+"/rollback", c.operator, nil); r.status != 409 {
		t.Errorf("what was purged came back: %d", r.status)
	}
	if entries := c.audited("content.delete"); len(entries) != 1 || entries[0].Detail != "force&purge" || len(entries[0].Before) == 0 {
		t.Errorf("audited: %v", entries)
	}
}

func TestAssignedContent(t *testing.T) {
	c := newCentral(t)
	site := c.site("berlin")
	agent := c.enrol(site)
	path := "/api/v1/sites/" + site.ID.String() + "/assigned-content"
	for _, name := range []string{"images/a", "images/b"} {
		must[wire.File](c, 201, "PUT", "/api/v1/content/"+name, c.operator, name)
	}
	type list struct{ Items []wire.File }
	empty := c.do("GET", path, c.viewer, nil)
	got := must[list](c, 200, "PUT", path, c.operator, object{"content": []string{"images/b"}}, "If-Match", empty.header.Get("ETag"))
	if len(got.Items) != 1 || got.Items[0].Path != "b" {
		t.Errorf("assigned: %+v", got)
	}
	if r := c.do("PUT", path, c.operator, object{"content": []string{}}, "If-Match", empty.header.Get("ETag")); r.status != 412 {
		t.Errorf("over another list: %d", r.status)
	}
	r := c.do("PUT", path, c.operator, object{"content": []string{"images/a", "images/none", "x"}})
	if r.status != 422 || !r.names(t, "body.content[1]") || !r.names(t, "body.content[2]") {
		t.Errorf("names that cannot be: %d %s", r.status, r.body)
	}
	if got := must[list](c, 200, "GET", path, c.viewer, nil); len(got.Items) != 1 {
		t.Errorf("then assigned: %+v", got)
	}
	manifest := must[wire.Manifest](c, 200, "GET", wire.PathManifest, agent, nil)
	for _, item := range manifest.Items {
		if item.Assigned != (item.Path == "b") {
			t.Errorf("the agent sees %+v", item)
		}
	}
	if r := c.do("GET", "/api/v1/sites/7c9e6679-7425-40de-944b-e07fc1f90ae7/assigned-content", c.viewer, nil); r.status != 404 {
		t.Errorf("no such site: %d", r.status)
	}
	if entries := c.audited("site.assign"); len(entries) != 1 || !strings.Contains(string(entries[0].After), "images/b") {
		t.Errorf("audited: %v", entries)
	}
}

func TestAFileIsVerified(t *testing.T) {
	c := newCentral(t)
	const path = "/api/v1/content/images/linux"
	file := must[wire.File](c, 201, "PUT", path, c.operator, "data")
	if v := must[content.Verdict](c, 200, "POST", path+"/verify", c.operator, nil); !v.Whole || v.SHA256 != file.SHA256 {
		t.Errorf("%+v", v)
	}
	blob := filepath.Join(c.dir, "content", "blobs", file.SHA256[:2], file.SHA256)
	if err := os.WriteFile(blob, []byte("dada"), 0o640); err != nil {
		t.Fatal(err)
	}
	if v := must[content.Verdict](c, 200, "POST", path+"/verify", c.operator, nil); v.Whole || len(v.BadChunks) != 1 {
		t.Errorf("%+v", v)
	}
	if r := c.do("POST", "/api/v1/content/images/none/verify", c.operator, nil); r.status != 404 {
		t.Errorf("none: %d", r.status)
	}
}

func TestContentIsListedByGlobAndCounted(t *testing.T) {
	c := newCentral(t)
	for _, name := range []string{"images/debian-12/linux", "images/debian-13/linux", "images/ubuntu/linux", "scripts/debian"} {
		must[wire.File](c, 201, "PUT", "/api/v1/content/"+name, c.operator, "data")
	}
	page := must[store.Page[wire.File]](c, 200, "GET", "/api/v1/content?glob=images/debian-*/**&limit=1", c.viewer, nil)
	next := must[store.Page[wire.File]](c, 200, "GET", "/api/v1/content?glob=images/debian-*/**&limit=1&cursor="+page.NextCursor, c.viewer, nil)
	if page.Total != 2 || len(page.Items) != 1 || len(next.Items) != 1 || next.Items[0].Path != "debian-13/linux" || next.NextCursor != "" {
		t.Errorf("%+v, %+v", page, next)
	}
	if r := c.do("GET", "/api/v1/content?glob=%5B", c.viewer, nil); r.status != 422 || !r.names(t, "query.glob") {
		t.Errorf("a glob that is none: %d %s", r.status, r.body)
	}
	s := must[content.Status](c, 200, "GET", "/api/v1/content/status", c.viewer, nil)
	if s.Files != 4 || s.Blobs != 1 || s.Bytes != 4 || s.FreeBytes == 0 {
		t.Errorf("status: %+v", s)
	}
}

func TestAFullDiskIs507AndPasses(t *testing.T) {
	c := newCentral(t)
	dir := filepath.Join(c.dir, "content", "tmp")
	if err := syscall.Mount("pureboot-test", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("a small disk needs the right to mount one: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	const path = "/api/v1/content/images/big"
	if r := c.do("PUT", path, c.operator, pattern(2<<20)); r.status != 507 {
		t.Errorf("%d %s", r.status, r.body)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left is %v, %v", left, err)
	}
	if r := c.do("GET", path, c.viewer, nil); r.status != 404 {
		t.Errorf("afterwards it is %d", r.status)
	}
	if err := syscall.Unmount(dir, 0); err != nil {
		t.Fatal(err)
	}
	must[wire.File](c, 201, "PUT", path, c.operator, pattern(2<<20))
	if err := syscall.Mount("pureboot-test", dir, "tmpfs", 0, "size=1m"); err != nil { // for the cleanup
		t.Fatal(err)
	}
}
