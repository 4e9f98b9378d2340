package uplink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/agent/content"
	"github.com/pureboot/pureboot/central/wire"
)

// libraryCentral is central's content in memory. It counts what is asked of it.
type libraryCentral struct {
	mu       sync.Mutex
	epoch    int64
	items    map[string]wire.ManifestItem
	at       map[string]int64 // epoch of an item
	bodies   map[string][]byte
	down     error
	gate     chan struct{} // bodies wait for it to be closed; nil: for nothing
	held     string        // category of the bodies that wait; empty: all
	spoiled  string        // category of which other bytes are sent
	failing  string        // category that is refused, 500
	needed   *wire.Needed  // what workflows name
	manifest int           // requests
	sent     map[string]int
}

var errDown = errors.New("no route to host")

func newLibrary() *libraryCentral {
	return &libraryCentral{items: map[string]wire.ManifestItem{}, at: map[string]int64{}, bodies: map[string][]byte{}, sent: map[string]int{}}
}

func (c *libraryCentral) put(name, text string) {
	obj, err := cache.Describe(strings.NewReader(text))
	if err != nil {
		panic(err)
	}
	category, path, _ := strings.Cut(name, "/")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	c.bodies[name], c.at[name] = []byte(text), c.epoch
	c.items[name] = wire.ManifestItem{File: wire.File{Category: category, Path: path, Size: obj.Size, SHA256: obj.SHA256.String(), Modified: time.Unix(1767323045, 0)}}
}

func (c *libraryCentral) set(down error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = down
}

func (c *libraryCentral) asked() (manifests, bodies int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.sent {
		bodies += n
	}
	manifests = c.manifest
	c.manifest, c.sent = 0, map[string]int{}
	return manifests, bodies
}

func (c *libraryCentral) Manifest(_ context.Context, q wire.ManifestQuery) (wire.Manifest, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.manifest++
	if c.down != nil {
		return wire.Manifest{}, c.down
	}
	m := wire.Manifest{Epoch: wire.Epoch{Stream: "s", N: c.epoch}, Full: q.Since.N == 0}
	for name, item := range c.items {
		if m.Full || c.at[name] > q.Since.N {
			m.Items = append(m.Items, item)
		}
	}
	if c.needed != nil && c.needed.Tag != q.Needed {
		m.Needed = c.needed
	}
	return m, nil
}

func (c *libraryCentral) Chunks(_ context.Context, category, path string) (wire.Chunks, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	item, ok := c.items[category+"/"+path]
	switch {
	case c.down != nil:
		return wire.Chunks{}, c.down
	case !ok:
		return wire.Chunks{}, &wire.Refusal{Status: 404}
	}
	obj, err := cache.Describe(bytes.NewReader(c.bodies[category+"/"+path]))
	answer := wire.Chunks{File: item.File, ChunkSize: wire.ChunkSize, Epoch: wire.Epoch{Stream: "s", N: c.epoch}}
	for _, d := range obj.Chunks {
		answer.Chunks = append(answer.Chunks, d.String())
	}
	return answer, err
}

func (c *libraryCentral) ReadContent(ctx context.Context, category, path, sha string, offset, length int64) (io.ReadCloser, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := category + "/" + path
	c.sent[name]++
	if c.down != nil {
		return nil, c.down
	}
	if category == c.failing {
		return nil, &wire.Refusal{Status: 500}
	}
	if c.items[name].SHA256 != sha {
		return nil, &wire.Refusal{Status: 412}
	}
	body := c.bodies[name][offset:]
	if length > 0 {
		body = body[:min(length, int64(len(body)))]
	}
	if category == c.spoiled {
		body = bytes.ToUpper(body)
	}
	gate := c.gate
	if c.held != "" && category != c.held {
		gate = nil
	}
	return &gatedBody{bytes.NewReader(body), ctx, gate}, nil
}

func (c *libraryCentral) Online() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.down == nil
}

type gatedBody struct {
	*bytes.Reader
	ctx  context.Context
	gate chan struct{}
}

func (g *gatedBody) Read(p []byte) (int, error) {
	if g.gate != nil {
		select {
		case <-g.gate:
		case <-g.ctx.Done():
			return 0, g.ctx.Err()
		}
	}
	return g.Reader.Read(p)
}

