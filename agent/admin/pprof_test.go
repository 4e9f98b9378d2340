package admin

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
)

func TestTheAgentIsProfiledThroughTheSocket(t *testing.T) {
	h := statusOf(t, func(context.Context) Status { return Status{} })
	for path, want := range map[string]int{
		"":                         http.StatusOK,
		"heap":                     http.StatusOK,
		"goroutine":                http.StatusOK,
		"mutex":                    http.StatusOK,
		"block?seconds=1":          http.StatusOK,
		"profile?seconds=1":        http.StatusOK,
		"profile?seconds=86400":    http.StatusBadRequest,
		"cmdline":                  http.StatusNotFound,
		"nothing-that-is-profiled": http.StatusNotFound,
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, PathProfiles+path, nil))
		if w.Code != want {
			t.Errorf("%s: status %d, want %d: %s", path, w.Code, want, w.Body)
		}
		if want == http.StatusOK && path != "" && !gzipped(w.Body.Bytes()) {
			t.Errorf("%s: this is no profile: %.80q", path, w.Body)
		}
	}
	if rate := runtime.SetMutexProfileFraction(-1); rate != 0 {
		t.Errorf("locks are still sampled, one event in %d", rate)
	}
}

// gzipped is what a profile is, whatever it holds.
func gzipped(text []byte) bool {
	in, err := gzip.NewReader(bytes.NewReader(text))
	if err == nil {
		_, err = io.Copy(io.Discard, in)
	}
	return err == nil
}
