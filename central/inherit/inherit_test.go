package inherit

import (
	"encoding/json"
	"maps"
	"reflect"
	"testing"
)

func TestWhatNobodySetsIsTheDefault(t *testing.T) {
	got, err := json.Marshal(Resolve(nil))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"default_workflow_id":{"value":"","from":"default"},"auto_provision":{"value":false,"from":"default"},` +
		`"autonomy_level":{"value":"readonly","from":"default"},"conflict_resolution":{"value":"central_wins","from":"default"},` +
		`"cache_policy":{"value":"minimal","from":"default"},"cache_patterns":{"value":[],"from":"default"},` +
		`"cache_max_size_gb":{"value":50,"from":"default"},"cache_retention_days":{"value":30,"from":"default"},` +
		`"discovery_method":{"value":"dhcp","from":"default"},"discovery_config":{"value":{},"from":"default"},` +
		`"migration_policy":{"value":"manual","from":"default"},"sync_schedule":{"value":"0 2 * * *","from":"default"},` +
		`"sync_max_mb_per_s":{"value":0,"from":"default"},"heartbeat_seconds":{"value":60,"from":"default"},"params":{}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestEverySettingInherits sets each field in turn on the middle one of three groups, by reflection, so that a field
// that is added and forgotten in Resolve fails here.
func TestEverySettingInherits(t *testing.T) {
	settings, effective := reflect.TypeFor[Settings](), reflect.TypeFor[Effective]()
	if settings.NumField()+1 != effective.NumField() { // params, which merge
		t.Fatalf("%d settings, %d in effect", settings.NumField(), effective.NumField())
	}
	for i := range settings.NumField() {
		name := settings.Field(i).Name
		chain := []Group{{ID: "leaf"}, {ID: "middle"}, {ID: "root"}}
		middle, root := marked(settings.Field(i).Type, 1), marked(settings.Field(i).Type, 2)
		reflect.ValueOf(&chain[1].Settings).Elem().Field(i).Set(middle)
		reflect.ValueOf(&chain[2].Settings).Elem().Field(i).Set(root)

		for from, want := range map[string]struct {
			chain []Group
			value reflect.Value
		}{"middle": {chain, middle}, "root": {chain[2:], root}} {
			got := reflect.ValueOf(Resolve(want.chain)).FieldByName(name)
			if !got.IsValid() {
				t.Fatalf("%s: is not among the settings in effect", name)
			}
			if id := got.FieldByName("From").String(); id != from {
				t.Errorf("%s: from %s, want %s", name, id, from)
			}
			if value := reflect.Indirect(want.value); !reflect.DeepEqual(got.FieldByName("Value").Interface(), value.Interface()) {
				t.Errorf("%s: %v, want %v", name, got.FieldByName("Value"), value)
			}
			for j := range settings.NumField() {
				other := reflect.ValueOf(Resolve(want.chain)).Field(j).FieldByName("From").String()
				if effective.Field(j).Name != name && other != Default {
					t.Errorf("%s: also set %s", name, effective.Field(j).Name)
				}
			}
		}
	}
}

// marked returns a value of a setting's type, another for each n.
func marked(t reflect.Type, n int) reflect.Value {
	switch t.Kind() {
	case reflect.Pointer:
		p := reflect.New(t.Elem())
		switch p.Elem().Kind() {
		case reflect.Bool:
			p.Elem().SetBool(n == 1)
		case reflect.Int:
			p.Elem().SetInt(int64(n))
		default:
			p.Elem().SetString(string(rune('a' + n)))
		}
		return p
	case reflect.Slice:
		return reflect.ValueOf(make([]string, n))
	default:
		return reflect.ValueOf(map[string]string{"n": string(rune('a' + n))})
	}
}

func TestAnEmptyListOverridesALongOne(t *testing.T) {
	chain := []Group{{ID: "leaf", Settings: Settings{CachePatterns: []string{}}}, {ID: "root", Settings: Settings{CachePatterns: []string{"*"}}}}
	if got := Resolve(chain).CachePatterns; got.From != "leaf" || len(got.Value) != 0 {
		t.Errorf("got %v", got)
	}
}

func TestParamsMergeKeyByKey(t *testing.T) {
	site := []Group{{ID: "site", Params: map[string]string{"a": "site", "b": "site"}}, {ID: "region", Params: map[string]string{"a": "region", "z": "region"}}}
	group := []Group{{ID: "group", Params: map[string]string{"b": "group", "c": "group"}}}
	workflow := map[string]string{"c": "workflow", "d": "workflow"}
	own := map[string]string{"d": "own"}

	got := NodeParams(site, group, workflow, own)
	want := map[string]string{"z": "region", "a": "site", "b": "group", "c": "workflow", "d": "own"}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	from := map[string]string{"z": "region", "a": "site", "b": "group", "c": OfWorkflow, "d": OfNode}
	for name, value := range NodeOrigins(site, group, workflow, own) {
		if value.Value != want[name] || value.From != from[name] {
			t.Errorf("%s is %q from %s, want %q from %s", name, value.Value, value.From, want[name], from[name])
		}
		delete(from, name)
	}
	if len(from) > 0 {
		t.Errorf("no origin of %v", from)
	}
	if site[0].Params["b"] != "site" || workflow["c"] != "workflow" {
		t.Error("merging changed what it read")
	}
	if got := NodeParams(nil, nil, nil, nil); got == nil || len(got) != 0 {
		t.Errorf("of nothing: %v, want an empty map", got)
	}
}

func TestParamsSayWhereEachComesFrom(t *testing.T) {
	chain := []Group{
		{ID: "site", Params: map[string]string{"a": "", "b": "site"}},
		{ID: "region", Params: map[string]string{"a": "region", "c": "region"}},
		{ID: "root", Params: map[string]string{"c": "root", "d": "root"}},
	}
	want := map[string]Value[string]{
		"a": {"", "site"}, "b": {"site", "site"}, "c": {"region", "region"}, "d": {"root", "root"},
	}
	got := Resolve(chain).Params
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for name, value := range Params(chain) {
		if got[name].Value != value {
			t.Errorf("%s is %q in effect and %q for nodes", name, got[name].Value, value)
		}
	}
}

func TestWhatMakesNodesBootOtherwise(t *testing.T) {
	workflow := func(s string) Settings { return Settings{DefaultWorkflowID: &s} }
	policy := "mirror"
	base := []Group{{ID: "site", Settings: workflow("w"), Params: map[string]string{"a": "1"}}}
	for name, c := range map[string]struct {
		chain []Group
		same  bool
	}{
		"the same from elsewhere": {[]Group{{ID: "site"}, {ID: "region", Settings: workflow("w"), Params: map[string]string{"a": "1"}}}, true},
		"a setting of the agent":  {[]Group{{ID: "site", Settings: Settings{CachePolicy: &policy}}, base[0]}, true},
		"another workflow":        {[]Group{{ID: "site", Settings: workflow("v")}, base[0]}, false},
		"another value":           {[]Group{{ID: "site", Params: map[string]string{"a": "2"}}, base[0]}, false},
		"one more":                {[]Group{{ID: "site", Params: map[string]string{"b": ""}}, base[0]}, false},
		"one less":                {[]Group{{ID: "site", Settings: workflow("w")}}, false},
	} {
		if got := SameBoot(Resolve(base), Resolve(c.chain)); got != c.same {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestWhichWorkflowANodeRuns(t *testing.T) {
	id := func(s string) Settings { return Settings{DefaultWorkflowID: &s} }
	site := []Group{{ID: "site"}, {ID: "region", Settings: id("of the region")}}
	group := []Group{{ID: "group"}, {ID: "parent", Settings: id("of the parent")}}
	for _, c := range []struct {
		name, own   string
		group, site []Group
		want, from  string
	}{
		{"its own", "own", group, site, "own", OfNode},
		{"its group's", "", group, site, "of the parent", "parent"},
		{"its site's", "", group[:1], site, "of the region", "region"},
		{"no group", "", nil, site, "of the region", "region"},
		{"none", "", group[:1], site[:1], "", Default},
		{"nothing at all", "", nil, nil, "", Default},
	} {
		if got := WorkflowOrigin(c.own, c.group, c.site); got.Value != c.want || got.From != c.from {
			t.Errorf("%s: %v, want %q from %s", c.name, got, c.want, c.from)
		}
		if got := Workflow(c.own, c.group, c.site); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