func (g *gatedBody) Close() error { return nil }

// syncing is a Syncer over a real cache, in a folder that another one can go on with.
type syncing struct {
	*Syncer
	cache *cache.Store
	files *content.Files
}

func openSyncing(t testing.TB, dir string, c *libraryCentral, settings SyncSettings) *syncing {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	store, err := cache.Open(cache.Options{Dir: filepath.Join(dir, "cache"), Rank: content.Rank, Log: quiet, Tries: 2})
	if err != nil {
		t.Fatal(err)
	}
	files, err := content.Open(content.Options{Cache: store, Central: c, Dir: dir, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSyncer(SyncOptions{Files: files, Online: c.Online, Dir: dir, Log: quiet}, settings)
	if err != nil {
		t.Fatal(err)
	}
	return &syncing{s, store, files}
}

func (s *syncing) close() {
	s.files.Close()
	_ = s.cache.Close()
}

// run has it run, until the function that it returns is called.
func (s *syncing) run(t testing.TB) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestSyncsBySchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newLibrary()
		c.put("bootloaders/a", "a")
		s := openSyncing(t, t.TempDir(), c, SyncSettings{Policy: wire.PolicyMinimal, Schedule: "0 2 * * *"})
		defer s.close()
		defer s.run(t)()
		next := s.State().Next
		if at := next.Truncate(time.Minute); at.Hour() != 2 || at.Minute() != 0 || next.Before(time.Now()) {
			t.Errorf("the next sync is at %v", next)
		}
		time.Sleep(time.Until(next) - time.Second)
		synctest.Wait()
		if s.Last() != nil {
			t.Fatal("it synced before its time")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if last := s.Last(); last == nil || last.Trigger != wire.TriggerSchedule || last.FilesSynced != 1 {
			t.Errorf("the last sync is %+v", last)
		}
		if again := s.State().Next; again.Sub(next) < 23*time.Hour {
			t.Errorf("the next sync after %v is at %v", next, again)
		}

		if err := s.Configure(SyncSettings{Policy: wire.PolicyMinimal, Schedule: "*/10 * * * *"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(12 * time.Minute)
		synctest.Wait()
		if n := s.State().Results[wire.SyncSuccess]; n != 2 {
			t.Errorf("%d syncs after the schedule changed, want 2", n)
		}
		if err := s.Configure(SyncSettings{Policy: wire.PolicyMinimal}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Hour)
		synctest.Wait()
		if n := s.State().Results[wire.SyncSuccess]; n != 2 || !s.State().Next.IsZero() {
			t.Errorf("%d syncs without a schedule, the next at %v", n, s.State().Next)
		}
	})
}

func TestSettingsThatAreWrongChangeNothing(t *testing.T) {
	s := openSyncing(t, t.TempDir(), newLibrary(), SyncSettings{Policy: wire.PolicyMirror, Schedule: "0 2 * * *"})
	defer s.close()
	for _, settings := range []SyncSettings{{Policy: "all"}, {Policy: wire.PolicyPattern, Patterns: []string{"["}}, {Policy: wire.PolicyMinimal, Schedule: "often"}} {
		if err := s.Configure(settings); err == nil {
			t.Errorf("%+v is taken", settings)
		}
	}
	if s.files.Policy().Name() != wire.PolicyMirror || s.State().Settings.Schedule != "0 2 * * *" {
		t.Error("the settings changed all the same")
	}
}

func TestOneSyncAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newLibrary()
		c.put("bootloaders/a", "a")
		c.put("scripts/b", "b")
		c.gate = make(chan struct{})
		s := openSyncing(t, t.TempDir(), c, SyncSettings{Policy: wire.PolicyMirror})
		defer s.close()
		defer s.run(t)()
		s.Start(SyncRequest{Trigger: wire.TriggerManual, Categories: []string{wire.Bootloaders}})
		synctest.Wait()
		if p := s.Running(); p == nil || p.FilesTotal != 1 || p.FilesSynced != 0 {
			t.Fatalf("it is at %+v", p)
		}
		// What is asked for meanwhile is one more.
		s.Start(SyncRequest{Trigger: wire.TriggerManual, Categories: []string{wire.Scripts}})
		s.Start(SyncRequest{Trigger: wire.TriggerManual, Categories: []string{wire.Images}, Force: true})
		impatient, leave := context.WithTimeout(t.Context(), time.Minute)
		defer leave()
		if _, err := s.Sync(impatient, SyncRequest{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a second one at the same time: %v", err)
		}
		if n, _ := c.asked(); n != 1 {
			t.Errorf("%d manifests were asked for", n)
		}
		close(c.gate)
		synctest.Wait()
		last := s.Last()
		if n, _ := c.asked(); n != 1 || s.State().Results[wire.SyncSuccess] != 2 || !last.Force || !slices.Equal(last.Categories, []string{wire.Images, wire.Scripts}) {
			t.Errorf("%d more manifests, the last sync is %+v", n, last)
		}
	})
}

