package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// TestClientJudges: each handler is a proxy with a fault of its own.
func TestClientJudges(t *testing.T) {
	obj := newObject(spec{name: "one", size: 1 << 20})
	body := obj.current().text
	for name, c := range map[string]struct {
		want    verdict
		handler http.HandlerFunc
	}{
		"a whole body": {right, func(w http.ResponseWriter, _ *http.Request) { io.Copy(w, body.reader(obj.size)) }},
		"a short body that looks whole": {wrong, func(w http.ResponseWriter, _ *http.Request) {
			io.Copy(w, body.reader(obj.size-1))
		}},
		"a body that goes on": {wrong, func(w http.ResponseWriter, _ *http.Request) { io.Copy(w, body.reader(obj.size+1)) }},
		"a cut body": {cut, func(w http.ResponseWriter, _ *http.Request) {
			io.Copy(w, body.reader(obj.size/2))
			panic(http.ErrAbortHandler)
		}},
		"an error": {cut, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusBadGateway) }},
		"a part that nobody asked for": {cut, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusPartialContent)
		}},
	} {
		s := httptest.NewServer(c.handler)
		if r := ask(t.Context(), s.URL, request{obj: obj}); r.verdict != c.want {
			t.Errorf("%s: %+v", name, r)
		}
		s.Close()
	}
}

func TestClientLeaves(t *testing.T) {
	o := testOrigin(t)
	obj := o.add(spec{name: "one", size: 8 << 20})
	r := ask(t.Context(), o.url(obj), request{obj: obj, leaveAt: 1 << 20})
	if r.verdict != cut || r.bytes < 1<<20 || r.bytes > 1<<20+maxPiece {
		t.Errorf("%+v", r)
	}
}

func TestClientReadsSlowly(t *testing.T) {
	o := testOrigin(t)
	obj := o.add(spec{name: "one", size: 1 << 20})
	if r := ask(t.Context(), o.url(obj), request{obj: obj, pace: 4 << 20}); r.verdict != right || r.total < 240*time.Millisecond {
		t.Errorf("1 MiB at 4 MiB/s: %+v", r)
	}
}

func TestParts(t *testing.T) {
	obj := newObject(spec{name: "one", size: 1 << 20})
	body := obj.current().text
	spans := []span{{0, 10}, {5000, 6000}}
	file := func(v text) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(at(v), 0, obj.size))
		}
	}
	for name, c := range map[string]struct {
		want    verdict
		handler http.HandlerFunc
	}{
		"both parts":   {right, file(body)},
		"all of it":    {right, func(w http.ResponseWriter, _ *http.Request) { io.Copy(w, body.reader(obj.size)) }},
		"wrong bytes":  {wrong, file(textOf("other", 0))},
		"not possible": {cut, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusRequestedRangeNotSatisfiable) }},
		"one of them": {wrong, func(w http.ResponseWriter, r *http.Request) {
			r.Header.Set("Range", "bytes=0-9")
			file(body)(w, r)
		}},
	} {
		s := httptest.NewServer(c.handler)
		if r := askParts(t.Context(), s.URL, obj, spans); r.verdict != c.want {
			t.Errorf("%s: %+v", name, r)
		}
		s.Close()
	}
}

// at is a text as a file.
type at text

func (a at) ReadAt(p []byte, offset int64) (int, error) {
	return copy(p, text(a).at(offset, len(p))), nil
}

func TestPound(t *testing.T) {
	obj := newObject(spec{name: "one", size: 10_000})
	good := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(obj.size))
		io.Copy(w, obj.current().text.reader(obj.size))
	}))
	defer good.Close()
	l, err := pound(t.Context(), good.URL+"/one", obj, 4, 50*time.Millisecond)
	if err != nil || l.requests < 4 || len(l.each) != int(l.requests) {
		t.Errorf("%d requests, %v", l.requests, err)
	}
	for name, handler := range map[string]http.HandlerFunc{
		"other bytes": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(obj.size))
			io.Copy(w, textOf("other", 0).reader(obj.size))
		},
		"a shorter one": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5")
			io.Copy(w, obj.current().text.reader(5))
		},
		"an error": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
	} {
		s := httptest.NewServer(handler)
		if _, err := pound(t.Context(), s.URL+"/one", obj, 2, 50*time.Millisecond); err == nil {
			t.Errorf("%s: no error", name)
		}
		s.Close()
	}
}
