package agent

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httputil"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pureboot/pureboot/agent/admin"
	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/agent/content"
	"github.com/pureboot/pureboot/agent/uplink"
	"github.com/pureboot/pureboot/central/wire"
)

// watched is central's API behind a counter of all that is asked of it but heartbeats.
type watched struct {
	http.Handler
	asked []string // METHOD PATH?QUERY
	bytes int      // of requests and answers, their headers too
}

// listen counts from now on.
func (c *realCentral) listen(t *testing.T) *watched {
	t.Helper()
	w := &watched{}
	c.change(func() { c.ear = w })
	return w
}

func (w *watched) hear(r *http.Request, h http.Header, body int64) {
	w.asked = append(w.asked, r.Method+" "+r.URL.RequestURI())
	if head, err := httputil.DumpRequest(r, false); err == nil {
		w.bytes += len(head)
	}
	for name, values := range h {
		w.bytes += len(name) + len(strings.Join(values, ", ")) + 4
	}
	w.bytes += int(body)
}

// sync syncs, and wants it to end so.
func (a *appliance) sync(t *testing.T, r uplink.SyncRequest, want string) wire.SyncResult {
	t.Helper()
	r.Trigger = cmp.Or(r.Trigger, wire.TriggerManual)
	res, err := a.syncer.Sync(t.Context(), r)
	if err != nil || res.Status != want {
		t.Fatalf("the sync ended with %v, %+v; want %s", err, res, want)
	}
	return res
}

// heard waits until the first heartbeat has brought the settings and the manifest; the next comes a minute later.
func (a *appliance) heard(t *testing.T, c *realCentral) {
	t.Helper()
	eventually(t, "the answer of the first heartbeat is carried out", func() bool {
		epoch, err := c.store.Epoch(t.Context(), "content")
		return err == nil && a.files.Epoch() == epoch && a.config.Report().State == wire.ConfigApplied
	})
}

// has lists what of central's files is in the cache.
func (a *appliance) has() (names []string) {
	for e := range a.cache.All() {
		if category, _ := content.Split(e.Key); slices.Contains(wire.Categories, category) {
			names = append(names, string(e.Key))
		}
	}
	slices.Sort(names)
	return names
}

// put300 stores 300 files, and a workflow that names three of them.
func put300(t *testing.T, c *realCentral) (files map[string][]byte, workflow string) {
	t.Helper()
	files = map[string][]byte{}
	for i := range 300 {
		name := fmt.Sprintf("images/os-%d/file-%d", i%10, i)
		switch {
		case i < 10:
			name = fmt.Sprintf("bootloaders/loader-%d.efi", i)
		case i < 40:
			name = fmt.Sprintf("scripts/%d.sh", i)
		case i < 70:
			name = fmt.Sprintf("templates/%d.cfg", i)
		}
		files[name] = c.put(t, name, fmt.Appendf(nil, "%d: %d", i, i*i))
	}
	workflow = c.call(t, 201, "POST", "/api/v1/workflows", `{"name":"debian","install_method":"kernel",
		"kernel":"images/os-0/file-100","initrd":["images/os-1/file-101"],"template":"templates/40.cfg"}`)["id"].(string)
	return files, workflow
}

