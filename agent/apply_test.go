package agent

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/agent/uplink"
	"github.com/pureboot/pureboot/central/wire"
)

func TestWhatAnOperatorHasSetIsPinned(t *testing.T) {
	for _, tt := range []struct {
		file string
		env  map[string]string
		want []string
	}{
		{"", nil, nil},
		{"# cache: {max_size_gb: 7}\nsync:\n  # schedule: x\ncache: null\n", nil, nil},
		{"cache: {min_free_gb: 1, hot_mb: 1}\n", nil, nil},
		{"cache:\n  max_size_gb: 50\n  policy: mirror\n", nil, []string{"cache_max_size_gb", "cache_policy"}},
		{"sync: {schedule: \"\", max_mb_per_s: 0}\n", nil, []string{"sync_schedule", "sync_max_mb_per_s"}},
		{"cache: {patterns: []}\n", map[string]string{"CACHE_RETENTION_DAYS": "9"}, []string{"cache_patterns", "cache_retention_days"}},
		{"", map[string]string{"CACHE_MAX_SIZE_GB": "", "SYNC_SCHEDULE": ""}, []string{"sync_schedule"}}, // as Load takes them
	} {
		t.Run("", func(t *testing.T) {
			for name, value := range tt.env {
				t.Setenv("PUREBOOT_AGENT_"+name, value)
			}
			if got, err := Load(writeConfig(t, tt.file)); err != nil || !slices.Equal(got.Pinned, tt.want) {
				t.Errorf("%q with %v pins %v, want %v; %v", tt.file, tt.env, got.Pinned, tt.want, err)
			}
		})
	}
}

func TestSettingsAreAppliedInEveryRoomOrInNone(t *testing.T) {
	cfg := config(t, nil)
	cfg.Cache.MaxSizeGB, cfg.Pinned = 7, []string{"cache_max_size_gb"}
	a := start(t, cfg)
	good := cfg.local()
	good.CacheMaxSizeGB, good.CacheRetentionDays, good.SyncMaxMBPerS, good.AutonomyLevel = 9, 5, 3, "full"
	if err := a.Apply(good); err != nil {
		t.Fatal(err)
	}
	if got := a.cache.Stats().MaxBytes; got != 7e9 {
		t.Errorf("the cache has %d bytes, and 7 GB are pinned", got)
	}
	if got := a.status(t.Context()).Settings; got.CacheMaxSizeGB != 7 || got.SyncMaxMBPerS != 3 || got.CacheRetentionDays != 5 || got.AutonomyLevel != "full" {
		t.Errorf("it works by %+v", got)
	}

	bad := good
	bad.CacheMaxSizeGB = -1 // which is pinned, and so no matter
	bad.SyncMaxMBPerS, bad.CachePolicy, bad.CachePatterns, bad.SyncSchedule = 1<<40, "all", []string{"["}, "daily"
	bad.CacheRetentionDays, bad.HeartbeatSeconds, bad.AutonomyLevel = -1, 0, "some"
	err := a.Apply(bad)
	if err == nil {
		t.Fatal("it is taken")
	}
	keys := []string{
		"cache.policy", "cache.patterns", "sync.schedule", "sync.max_mb_per_s", "cache.retention_days", "heartbeat_seconds", "autonomy_level",
	}
	faults := strings.Split(err.Error(), "\n")
	if len(faults) != len(keys) {
		t.Errorf("%d faults, want %d: %v", len(faults), len(keys), err)
	}
	for i, key := range keys[:len(faults)] {
		if !strings.HasPrefix(faults[i], key+": ") {
			t.Errorf("fault %d is %q, want it of %s", i, faults[i], key)
		}
	}
	if got := a.status(t.Context()).Settings; got.SyncMaxMBPerS != 3 || got.CachePolicy != good.CachePolicy {
		t.Errorf("after a refusal it works by %+v", got)
	}
}

