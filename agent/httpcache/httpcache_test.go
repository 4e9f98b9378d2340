package httpcache

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// made is when the origin makes the responses of these tests.
var made = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

// fields makes a header of lines such as "Vary: Accept". "DATE+60" in a line is the date a minute after made.
func fields(lines ...string) http.Header {
	h := http.Header{}
	for _, line := range lines {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			panic("no field: " + line)
		}
		if before, offset, ok := strings.Cut(value, "DATE"); ok {
			shift, err := time.ParseDuration(offset + "s")
			if err != nil {
				panic(err)
			}
			value = before + formatDate(made.Add(shift))
		}
		h.Add(name, strings.Trim(value, " "))
	}
	return h
}

// request makes a GET with these fields.
func request(lines ...string) *http.Request {
	return &http.Request{Method: http.MethodGet, Header: fields(lines...)}
}

// exchange is a GET without fields, answered at once when made.
func exchange(status int, lines ...string) Exchange {
	return Exchange{
		Method: http.MethodGet, Request: http.Header{}, Requested: made,
		Status: status, Header: fields(lines...), Received: made,
	}
}

// stored keeps a 200 with these fields, as answered to a request with none.
func stored(lines ...string) *Stored { return NewStored(Keep(exchange(200, lines...))) }

// storedFor keeps a 200 as answered to that request.
func storedFor(request http.Header, lines ...string) *Stored {
	x := exchange(200, lines...)
	x.Request = request
	return NewStored(Keep(x))
}

func after(seconds float64) time.Time {
	return made.Add(time.Duration(seconds * float64(time.Second)))
}

// same reports what a row got beside what it wanted.
func same[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s = %v, want %v", what, got, want)
	}
}
