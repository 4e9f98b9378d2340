package agent

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestTheBoundOnTheWAN has six transfers of 5 GB saturate it, half of them stored and half only passed through. They
// keep to it together, and what a machine misses meanwhile does not wait for them.
func TestTheBoundOnTheWAN(t *testing.T) {
	const rate, stored = 2e6, 5e9
	piece := make([]byte, 64<<10)
	o := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(int64(stored)))
		w.Header().Set("Cache-Control", "max-age=60")
		if strings.HasPrefix(r.URL.Path, "/passes") {
			w.Header().Set("Cache-Control", "no-store")
		}
		for err := error(nil); err == nil; {
			_, err = w.Write(piece)
		}
	}))
	t.Cleanup(o.Close) // after the agent, whose fills do not end with their clients
	central := startCentral(t)
	cfg := config(t, central)
	cfg.Sync.MaxMBPerS = rate / 1e6
	cfg.Upstreams = []Upstream{{Prefix: "/up/", URL: o.URL}}
	a := start(t, cfg)
	eventually(t, "the manifest is pulled", func() bool { return a.files.Epoch() == central.epoch })
	for i := range 5 {
		central.put(fmt.Sprintf("bootloaders/%d", i), 64<<10)
	}
	brought := func() int64 { return a.upstreams["/up/"].Stats().OriginBytes }

	ctx, leave := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	defer clients.Wait()
	defer leave()
	began := time.Now()
	for i := range 6 {
		path := fmt.Sprintf("/up/stays/%d", i)
		if i%2 == 0 {
			path = fmt.Sprintf("/up/passes/%d", i)
		}
		clients.Go(func() {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.at["http"]+path, nil)
			if err != nil {
				t.Error(err)
				return
			}
			res, err := http.DefaultClient.Do(req)
			if err == nil {
				defer res.Body.Close()
				_, err = io.Copy(io.Discard, res.Body)
			}
			if ctx.Err() == nil {
				t.Errorf("%s: %v", path, err)
			}
		})
	}
	eventually(t, "the WAN is full", func() bool { return brought() > rate/2 })
	best := patience
	for i := range 5 {
		began, before := time.Now(), brought()
		res, err := http.Get(fmt.Sprintf("http://%s/bootloaders/%d", a.at["http"], i))
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("a bootloader: %v, %v", res, err)
		}
		best = min(best, time.Since(began))
		_, err = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		t.Logf("bootloader after %v, others got %d bytes meanwhile, %v", time.Since(began), brought()-before, err)
	}
	if best > 200*time.Millisecond {
		t.Errorf("the quickest of five bootloaders began after %v", best)
	}
	eventually(t, "enough was fetched", func() bool { return brought() > 3*rate })
	// Each transfer reads a piece before it pays for it.
	if took, least := time.Since(began), time.Duration(0.95*(3-6*32<<10/rate)*float64(time.Second)); took < least {
		t.Errorf("%d bytes took %v, at least %v expected", brought(), took, least)
	}
}