func TestEachPolicyBringsWhatItSays(t *testing.T) {
	c := startRealCentral(t)
	files, workflow := put300(t, c)
	c.call(t, 201, "POST", "/api/v1/nodes", fmt.Sprintf(`{"mac_address":"52:54:00:00:00:01","home_site_id":%q,"workflow_id":%q}`, c.site, workflow))
	c.call(t, 200, "PUT", "/api/v1/sites/"+c.site+"/assigned-content", `{"content":["images/os-2/file-102","scripts/10.sh"]}`)
	selected := func(some func(string) bool) (names []string) {
		for _, name := range slices.Sorted(maps.Keys(files)) {
			if some(name) {
				names = append(names, name)
			}
		}
		return names
	}
	minimal := func(name string) bool {
		return strings.HasPrefix(name, "bootloaders/") || name == "images/os-0/file-100" || name == "images/os-1/file-101" || name == "templates/40.cfg"
	}
	assigned := func(name string) bool {
		return minimal(name) || name == "images/os-2/file-102" || name == "scripts/10.sh"
	}
	pattern := func(name string) bool { return assigned(name) || strings.HasPrefix(name, "images/os-3/") }
	a := startPair(t, c)
	a.heard(t, c)
	var before int
	for _, tt := range []struct {
		policy string
		wants  func(string) bool
	}{
		{wire.PolicyMinimal, minimal},
		{wire.PolicyAssigned, assigned},
		{wire.PolicyPattern, pattern},
		{wire.PolicyMirror, func(string) bool { return true }},
	} {
		settings := uplink.SyncSettings{Policy: tt.policy, Patterns: []string{"images/os-3/**"}}
		if err := a.syncer.Configure(settings); err != nil {
			t.Fatal(err)
		}
		want := selected(tt.wants)
		res := a.sync(t, uplink.SyncRequest{}, wire.SyncSuccess)
		if got := a.has(); !slices.Equal(got, want) {
			t.Errorf("%s: %d files are here, want %d: %v", tt.policy, len(got), len(want), got)
		}
		if res.FilesSynced != len(want)-before || res.FilesTotal != res.FilesSynced || res.BytesTransferred < res.BytesTotal || res.BytesDone != res.BytesTotal {
			t.Errorf("%s: the result is %+v, want %d files", tt.policy, res, len(want)-before)
		}
		before = len(want)
	}
	for _, name := range []string{"bootloaders/loader-0.efi", "images/os-3/file-103", "scripts/10.sh"} {
		a.wantFile(t, name, files[name])
	}
	h := a.Report(t.Context())
	if h.LastSyncResult != wire.SyncSuccess || h.LastSyncAt == nil || h.PendingSyncItems != 0 || h.Sync != nil {
		t.Errorf("the heartbeat says %+v", h)
	}
}

func TestASyncOfNothingIsOneSmallRequest(t *testing.T) {
	c := startRealCentral(t)
	files, workflow := put300(t, c)
	a := startPair(t, c)
	a.heard(t, c)
	if err := a.syncer.Configure(uplink.SyncSettings{Policy: wire.PolicyAssigned}); err != nil {
		t.Fatal(err)
	}
	a.sync(t, uplink.SyncRequest{}, wire.SyncSuccess)

	heard := c.listen(t)
	if res := a.sync(t, uplink.SyncRequest{}, wire.SyncSuccess); res.FilesTotal != 0 || res.BytesTransferred != 0 {
		t.Errorf("the result is %+v", res)
	}
	c.change(func() {
		if len(heard.asked) != 1 || heard.bytes >= 1000 {
			t.Errorf("nothing changed: %d bytes, of %v; want one request and less than 1 kB", heard.bytes, heard.asked)
		}
	})

	// A node gets a workflow: no file has changed, and what it names comes all the same.
	c.call(t, 201, "POST", "/api/v1/nodes", fmt.Sprintf(`{"mac_address":"52:54:00:00:00:01","home_site_id":%q,"workflow_id":%q}`, c.site, workflow))
	heard = c.listen(t)
	res := a.sync(t, uplink.SyncRequest{}, wire.SyncSuccess)
	if res.FilesSynced != 3 || !slices.Contains(a.has(), "images/os-0/file-100") {
		t.Errorf("the result is %+v", res)
	}
	c.change(func() {
		if n := len(heard.asked); n != 4 || !strings.HasPrefix(heard.asked[0], "GET "+wire.PathManifest) {
			t.Errorf("one list and three small files took %v", heard.asked)
		}
	})

	// A file is assigned, one is replaced, one is removed.
	c.call(t, 200, "PUT", "/api/v1/sites/"+c.site+"/assigned-content", `{"content":["images/os-5/file-105"]}`)
	c.put(t, "bootloaders/loader-1.efi", []byte("another"))
	c.del(t, "bootloaders/loader-2.efi")
	res = a.sync(t, uplink.SyncRequest{}, wire.SyncSuccess)
	if res.FilesSynced != 2 || res.FilesRemoved != 1 || slices.Contains(a.has(), "bootloaders/loader-2.efi") {
		t.Errorf("the result is %+v", res)
	}
	a.wantFile(t, "images/os-5/file-105", files["images/os-5/file-105"])
	a.wantFile(t, "bootloaders/loader-1.efi", []byte("another"))
}

