package cache

import (
	"encoding/json"
	"path/filepath"
	"testing"
	"time"
)

// FuzzParseRecord shows that whatever lies in .meta, a record names only a place for objects.
func FuzzParseRecord(f *testing.F) {
	o := newOrigin(1, ChunkSize+1)
	for _, path := range []string{"a/b", "a%dir/b%file", "../b", ".meta/00/x", "a/b%more"} {
		data, err := json.Marshal(newRecord("a/b", path, o.obj, time.Unix(1, 2)))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"key":"..","path":".."}`))
	f.Add([]byte(`{"size":-1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseRecord(data)
		if err != nil {
			return
		}
		if !filepath.IsLocal(r.Path) || isOurs(r.Path) || r.Key.Validate() != nil || r.object().Validate() != nil {
			t.Errorf("accepted %+v", r)
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseRecord(again); err != nil {
			t.Errorf("%s does not come back: %v", again, err)
		}
	})
}