// TestASyncTellsHowFarItIs, and fetches only so many files at the same time.
func TestASyncTellsHowFarItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newLibrary()
		text := strings.Repeat("x", 100)
		for i := range 4 {
			c.put(fmt.Sprint("bootloaders/", i), text)
		}
		for i := range 2 * syncFiles {
			c.put(fmt.Sprint("images/", i), text)
		}
		c.gate, c.held = make(chan struct{}), wire.Images
		s := openSyncing(t, t.TempDir(), c, SyncSettings{Policy: wire.PolicyMirror})
		defer s.close()
		defer s.run(t)()
		s.Start(SyncRequest{Trigger: wire.TriggerManual})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		want := wire.SyncProgress{
			Trigger: wire.TriggerManual, FilesTotal: 4 + 2*syncFiles, FilesSynced: 4, BytesTotal: 400 + 200*syncFiles, BytesDone: 400, BytesTransferred: 400,
			ETASeconds: 10 * 200 * syncFiles / 400,
		}
		p := s.Running()
		if p == nil {
			t.Fatal("it does not run")
		}
		if want.StartedAt = p.StartedAt; *p != want {
			t.Errorf("it is at %+v, want %+v", *p, want)
		}
		if _, bodies := c.asked(); bodies != 4+syncFiles {
			t.Errorf("%d files are fetched at the same time", bodies-4)
		}
		close(c.gate)
		synctest.Wait()
		if last := s.Last(); last == nil || last.Status != wire.SyncSuccess || last.ETASeconds != 0 || last.BytesDone != want.BytesTotal || last.DurationSeconds < 10 {
			t.Errorf("the result is %+v", last)
		}
	})
}

// TestOnlyWhatWorkflowsNameIsBrought, unless more is asked for by the time that it begins.
func TestOnlyWhatWorkflowsNameIsBrought(t *testing.T) {
	for name, tt := range map[string]struct {
		before, after *SyncRequest
		want          int
	}{
		"alone":                        {nil, nil, 1},
		"twice":                        {&SyncRequest{Workflows: true}, nil, 1},
		"after one of all was asked":   {&SyncRequest{}, nil, 3},
		"and then one of all is asked": {nil, &SyncRequest{}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newLibrary()
				for _, file := range []string{"bootloaders/a", "images/k", "images/other"} {
					c.put(file, file)
				}
				c.needed = &wire.Needed{Tag: "1", Names: []string{"images/k", "images/not-there"}}
				s := openSyncing(t, t.TempDir(), c, SyncSettings{Policy: wire.PolicyMirror})
				defer s.close()
				for _, r := range []*SyncRequest{tt.before, {Trigger: wire.TriggerNodes, Workflows: true}, tt.after} {
					if r != nil {
						s.Start(*r)
					}
				}
				defer s.run(t)()
				synctest.Wait()
				if last := s.Last(); last == nil || last.Status != wire.SyncSuccess || last.FilesSynced != tt.want || s.files.NewNames() {
					t.Errorf("%+v, want %d files", last, tt.want)
				}
			})
		})
	}
}

