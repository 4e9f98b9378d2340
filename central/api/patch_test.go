package api

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/inherit"
	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
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

// What a patch does, it does once; it leaves alone what it does not name, and what it clears is gone.
func FuzzMerge(f *testing.F) {
	for _, seed := range [][2]string{
		{`{"a":"b"}`, `{"a":null}`}, {`{"a":{"b":1,"c":2}}`, `{"a":{"b":null,"d":{"e":null}}}`}, {`{"a":[{"b":null}]}`, `{"a":{"b":3}}`}, {`{"a":null}`, `{"":{}}`},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, target, patch string) {
		decode := func(text string) map[string]any {
			var v map[string]any
			if json.Unmarshal([]byte(text), &v) != nil || v == nil {
				t.Skip()
			}
			return v
		}
		once := merge(decode(target), decode(patch))
		if again := merge(merge(decode(target), decode(patch)), decode(patch)); !reflect.DeepEqual(once, again) {
			t.Fatalf("%s with %s is %v, and with it again %v", target, patch, once, again)
		}
		was, named := decode(target), decode(patch)
		for name, value := range was {
			if _, touched := named[name]; !touched && !reflect.DeepEqual(once[name], value) {
				t.Fatalf("%s with %s changed %q", target, patch, name)
			}
		}
		for name, value := range once {
			_, before := was[name]
			change, touched := named[name]
			if !before && !touched || touched && value == nil {
				t.Fatalf("%s with %s has %q as %v", target, patch, name, value)
			}
			if _, below := change.(map[string]any); touched && !below && !reflect.DeepEqual(value, change) {
				t.Fatalf("%s with %s has %q as %v", target, patch, name, value)
			}
		}
	})
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

func FuzzSitePatch(f *testing.F) {
	a, err := build(Options{Version: "test"})
	if err != nil {
		f.Fatal(err)
	}
	check := func(g *store.GroupSpec) []wire.ProblemField { return checkGroup(g, true) }
	p := newPatches(a, check)
	parent, limited := uuid.New(), "limited"
	site := store.GroupSpec{
		Name: "a", Description: "b", ParentID: &parent, Params: map[string]string{"a": "b"},
		Settings: inherit.Settings{AutonomyLevel: &limited, CachePatterns: []string{"images/**"}, DiscoveryConfig: map[string]string{"zone": "x"}},
	}
	for _, seed := range []string{
		`{}`, `{"name":"b"}`, `{"name":null}`, `{"parent_id":null}`, `{"parent_id":"x"}`, `{"params":{"a":null,"b":"c"}}`, `{"params":null,"autonomy_level":null}`,
		`{"autonomy_level":"full","cache_patterns":[]}`, `{"cache_patterns":null}`, `{"cache_patterns":[null]}`, `{"discovery_config":{"zone":null}}`,
		`{"sync_schedule":"* * * * *"}`, `{"sync_schedule":"99 * * * *"}`, `{"agent_url":"http://a@b"}`, `{"Name":"b"}`, `{"heartbeat_seconds":1e3}`,
		`{"heartbeat_seconds":1.5}`, `{"is_site":false}`, `{"path":"/"}`, `{"effective":{}}`, `{"params":{"a":{"b":null}}}`, `{"description":"a\u0000"}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var patch map[string]any
		if json.Unmarshal([]byte(text), &patch) != nil {
			return
		}
		got, err := p.apply(site, patch)
		if err != nil {
			if invalid, ok := err.(*store.Invalid); !ok || len(invalid.Fields) == 0 {
				t.Fatalf("%s: %v", text, err)
			}
			return
		}
		if found := check(&got); len(found) > 0 {
			t.Fatalf("%s passed and yet: %v", text, found)
		}
		was, is := fieldsOf(t, site), fieldsOf(t, got)
		for name := range is {
			value, named := patch[name]
			if !named && !reflect.DeepEqual(was[name], is[name]) {
				t.Fatalf("%s changed %s from %v to %v", text, name, was[name], is[name])
			}
			if named && value == nil && is[name] != nil {
				t.Fatalf("%s left %s at %v", text, name, is[name])
			}
		}
	})
}

// fieldsOf returns a resource as its fields in JSON.
func fieldsOf(t *testing.T, v any) map[string]any {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		t.Fatal(err)
	}
	return fields
}