// TestEachSettingIsWorkedBy once a heartbeat has brought it, in the room that it is for.
func TestEachSettingIsWorkedBy(t *testing.T) {
	c := startRealCentral(t)
	c.call(t, 200, "PATCH", "/api/v1/sites/"+c.site, `{"heartbeat_seconds":1}`)
	unused := c.put(t, "images/unused", noise(1000))
	a := startPair(t, c)
	a.wantFile(t, "images/unused", unused)
	a.settled(t)
	a.end(t)
	long := time.Now().Add(-4 * 24 * time.Hour)
	err := filepath.WalkDir(filepath.Join(a.cfg.CacheDir(), ".meta"), func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			err = os.Chtimes(name, long, long) // when its object was used last
		}
		return err
	})
	if err = errors.Join(err, os.Remove(filepath.Join(a.cfg.CacheDir(), ".index"))); err != nil {
		t.Fatal(err)
	}
	a = start(t, a.cfg)
	if gone, err := a.operator.Expire(); err != nil || gone.Objects != 0 {
		t.Errorf("%d objects expire after four days, %v", gone.Objects, err)
	}
	c.call(t, 200, "PATCH", "/api/v1/sites/"+c.site, `{"cache_policy":"pattern","cache_patterns":["scripts/**"],"cache_max_size_gb":3,
		"cache_retention_days":2,"sync_schedule":"5 4 * * *","sync_max_mb_per_s":1,"heartbeat_seconds":3600,"autonomy_level":"limited"}`)
	eventually(t, "they are applied", func() bool { return a.current.Load().Cache.MaxSizeGB == 3 })

	if got := a.cache.Stats().MaxBytes; got != 3e9 {
		t.Errorf("the cache has %d bytes", got)
	}
	want := uplink.SyncSettings{Policy: wire.PolicyPattern, Patterns: []string{"scripts/**"}, Schedule: "5 4 * * *"}
	if got := a.syncer.State(); !reflect.DeepEqual(got.Settings, want) || got.Next.Hour() != 4 || a.files.Policy().Name() != want.Policy {
		t.Errorf("it syncs by %+v, next at %v", got.Settings, got.Next)
	}
	if gone, err := a.operator.Expire(); err != nil || gone.Objects != 1 {
		t.Errorf("%d objects expire after four days, where they are kept for two; %v", gone.Objects, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	load := cache.Load{Foreground: true}
	if err := errors.Join(a.budget.Admit(ctx, 100e6, load), a.budget.Admit(ctx, 1, load)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("100 MB at 1 MB/s take no time: %v", err)
	}
	if got := a.status(t.Context()).Settings; got.AutonomyLevel != "limited" || got.HeartbeatSeconds != 3600 {
		t.Errorf("the status says %+v", got)
	}
}

func TestSettingsChangeUnderATransfer(t *testing.T) {
	c := startRealCentral(t)
	c.call(t, 200, "PATCH", "/api/v1/sites/"+c.site, `{"heartbeat_seconds":1}`)
	body := c.put(t, "images/big", noise(3<<20))
	gate := make(chan struct{})
	c.lie = func(n int, _ *http.Request, w *wireTap) { w.holdAt, w.hold = 2<<20, gate }
	a := startPair(t, c)
	site := func() map[string]any {
		return c.call(t, 200, "GET", "/api/v1/sites/"+c.site+"/health", "")["config"].(map[string]any)
	}
	eventually(t, "the first settings are applied", func() bool { return site()["state"] == wire.ConfigApplied })

	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+a.at["http"]+"/images/big", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got := make([]byte, 1<<20)
	if _, err := io.ReadFull(res.Body, got); err != nil {
		t.Fatal(err)
	}
	c.call(t, 200, "PATCH", "/api/v1/sites/"+c.site, `{"cache_max_size_gb":3,"sync_max_mb_per_s":50,"cache_retention_days":2}`)
	eventually(t, "the others are", func() bool { return a.cache.Stats().MaxBytes == 3e9 && site()["state"] == wire.ConfigApplied })
	close(gate)
	rest, err := io.ReadAll(res.Body)
	if err != nil || !bytes.Equal(append(got, rest...), body) {
		t.Errorf("the transfer ended with %d bytes of %d, %v", len(got)+len(rest), len(body), err)
	}
	kept := func() bool {
		text, err := os.ReadFile(filepath.Join(a.cfg.StateDir(), "config.json"))
		return err == nil && bytes.Contains(text, []byte(`"cache_max_size_gb": 3`))
	}
	eventually(t, "they have proved good", kept)

	// They are there at the next start, though central is not.
	a.end(t)
	c.CloseClientConnections()
	c.Listener.Close()
	again := start(t, a.cfg)
	if got := again.cache.Stats().MaxBytes; got != 3e9 {
		t.Errorf("after a restart the cache has %d bytes", got)
	}
	if r := again.config.Report(); r.Generation == "" || r.State != wire.ConfigApplied {
		t.Errorf("after a restart it reports %+v", r)
	}
}
