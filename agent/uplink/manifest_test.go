package uplink

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pureboot/pureboot/central/wire"
)

func TestAPageIsReadAsItWasWritten(t *testing.T) {
	want := wire.Manifest{
		Epoch: wire.Epoch{Stream: "s", N: 7}, Full: true, Next: "more", Needed: &wire.Needed{Tag: "t", Names: []string{"images/a"}, Globs: []string{"images/*"}},
		Items: []wire.ManifestItem{
			{File: wire.File{Category: "images", Path: "a", Size: 5, SHA256: "ab", Modified: time.Unix(1, 0).UTC()}, Assigned: true},
			{File: wire.File{Category: "images", Path: "b"}, Removed: true},
		},
	}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got manifestPage
	if err := json.Unmarshal(text, &got); err != nil || !reflect.DeepEqual(got.Manifest, want) {
		t.Errorf("read %+v, %v", got.Manifest, err)
	}
	if err := json.Unmarshal([]byte(`{"epoch":{"stream":"s","n":7},"items":null,"unknown":[1]}`), &got); err != nil || got.Epoch.N != 7 {
		t.Errorf("read %+v, %v", got.Manifest, err)
	}
}

func TestAPageThatIsTooLarge(t *testing.T) {
	for says, text := range map[string]string{
		"more than 50000 files":        `{"items":[` + strings.Repeat("{},", maxItems) + `{}]}`,
		"list of what workflows name":  `{"needed":{"names":["` + strings.Repeat("x", maxList) + `"]}}`,
		"items are no list":            `{"items":{"a":1}}`,
		"cannot unmarshal string into": `{"items":["a"]}`,
	} {
		var p manifestPage
		if err := json.Unmarshal([]byte(text), &p); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.40s: %v, want %s", text, err, says)
		}
		if len(p.Items) > maxItems {
			t.Errorf("%.40s: %d items are in memory", text, len(p.Items))
		}
	}
}

// FuzzPage holds that a page is read as encoding/json reads it, or refused, and that it never takes more than its bound.
func FuzzPage(f *testing.F) {
	for _, seed := range []string{
		`{"epoch":{"stream":"s","n":1},"full":true,"items":[{"category":"images","path":"a","size":1,"sha256":"ab"}],"next":"x"}`,
		`{"items":[{},{}],"needed":{"tag":"t","names":["images/a"]}}`, `{"items":null}`, `{"items":[`, `[]`, `{"items":[1]}`, `{"items":[],"items":[{}]}`, `null`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var got manifestPage
		err := json.Unmarshal(text, &got)
		var want wire.Manifest
		wantErr := json.Unmarshal(text, &want)
		if err == nil && wantErr != nil {
			t.Fatalf("it is taken, and is none: %v", wantErr)
		}
		if len(got.Items) > maxItems {
			t.Fatalf("%d items", len(got.Items))
		}
		if err != nil || strings.Count(strings.ToLower(string(text)), `"items"`) > 1 || strings.Contains(string(text), `\u`) {
			return // of a key that is there twice the two may choose otherwise
		}
		if len(got.Items) != len(want.Items) || got.Epoch != want.Epoch || got.Next != want.Next || got.Full != want.Full {
			t.Fatalf("read %+v, want %+v", got.Manifest, want)
		}
	})
}