func TestASyncOfSomeCategories(t *testing.T) {
	c := startRealCentral(t)
	c.put(t, "bootloaders/a", []byte("a"))
	c.put(t, "scripts/b", []byte("b"))
	a := startPair(t, c)
	a.heard(t, c)
	if err := a.syncer.Configure(uplink.SyncSettings{Policy: wire.PolicyMirror}); err != nil {
		t.Fatal(err)
	}
	a.sync(t, uplink.SyncRequest{Categories: []string{wire.Scripts}}, wire.SyncSuccess)
	if got := a.has(); !slices.Equal(got, []string{"scripts/b"}) {
		t.Errorf("here are %v", got)
	}
	if n := a.files.Missing(); n != 1 {
		t.Errorf("%d files are missing", n)
	}
}

// TestOnlyTheChunksThatChangedAreFetched: also when the disk has spoiled one of those that did not.
func TestOnlyTheChunksThatChangedAreFetched(t *testing.T) {
	const chunk = wire.ChunkSize
	c := startRealCentral(t)
	old := c.put(t, "bootloaders/big.img", noise(20*chunk+1000))
	a := startPair(t, c)
	a.heard(t, c)
	a.sync(t, uplink.SyncRequest{}, wire.SyncSuccess)
	changed := append(bytes.Clone(old), noise(5000)...) // the last chunk grows
	copy(changed[7*chunk+100:], "another")
	copy(changed[2*chunk:3*chunk], old[11*chunk:]) // one has moved
	c.put(t, "bootloaders/big.img", changed)
	c.transfers(t)
	res := a.sync(t, uplink.SyncRequest{}, wire.SyncSuccess)
	if want := int64(chunk + 6000); res.BytesTransferred != want || sum(c.transfers(t)) != want {
		t.Errorf("%d bytes came for a file of which %d are new", res.BytesTransferred, want)
	}
	if copied := a.files.Stats().Copied; copied != int64(len(changed)-chunk-6000) {
		t.Errorf("%d bytes were copied", copied)
	}
	a.wantFile(t, "bootloaders/big.img", changed)

	name := filepath.Join(a.cfg.CacheDir(), "bootloaders/big.img")
	spoil(t, name, 4*chunk+17)
	last := bytes.Clone(changed)
	last[0]++
	c.put(t, "bootloaders/big.img", last)
	if res = a.sync(t, uplink.SyncRequest{}, wire.SyncSuccess); res.BytesTransferred != 2*chunk {
		t.Errorf("%d bytes came, want the new chunk and the spoiled one", res.BytesTransferred)
	}
	a.wantFile(t, "bootloaders/big.img", last)
}

func spoil(t *testing.T, name string, at int64) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

func TestForceVerifiesWhatIsHere(t *testing.T) {
	c := startRealCentral(t)
	big := c.put(t, "bootloaders/big.img", noise(3*wire.ChunkSize))
	small := c.put(t, "bootloaders/small", []byte("small"))
	a := startPair(t, c)
	a.heard(t, c)
	a.sync(t, uplink.SyncRequest{}, wire.SyncSuccess)
	spoil(t, filepath.Join(a.cfg.CacheDir(), "bootloaders/big.img"), wire.ChunkSize+5)
	c.transfers(t)
	if a.sync(t, uplink.SyncRequest{}, wire.SyncSuccess); len(c.transfers(t)) != 0 {
		t.Error("without force something was fetched")
	}
	res := a.sync(t, uplink.SyncRequest{Force: true}, wire.SyncSuccess)
	if sent := c.transfers(t); res.FilesTotal != 2 || res.FilesSynced != 2 || sum(sent) != wire.ChunkSize {
		t.Errorf("the result is %+v, sent were %v", res, sent)
	}
	if repaired := a.cache.Stats().Repaired; repaired != 1 {
		t.Errorf("%d chunks were repaired", repaired)
	}
	a.wantFile(t, "bootloaders/big.img", big)
	a.wantFile(t, "bootloaders/small", small)
}

