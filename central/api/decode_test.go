package api

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestANameIsThereOnce(t *testing.T) {
	for text, name := range map[string]string{
		`{"a":1,"b":{"a":1},"c":[{"a":1},{"a":1}]}`: "",
		`{"a":1,"A":2,"":3}`:                        "",
		`[1,"a","a",null,true]`:                     "",
		`"a"`:                                       "",
		`{"a":1,"a":1}`:                             `"a"`,
		`{"a":{"b":[[{"c":1,"d":{},"c":2}]]}}`:      `"c"`,
		`{"a":1,"\u0061":2}`:                        `"a"`,
		`{"":1,"":2}`:                               `""`,
		`[{"a":{}},{"b":1,"b":{"b":1}}]`:            `"b"`,
	} {
		var v any
		err := unmarshal([]byte(text), &v)
		if (err != nil) != (name != "") || err != nil && !strings.Contains(err.Error(), "the name "+name+" ") {
			t.Errorf("%s: %v, want %s", text, err, name)
		}
	}
}

// FuzzUnmarshal holds the reading of bodies to encoding/json: it takes nothing more, and decodes all fields that can be.
func FuzzUnmarshal(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":"x","b":1}`, `{"a":5,"b":7}`, `{"b":7,"a":5,"b":8}`, `{"a":`, `[[[]]]`, `{"b":1e999}`, "{\"a\":\"\xff\"}", strings.Repeat("[", 500)} {
		f.Add(seed)
	}
	type body struct {
		A string `json:"a"`
		B int    `json:"b"`
	}
	f.Fuzz(func(t *testing.T, text string) {
		var first, reference any
		err := unmarshal([]byte(text), &first)
		if failed := json.Unmarshal([]byte(text), &reference); failed != nil && err == nil {
			t.Fatalf("%q was read, and is no JSON: %v", text, failed)
		}
		if err != nil {
			return
		}
		var strict, lenient body
		if failed := json.Unmarshal([]byte(text), &strict); failed == nil {
			if err := unmarshal([]byte(text), &lenient); err != nil || strict != lenient {
				t.Fatalf("%q is %+v, want %+v: %v", text, lenient, strict, err)
			}
		} else if unmarshal([]byte(text), &lenient) == nil {
			t.Fatalf("%q has no fault, want %v", text, failed)
		}
	})
}