// TestACutSyncIsTakenUpAgain: by the next process, and when central was out of reach.
func TestACutSyncIsTakenUpAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, dir := newLibrary(), t.TempDir()
		for i := range 10 {
			c.put(fmt.Sprint("bootloaders/", i), fmt.Sprint(i))
		}
		c.gate = make(chan struct{})
		s := openSyncing(t, dir, c, SyncSettings{Policy: wire.PolicyMinimal})
		stop := s.run(t)
		s.Start(SyncRequest{Trigger: wire.TriggerManual})
		synctest.Wait()
		stop()
		s.close()
		if s.Last() != nil {
			t.Errorf("what was cut has the result %+v", s.Last())
		}

		close(c.gate)
		s = openSyncing(t, dir, c, SyncSettings{Policy: wire.PolicyMinimal})
		defer s.close()
		defer s.run(t)()
		synctest.Wait()
		if last := s.Last(); last == nil || last.Trigger != wire.TriggerResume || last.FilesSynced != 10 {
			t.Fatalf("the last sync is %+v", last)
		}

		c.put("bootloaders/new", "new")
		c.set(errDown)
		s.Start(SyncRequest{Trigger: wire.TriggerManual})
		synctest.Wait()
		if last := s.Last(); last.Status != wire.SyncFailed || last.ErrorCount != 1 || !strings.Contains(last.Errors[0].Error, errDown.Error()) {
			t.Errorf("without central: %+v", last)
		}
		time.Sleep(firstRetry + time.Second)
		synctest.Wait()
		if n := s.State().Results[wire.SyncFailed]; n != 2 {
			t.Errorf("%d syncs have failed, want 2", n)
		}
		time.Sleep(10 * time.Hour) // the pauses grow
		synctest.Wait()
		if n := s.State().Results[wire.SyncFailed]; n < 10 || n > 20 {
			t.Errorf("%d syncs have failed in ten hours", n)
		}
		c.set(nil)
		time.Sleep(maxRetry)
		synctest.Wait()
		if last := s.Last(); last.Status != wire.SyncSuccess || last.FilesSynced != 1 || last.Trigger != wire.TriggerResume {
			t.Errorf("with central again: %+v", last)
		}
		before := s.State().Results[wire.SyncSuccess]
		time.Sleep(100 * time.Hour)
		synctest.Wait()
		if n := s.State().Results[wire.SyncSuccess]; n != before {
			t.Errorf("%d more syncs of nothing", n-before)
		}
	})
}

// TestACentralThatGoesAwayEndsTheSync: what is left is not tried file by file.
func TestACentralThatGoesAwayEndsTheSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newLibrary()
		for i := range 1000 {
			c.put(fmt.Sprint("bootloaders/", i), fmt.Sprint(i))
		}
		c.gate = make(chan struct{})
		s := openSyncing(t, t.TempDir(), c, SyncSettings{Policy: wire.PolicyMinimal})
		defer s.close()
		done := make(chan wire.SyncResult)
		go func() {
			res, err := s.Sync(t.Context(), SyncRequest{})
			if err != nil {
				t.Error(err)
			}
			done <- res
		}()
		synctest.Wait()
		c.set(errDown)
		close(c.gate)
		res := <-done
		if _, sent := c.asked(); sent > 100 {
			t.Errorf("%d files were asked for", sent)
		}
		last := res.Errors[len(res.Errors)-1]
		if res.Status != wire.SyncPartial || res.FilesSynced != syncFiles || last.File != "" || !strings.Contains(last.Error, fmt.Sprintf("out of reach: %d files are left", 1000-syncFiles)) {
			t.Errorf("the result is %+v", res)
		}
	})
}

// TestASyncThatSomebodyWaitedForIsTakenUpAgain: also then.
func TestASyncThatSomebodyWaitedForIsTakenUpAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newLibrary()
		c.put("bootloaders/a", "a")
		s := openSyncing(t, t.TempDir(), c, SyncSettings{Policy: wire.PolicyMinimal})
		defer s.close()
		defer s.run(t)()
		c.set(errDown)
		if res, err := s.Sync(t.Context(), SyncRequest{Trigger: wire.TriggerCommand}); err != nil || res.Status != wire.SyncFailed {
			t.Fatalf("%+v, %v", res, err)
		}
		c.set(nil)
		time.Sleep(firstRetry + time.Second)
		synctest.Wait()
		if last := s.Last(); last.Trigger != wire.TriggerResume || last.Status != wire.SyncSuccess {
			t.Errorf("the last sync is %+v", last)
		}
	})
}