func TestAFullCacheSaysWhatDoesNotFit(t *testing.T) {
	c := startRealCentral(t)
	c.put(t, "bootloaders/a", noise(10_000))
	names := []string{}
	for i := range 10 {
		name := fmt.Sprintf("images/%d", i)
		c.put(t, name, noise(10_000+i))
		names = append(names, fmt.Sprintf("%q", name))
	}
	c.put(t, "images/wanted-by-nobody", noise(10_100))
	a := startPair(t, c)
	a.heard(t, c)
	a.cache.SetLimits(75_000, 0)
	if err := a.syncer.Configure(uplink.SyncSettings{Policy: wire.PolicyAssigned}); err != nil {
		t.Fatal(err)
	}
	if res, _, err := a.get("/images/wanted-by-nobody"); err != nil || res.StatusCode != http.StatusOK {
		t.Fatal(res, err)
	}
	a.settled(t) // what is still on its way to the disk cannot be evicted, and something that is wanted would be in its place
	c.call(t, 200, "PUT", "/api/v1/sites/"+c.site+"/assigned-content", `{"content":[`+strings.Join(names, ",")+`]}`)
	res := a.sync(t, uplink.SyncRequest{}, wire.SyncPartial)
	if res.FilesSynced != 7 || res.ErrorCount != 4 || len(res.Errors) != 4 {
		t.Fatalf("the result is %+v", res)
	}
	for i, e := range res.Errors {
		if want := fmt.Sprintf("images/%d", 6+i); e.File != want || !strings.Contains(e.Error, "no room") || !strings.Contains(e.Error, fmt.Sprint(10_006+i)) {
			t.Errorf("error %d is %+v, want %s and its size", i, e, want)
		}
	}
	here := a.has()
	if len(here) != 7 || slices.Contains(here, "images/wanted-by-nobody") {
		t.Errorf("here are %v", here)
	}
	// What does not fit is not tried in place of what does, however often.
	c.transfers(t)
	if res = a.sync(t, uplink.SyncRequest{}, wire.SyncPartial); res.FilesTotal != 0 || len(c.transfers(t)) != 0 || !slices.Equal(a.has(), here) {
		t.Errorf("again: %+v, here are %v", res, a.has())
	}
	if n := a.files.Missing(); n != 0 {
		t.Errorf("%d files are pending, although none can be had", n)
	}
	// A machine's miss takes the place of nothing that is wanted more.
	if res, _, err := a.get("/images/wanted-by-nobody"); err != nil || res.StatusCode != http.StatusOK {
		t.Fatal(res, err)
	}
}

// TestWhatIsOnItsWayCostsNoOther: what a machine alone wants takes the place of a file that the policy wants, but only as
// long as it comes; and a sync meanwhile does not fetch one file in place of the next, all in turn.
func TestWhatIsOnItsWayCostsNoOther(t *testing.T) {
	c := startRealCentral(t)
	c.put(t, "bootloaders/a", noise(10_000))
	names := []string{}
	for i := range 6 {
		name := fmt.Sprintf("images/%d", i)
		c.put(t, name, noise(600_000+i))
		names = append(names, fmt.Sprintf("%q", name))
	}
	c.put(t, "images/wanted-by-nobody", noise(610_000))
	c.put(t, "images/nor-this", noise(620_000))
	a := startPair(t, c)
	a.heard(t, c)
	a.cache.SetLimits(3_700_000, 0)
	if err := a.syncer.Configure(uplink.SyncSettings{Policy: wire.PolicyAssigned}); err != nil {
		t.Fatal(err)
	}
	c.call(t, 200, "PUT", "/api/v1/sites/"+c.site+"/assigned-content", `{"content":[`+strings.Join(names, ",")+`]}`)
	for _, tt := range []struct {
		unwanted string
		fetched  int // while it comes
	}{{"images/wanted-by-nobody", 6}, {"images/nor-this", 0}} { // at first there is nothing, and then all
		come := make(chan struct{})
		c.change(func() {
			c.lie = func(_ int, r *http.Request, w *wireTap) {
				if strings.HasSuffix(r.URL.Path, tt.unwanted) {
					w.holdAt, w.hold = 300_000, come // by when it has begun, and a sync may go on
				}
			}
		})
		var machine sync.WaitGroup
		machine.Go(func() {
			if res, body, err := a.get("/" + tt.unwanted); err != nil || res.StatusCode != http.StatusOK || len(body) < 610_000 {
				t.Errorf("%s: %d bytes, %v", tt.unwanted, len(body), err)
			}
		})
		eventually(t, "a machine's file comes", func() bool {
			run := a.cache.Unfinished()
			return len(run) == 1 && run[0].Have > 0
		})
		for _, want := range []int{tt.fetched, 0} {
			if res := a.sync(t, uplink.SyncRequest{}, wire.SyncPartial); res.FilesTotal != want || res.FilesSynced != want || res.ErrorCount != 1 {
				t.Errorf("while %s comes: %+v, want %d files", tt.unwanted, res, want)
			}
		}
		close(come)
		machine.Wait()
		a.settled(t)
		if res := a.sync(t, uplink.SyncRequest{}, wire.SyncSuccess); res.FilesSynced != 1 || slices.Contains(a.has(), tt.unwanted) || len(a.has()) != 7 {
			t.Errorf("afterwards: %+v, here are %v", res, a.has())
		}
	}
}

