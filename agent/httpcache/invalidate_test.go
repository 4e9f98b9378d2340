package httpcache

import (
	"net/url"
	"slices"
	"testing"
)

func TestInvalidates(t *testing.T) {
	const self = "http://deb.example/a?b"
	for _, tt := range []struct {
		name   string
		method string
		status int
		lines  []string
		want   []string
	}{
		{"4.4: POST", "POST", 200, nil, []string{self}},
		{"4.4: PUT", "PUT", 204, nil, []string{self}},
		{"4.4: DELETE", "DELETE", 200, nil, []string{self}},
		{"4.4: PATCH", "PATCH", 200, nil, []string{self}},
		{"4.4: method of unknown safety", "FROB", 200, nil, []string{self}},
		{"4.4: redirect is no error", "POST", 303, nil, []string{self}},
		{"4.4: any 3xx is no error", "POST", 399, nil, []string{self}},
		{"4.4: any 4xx is", "POST", 400, nil, nil},
		{"4.4: GET", "GET", 200, []string{"Content-Location: /c"}, nil},
		{"4.4: HEAD", "HEAD", 200, nil, nil},
		{"4.4: OPTIONS", "OPTIONS", 200, nil, nil},
		{"4.4: TRACE", "TRACE", 200, nil, nil},
		{"4.4: PROPFIND", "PROPFIND", 207, nil, nil},
		{"4.4: refused", "POST", 403, []string{"Location: /c"}, nil},
		{"4.4: failed", "POST", 500, nil, nil},
		{"4.4: interim", "POST", 103, nil, nil},
		{"4.4: Location", "POST", 201, []string{"Location: http://deb.example/c"}, []string{self, "http://deb.example/c"}},
		{"4.4: relative Location", "POST", 201, []string{"Location: c?d#e"}, []string{self, "http://deb.example/c?d"}},
		{"4.4: Content-Location", "PUT", 200, []string{"Content-Location: /c"}, []string{self, "http://deb.example/c"}},
		{"4.4: both", "PUT", 200, []string{"Location: /c", "Content-Location: /d"}, []string{self, "http://deb.example/c", "http://deb.example/d"}},
		{"4.4: both the same", "PUT", 200, []string{"Location: /a?b", "Content-Location: /c", "Location-X: /d"}, []string{self, "http://deb.example/c"}},
		{"4.4: same origin, written otherwise", "POST", 201, []string{"Location: HTTP://DEB.example:80/c"}, []string{self, "http://deb.example/c"}},
		{"4.4: another host", "POST", 201, []string{"Location: http://other.example/c"}, []string{self}},
		{"4.4: another host without scheme", "POST", 201, []string{"Location: //other.example/c"}, []string{self}},
		{"4.4: another port", "POST", 201, []string{"Location: http://deb.example:8080/c"}, []string{self}},
		{"4.4: another scheme", "POST", 201, []string{"Location: https://deb.example/c"}, []string{self}},
		{"4.4: no URL", "POST", 201, []string{"Location: http://[x"}, []string{self}},
		{"4.4: two of them", "POST", 201, []string{"Location: /c", "Location: /d"}, []string{self}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			target, err := url.Parse(self)
			if err != nil {
				t.Fatal(err)
			}
			if got := Invalidates(tt.method, target, tt.status, fields(tt.lines...)); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