// TestManyFilesThatCannotBeHad keep nobody from the others, unless it looks as if nothing can be had.
func TestManyFilesThatCannotBeHad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newLibrary()
		for i := range 3 * syncFailures {
			c.put(fmt.Sprint("scripts/", i), fmt.Sprint("echo ", i))
		}
		c.put("images/last", "last")
		c.spoiled = wire.Scripts
		s := openSyncing(t, t.TempDir(), c, SyncSettings{Policy: wire.PolicyMirror})
		defer s.close()
		res, err := s.Sync(t.Context(), SyncRequest{})
		if err != nil || res.Status != wire.SyncPartial || res.FilesSynced != 1 || res.ErrorCount != 3*syncFailures {
			t.Errorf("with files that are not what they are described as: %+v, %v", res, err)
		}
		c.spoiled, c.failing = "", wire.Scripts
		res, err = s.Sync(t.Context(), SyncRequest{})
		last := res.Errors[len(res.Errors)-1]
		if err != nil || res.Status != wire.SyncFailed || res.ErrorCount < syncFailures || res.ErrorCount > syncFailures+syncFiles+1 || !strings.Contains(last.Error, errGivenUp.Error()) {
			t.Errorf("with a central that fails: %+v, %v", res, err)
		}
	})
}

// TestASyncThatRunsIsNotTakenUp by a Run that begins meanwhile.
func TestASyncThatRunsIsNotTakenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newLibrary()
		c.put("bootloaders/a", "a")
		c.gate = make(chan struct{})
		s := openSyncing(t, t.TempDir(), c, SyncSettings{Policy: wire.PolicyMinimal})
		defer s.close()
		done := make(chan error, 1)
		go func() {
			_, err := s.Sync(t.Context(), SyncRequest{Trigger: wire.TriggerManual})
			done <- err
		}()
		synctest.Wait()
		defer s.run(t)()
		synctest.Wait()
		close(c.gate)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Hour)
		synctest.Wait()
		if n := s.State().Results[wire.SyncSuccess]; n != 1 {
			t.Errorf("%d syncs, want 1", n)
		}
	})
}

func TestTheEpochOfACommandIsReached(t *testing.T) {
	c := newLibrary()
	c.put("bootloaders/a", "a")
	s := openSyncing(t, t.TempDir(), c, SyncSettings{Policy: wire.PolicyMinimal})
	defer s.close()
	for epoch, want := range map[string]string{"s:1": wire.SyncSuccess, "s:2": wire.SyncFailed, "other:7": wire.SyncSuccess, "nonsense": wire.SyncFailed} {
		res, err := s.Sync(t.Context(), SyncRequest{Trigger: wire.TriggerCommand, Epoch: epoch})
		if err != nil || res.Status != want {
			t.Errorf("%s: %+v, %v; want %s", epoch, res, err, want)
		}
	}
}

// TestTheEpochOfOneRequestIsThatOfBoth: whichever comes first, and whatever else they ask for.
func TestTheEpochOfOneRequestIsThatOfBoth(t *testing.T) {
	for _, tt := range []struct{ first, then, want string }{
		{"s:2", "", "s:2"}, {"", "s:2", "s:2"}, {"s:2", "s:1", "s:2"}, {"s:1", "s:2", "s:2"}, {"old:9", "s:1", "s:1"}, {"", "", ""},
	} {
		first := SyncRequest{Trigger: wire.TriggerCommand, Epoch: tt.first}
		if got := (SyncRequest{Trigger: wire.TriggerManual, Epoch: tt.then}).and(&first); got.Epoch != tt.want || got.Trigger != wire.TriggerManual {
			t.Errorf("%q and then %q: %+v", tt.first, tt.then, got)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		c := newLibrary()
		c.put("bootloaders/a", "a")
		s := openSyncing(t, t.TempDir(), c, SyncSettings{Policy: wire.PolicyMinimal})
		defer s.close()
		s.Start(SyncRequest{Trigger: wire.TriggerCommand, Epoch: "s:2"})
		s.Start(SyncRequest{Trigger: wire.TriggerManual, Categories: []string{wire.Scripts}})
		defer s.run(t)()
		synctest.Wait()
		if last := s.Last(); last.Status != wire.SyncFailed || !strings.Contains(last.Errors[0].Error, "not yet of 2") {
			t.Errorf("short of the epoch: %+v", last)
		}
		c.put("bootloaders/b", "b")
		time.Sleep(firstRetry + time.Second)
		synctest.Wait()
		if last := s.Last(); last.Status != wire.SyncSuccess || last.FilesSynced != 2 {
			t.Errorf("at the epoch: %+v", last)
		}
	})
}