// TestTheOperatorSyncs by the API, and sees how it went, also after a restart.
func TestTheOperatorSyncs(t *testing.T) {
	c := startRealCentral(t)
	c.put(t, "bootloaders/a", noise(10_000))
	a := startPair(t, c)
	a.heard(t, c)
	client := admin.NewClient(a.at["admin"])
	var s admin.Sync
	if err := client.Call(t.Context(), "POST", admin.PathSync, map[string][]string{"force": {"maybe"}, "category": {"roms"}}, nil, &s); err == nil ||
		!strings.Contains(err.Error(), "query.force") || !strings.Contains(err.Error(), "query.category") {
		t.Errorf("a request that cannot be meant: %v", err)
	}
	if err := client.Call(t.Context(), "POST", admin.PathSync, nil, nil, &s); err != nil || !s.Running {
		t.Fatalf("%+v, %v", s, err)
	}
	eventually(t, "the end of the sync", func() bool {
		s = admin.Sync{}
		return client.Call(t.Context(), "GET", admin.PathSync, nil, nil, &s) == nil && !s.Running
	})
	if s.Last == nil || s.Last.Status != wire.SyncSuccess || s.Last.FilesSynced != 1 || s.Last.Trigger != wire.TriggerManual || s.Policy != wire.PolicyMinimal ||
		s.NextAt == nil || s.NextAt.Hour() != 2 || s.PendingItems != 0 {
		t.Errorf("%+v, last %+v", s, s.Last)
	}
	_, metrics, err := a.scrapeText()
	for _, want := range []string{`pureboot_agent_syncs_total{result="success"} 1`, "pureboot_agent_sync_files_total 1", "pureboot_agent_sync_received_bytes_total 10000", "pureboot_agent_sync_pending_files 0"} {
		if err != nil || !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s, %v", want, err)
		}
	}
	a.end(t)
	again := start(t, a.cfg)
	if last := again.syncer.Last(); last == nil || last.Status != wire.SyncSuccess || last.FilesSynced != 1 || again.syncer.State().Busy {
		t.Errorf("after a restart: %+v", last)
	}
}

func (a *appliance) scrapeText() (*http.Response, string, error) {
	res, err := http.Get("http://" + a.at["metrics"] + "/metrics")
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res, string(text), err
}

// TestASyncGoesOnAfterItsAgentWasKilled: without being asked, and without fetching anything twice.
func TestASyncGoesOnAfterItsAgentWasKilled(t *testing.T) {
	c := startRealCentral(t)
	var all int64
	for i := range 8 {
		all += int64(len(c.put(t, fmt.Sprintf("bootloaders/%d.img", i), noise(3<<20+i))))
	}
	hold := make(chan struct{})
	c.lie = func(n int, r *http.Request, w *wireTap) {
		if n >= 4 {
			w.holdAt, w.hold = 2<<20, hold
		}
	}
	cfg := enrolled(t, c)
	file := writeConfig(t, fmt.Sprintf("data_dir: %s\nlisten: {http: 127.0.0.1:0, tftp: '', metrics: '', admin: %s}\ncache: {min_free_gb: 0}\n", cfg.DataDir, cfg.Listen.Admin))
	v := startVictim(t, file, 1<<30)
	var s admin.Sync
	if err := admin.NewClient(cfg.Listen.Admin).Call(t.Context(), "POST", admin.PathSync, nil, nil, &s); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the middle of the sync", func() bool {
		s = admin.Sync{}
		err := admin.NewClient(cfg.Listen.Admin).Call(t.Context(), "GET", admin.PathSync, nil, nil, &s)
		return err == nil && s.Progress != nil && s.Progress.FilesSynced == 4 && s.Progress.BytesDone >= 4*(3<<20)+4*(2<<20)-4*wire.ChunkSize
	})
	v.kill()
	c.change(func() { c.lie = nil })
	close(hold)
	first := sum(c.transfers(t))
	a := start(t, cfg)
	eventually(t, "the end of the sync", func() bool { return a.syncer.Last() != nil })
	last := a.syncer.Last()
	if last.Trigger != wire.TriggerResume || last.Status != wire.SyncSuccess || last.FilesTotal != 4 || last.FilesSynced != 4 {
		t.Errorf("the result is %+v", last)
	}
	a.settled(t)
	if len(a.has()) != 8 {
		t.Errorf("here are %v", a.has())
	}
	// What was sent and had not reached the disk is fetched again: at most what was on its way for four files.
	if rest := sum(c.transfers(t)); rest > all-first+4*(2<<20) || last.BytesTransferred > 4*(3<<20)/2 {
		t.Errorf("%d bytes before and %d after for %d", first, rest, all)
	}
}

