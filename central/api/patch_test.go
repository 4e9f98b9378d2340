package api

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/store"
)

// TestMergeIsThatOfTheRFC runs the cases of RFC 7396, appendix A, whose target and patch are objects.
func TestMergeIsThatOfTheRFC(t *testing.T) {
	for _, c := range [][3]string{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`{"e":null}`, `{"a":1}`, `{"e":null,"a":1}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
	} {
		var doc, patch, want map[string]any
		for i, into := range []*map[string]any{&doc, &patch, &want} {
			if err := json.Unmarshal([]byte(c[i]), into); err != nil {
				t.Fatal(err)
			}
		}
		if got := merge(doc, patch); !reflect.DeepEqual(got, want) {
			t.Errorf("%s with %s: %v, want %s", c[0], c[1], got, c[2])
		}
	}
}

func FuzzNodePatch(f *testing.F) {
	a, err := build(Options{Version: "test"})
	if err != nil {
		f.Fatal(err)
	}
	p := newPatches(a, (*store.NodeSpec).Check)
	site := uuid.New()
	node := store.NodeSpec{MACAddress: "52:54:00:00:00:01", HomeSiteID: &site, Params: map[string]string{"a": "b"}, Tags: []string{"x"}}
	node.Check()
	for _, seed := range []string{
		`{}`, `{"mac_address":"5254.0000.0002"}`, `{"params":{"a":null,"b":"c"}}`, `{"params":null,"home_site_id":null}`, `{"interfaces":[{"mac_address":1}]}`,
		`{"interfaces":[{"mac_address":"52:54:00:00:00:09","name":"x"}],"tags":["a","a"]}`, `{"hostname":"a\nb"}`, `{"Hostname":"a"}`, `{"params":{"a":{"b":{}}}}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var patch map[string]any
		if json.Unmarshal([]byte(text), &patch) != nil {
			return
		}
		got, err := p.apply(node, patch)
		if err != nil {
			if _, ok := err.(*store.Invalid); !ok || err.Error() == "" {
				t.Fatalf("%s: %v", text, err)
			}
			return
		}
		if found := got.Check(); len(found) > 0 {
			t.Fatalf("%s passed and yet: %v", text, found)
		}
		for name, touched := range map[string]bool{
			"vendor": got.Vendor != "", "hostname": got.Hostname != "", "home_site_id": got.HomeSiteID == nil || *got.HomeSiteID != site,
			"mac_address": got.MACAddress != node.MACAddress,
		} {
			if _, named := patch[name]; touched && !named {
				t.Fatalf("%s changed %s", text, name)
			}
		}
	})
}