// TestWhatWasCutIsNotForgottenForLess: a sync of something else meanwhile leaves it to be taken up again, also by the
// next process.
func TestWhatWasCutIsNotForgottenForLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, dir := newLibrary(), t.TempDir()
		c.put("bootloaders/a", "a")
		c.put("scripts/b", "b")
		s := openSyncing(t, dir, c, SyncSettings{Policy: wire.PolicyMirror})
		c.set(errDown)
		if res, err := s.Sync(t.Context(), SyncRequest{Trigger: wire.TriggerCommand}); err != nil || res.Status != wire.SyncFailed {
			t.Fatalf("without central: %+v, %v", res, err)
		}
		c.set(nil)
		res, err := s.Sync(t.Context(), SyncRequest{Trigger: wire.TriggerManual, Categories: []string{wire.Scripts}})
		if err != nil || res.Status != wire.SyncSuccess || res.FilesSynced != 1 {
			t.Errorf("the scripts: %+v, %v", res, err)
		}
		s.close()
		s = openSyncing(t, dir, c, SyncSettings{Policy: wire.PolicyMirror})
		defer s.close()
		defer s.run(t)()
		synctest.Wait()
		if last := s.Last(); last.Trigger != wire.TriggerResume || last.FilesSynced != 1 || s.files.Missing() != 0 {
			t.Errorf("taken up again: %+v", last)
		}
		before := s.State().Results[wire.SyncSuccess]
		time.Sleep(100 * time.Hour)
		synctest.Wait()
		if n := s.State().Results[wire.SyncSuccess]; n != before {
			t.Errorf("%d more syncs of nothing", n-before)
		}
	})
}

func TestALastSyncThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, syncFileName), []byte(`{"last": 7`), 0o600); err != nil {
		t.Fatal(err)
	}
	s := openSyncing(t, dir, newLibrary(), SyncSettings{Policy: wire.PolicyMinimal})
	defer s.close()
	if s.Last() != nil {
		t.Errorf("it is %+v", s.Last())
	}
	if res, err := s.Sync(t.Context(), SyncRequest{}); err != nil || res.Status != wire.SyncSuccess {
		t.Errorf("%+v, %v", res, err)
	}
}

// TestAFewOfManyFilesHaveChanged: only these come, and it takes one request to know them. PUREBOOT_TEST_SYNC_FILES says
// of how many; docs/sync.md has what 20,000 take.
func TestAFewOfManyFilesHaveChanged(t *testing.T) {
	files := 1000
	if n, err := strconv.Atoi(os.Getenv("PUREBOOT_TEST_SYNC_FILES")); err == nil {
		files = n
	}
	c := newLibrary()
	for i := range files {
		c.put(fmt.Sprintf("images/%03d/%d", i%200, i), fmt.Sprint("first ", i))
	}
	s := openSyncing(t, t.TempDir(), c, SyncSettings{Policy: wire.PolicyMirror})
	defer s.close()
	sync := func(what string, want int) {
		t.Helper()
		c.asked()
		began := time.Now()
		res, err := s.Sync(t.Context(), SyncRequest{Trigger: wire.TriggerManual})
		manifests, sent := c.asked()
		if err != nil || res.Status != wire.SyncSuccess || res.FilesSynced != want || sent != want || manifests != 1 {
			t.Errorf("%s: %+v, %v; %d manifests and %d files were asked for", what, res, err, manifests, sent)
		}
		t.Logf("%s: %d files in %v", what, want, time.Since(began))
	}
	sync("all", files)
	for i := range files / 20 {
		c.put(fmt.Sprintf("images/%03d/%d", i*20%200, i*20), fmt.Sprint("second ", i))
	}
	sync("5 %", files/20)
	sync("nothing", 0)
	if n := s.cache.Stats().Entries; n != int64(files) {
		t.Errorf("%d files are here", n)
	}
}