func TestAFileThatIsReplacedWhileItIsSynced(t *testing.T) {
	c := startRealCentral(t)
	old := c.put(t, "bootloaders/a", noise(2<<20))
	a := startPair(t, c)
	a.heard(t, c)
	a.sync(t, uplink.SyncRequest{}, wire.SyncSuccess)
	c.put(t, "bootloaders/a", noise(2<<20+1))
	hold, holding := make(chan struct{}), make(chan struct{})
	c.change(func() {
		c.sent = nil
		c.lie = func(n int, _ *http.Request, w *wireTap) {
			if n == 0 {
				w.holdAt, w.hold = 1<<20, hold
				close(holding)
			}
		}
	})
	done := make(chan wire.SyncResult)
	go func() {
		res, _ := a.syncer.Sync(t.Context(), uplink.SyncRequest{Trigger: wire.TriggerManual})
		done <- res
	}()
	<-holding
	last := c.put(t, "bootloaders/a", noise(2<<20+2))
	if _, err := a.files.Refresh(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	close(hold)
	if res := <-done; res.Status != wire.SyncSuccess {
		t.Errorf("the result is %+v", res)
	}
	a.wantFile(t, "bootloaders/a", last)
	if obj, ok := a.cache.Current("bootloaders/a"); !ok || obj.Size != int64(len(last)) || obj.Size == int64(len(old)) {
		t.Errorf("the cache has %+v", obj)
	}
}

// TestAMissOvertakesASync: from when a machine waits until it has its file, the sync gets next to nothing.
func TestAMissOvertakesASync(t *testing.T) {
	c := startRealCentral(t)
	for i := range 4 {
		c.put(t, fmt.Sprintf("bootloaders/%d.img", i), noise(16<<20+i))
	}
	miss := c.put(t, "scripts/boot.sh", []byte("#!ipxe\nboot\n"))
	a := startPair(t, c)
	a.heard(t, c)
	var before, after int64
	c.change(func() {
		c.turn = func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "/boot.sh") {
				return false
			}
			before = a.cache.Stats().BytesIn
			began := time.Now()
			for quiet := 0; quiet < 20 && time.Since(began) < patience; time.Sleep(5 * time.Millisecond) { // until the sync stands still
				if now := a.cache.Stats().BytesIn; now != after {
					after, quiet = now, 0
				} else {
					quiet++
				}
			}
			return false
		}
	})
	done := make(chan wire.SyncResult)
	go func() {
		res, _ := a.syncer.Sync(t.Context(), uplink.SyncRequest{Trigger: wire.TriggerManual})
		done <- res
	}()
	eventually(t, "the sync is in full swing", func() bool { return a.cache.Stats().BytesIn > 4<<20 })
	a.wantFile(t, "scripts/boot.sh", miss)
	if res := <-done; res.Status != wire.SyncSuccess || res.FilesSynced != 4 {
		t.Errorf("the result is %+v", res)
	}
	// Each of four transfers may have had a piece on its way.
	if n := after - before; before == 0 || n > 4*64<<10 {
		t.Errorf("while a machine waited, the sync got %d bytes", n)
	}
}

func TestASyncWithoutCentral(t *testing.T) {
	c := startRealCentral(t)
	kept := c.put(t, "bootloaders/a", []byte("kept"))
	a := startPair(t, c)
	a.heard(t, c)
	a.sync(t, uplink.SyncRequest{}, wire.SyncSuccess)
	c.Close()
	res := a.sync(t, uplink.SyncRequest{}, wire.SyncFailed)
	if len(res.Errors) != 1 || res.Errors[0].File != "" || !strings.Contains(res.Errors[0].Error, "manifest") {
		t.Errorf("the errors are %+v", res.Errors)
	}
	a.wantFile(t, "bootloaders/a", kept)
}

// TestAManifestThatIsAnAttack: the status and the log say so, nothing is written, and machines are served.
func TestAManifestThatIsAnAttack(t *testing.T) {
	c := startRealCentral(t)
	kept := c.put(t, "bootloaders/a", []byte("kept"))
	a := startPair(t, c)
	a.heard(t, c)
	a.sync(t, uplink.SyncRequest{}, wire.SyncSuccess)
	epoch := a.files.Epoch()
	item := func(path string, size int64, sha string) string {
		return fmt.Sprintf(`{"category":"images","path":%q,"size":%d,"sha256":%q,"modified":"2026-01-02T03:04:05Z"}`, path, size, sha)
	}
	good := strings.Repeat("ab", 32)
	page := func(items string) string {
		return fmt.Sprintf(`{"epoch":{"stream":%q,"n":%d},"full":true,"items":[%s]}`, epoch.Stream, epoch.N+1, items)
	}
	for _, tt := range []struct{ name, answer, says string }{
		{"out of the folder", page(item("../../../../etc/cron.d/x", 5, good)), "no file's name"},
		{"absolute", page(item("/etc/passwd", 5, good)), "no file's name"},
		{"twice", page(item("a", 5, good) + "," + item("a", 6, good)), "images/a twice"},
		{"millions", page(strings.Repeat("{},", 10_000_000) + "{}"), "more than"},
		{"no digest", page(item("a", 5, "abcd")), "described wrongly"},
		{"negative", page(item("a", -5, good)), "described wrongly"},
		{"beyond all disks", page(item("a", 1<<62, good)), "described wrongly"},
		{"cut off", page(item("a", 5, good))[:100], "unexpected EOF"},
		{"no JSON", "<html>", "invalid character"},
		{"another shape", `{"epoch":7,"items":{"a":1}}`, "cannot unmarshal"},
		{"without end", strings.Repeat(" ", 65<<20), "longer than"},
		{"deep", page(strings.Repeat("[", 100_000)), "exceeded max depth"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c.change(func() {
				c.answer = map[string]string{wire.PathManifest: tt.answer}
			})
			res := a.sync(t, uplink.SyncRequest{}, wire.SyncFailed)
			if len(res.Errors) != 1 || !strings.Contains(res.Errors[0].Error, tt.says) {
				t.Errorf("the errors are %+v, want %s", res.Errors, tt.says)
			}
			if got := a.has(); !slices.Equal(got, []string{"bootloaders/a"}) || a.files.Epoch() != epoch {
				t.Errorf("the cache has %v, the epoch is %v", got, a.files.Epoch())
			}
			a.wantFile(t, "bootloaders/a", kept)
		})
	}
	c.change(func() { c.answer = map[string]string{wire.PathManifest: page(item("../x", 1, good))} })
	a.sync(t, uplink.SyncRequest{}, wire.SyncFailed)
	if s := (operatorSync{a.Agent}).State(); !strings.Contains(s.ManifestError, "../x") {
		t.Errorf("the status says %q", s.ManifestError)
	}
	if said := a.Report(t.Context()).Services["manifest"]; !strings.Contains(said, "../x") {
		t.Errorf("the heartbeat says %q", said)
	}
	c.change(func() { c.answer = nil })
	a.sync(t, uplink.SyncRequest{}, wire.SyncSuccess)
	if s := (operatorSync{a.Agent}).State(); s.ManifestError != "" {
		t.Errorf("the status still says %q", s.ManifestError)
	}
}

// TestADigestThatIsWrongIsNeverServed: central describes one file and sends another.
func TestADigestThatIsWrongIsNeverServed(t *testing.T) {
	c := startRealCentral(t)
	c.put(t, "bootloaders/a", noise(100_000))
	b := c.put(t, "bootloaders/b", noise(100_001))
	c.lie = func(_ int, r *http.Request, w *wireTap) {
		if strings.HasSuffix(r.URL.Path, "/a") {
			w.flips = []int64{500}
		}
	}
	a := startPair(t, c)
	a.heard(t, c)
	res := a.sync(t, uplink.SyncRequest{}, wire.SyncPartial)
	if len(res.Errors) != 1 || res.Errors[0].File != "bootloaders/a" || !strings.Contains(res.Errors[0].Error, cache.ErrCorrupt.Error()) {
		t.Errorf("the errors are %+v", res.Errors)
	}
	if got := a.has(); !slices.Equal(got, []string{"bootloaders/b"}) {
		t.Errorf("here are %v", got)
	}
	a.wantFile(t, "bootloaders/b", b)
}
