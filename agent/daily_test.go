package agent

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pureboot/pureboot/agent/admin"
	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/agent/content"
	"github.com/pureboot/pureboot/agent/uplink"
)

// daily has an agent do one of its daily works over a cache that holds an image, while story runs. Days take no time.
func daily(t *testing.T, work func(*Agent, context.Context) error, story func(t *testing.T, a *Agent, file string)) {
	dir, body := t.TempDir(), noise(3*cache.ChunkSize)
	synctest.Test(t, func(t *testing.T) {
		log := slog.New(slog.DiscardHandler)
		source := func(_ context.Context, offset, _ int64) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(body[offset:])), nil
		}
		a := &Agent{log: log, link: new(uplink.Link)}
		a.cache = must(cache.Open(cache.Options{
			Dir: filepath.Join(dir, "cache"), Log: log, Repair: func(cache.Key, cache.Object) cache.Source { return source },
		}))
		a.files = must(content.Open(content.Options{Cache: a.cache, Dir: dir, Log: log}))
		a.operator = admin.New(admin.Options{Cache: a.cache, Files: a.files, Dir: dir, Log: log})
		r := must(a.cache.Fetch(t.Context(), "images/linux", must(cache.Describe(bytes.NewReader(body))), source))
		if err := r.Stored(); err != nil {
			t.Fatal(err)
		}
		r.Close()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- work(a, ctx) }()
		story(t, a, filepath.Join(dir, "cache/images/linux"))
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		a.files.Close()
		if err := a.cache.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestTheDiskIsReadEveryDay, and what it has spoiled is put right.
func TestTheDiskIsReadEveryDay(t *testing.T) {
	daily(t, (*Agent).scrub, func(t *testing.T, a *Agent, file string) {
		right := must(os.ReadFile(file))
		at := must(os.Stat(file)).ModTime()
		due := time.Now().Add(firstScrub)
		for day := range 3 {
			spoiled := bytes.Clone(right)
			spoiled[cache.ChunkSize+day] ^= 1
			if err := os.WriteFile(file, spoiled, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(file, at, at); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Until(due) - time.Minute)
			synctest.Wait()
			if n := a.cache.Stats().Repaired; n != int64(day) {
				t.Errorf("day %d: %d chunks are repaired before its time", day, n)
			}
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			if got := must(os.ReadFile(file)); a.cache.Stats().Repaired != int64(day)+1 || !bytes.Equal(got, right) {
				t.Errorf("day %d: %+v", day, a.cache.Stats())
			}
			due = due.Add(scrubEvery)
		}
	})
}

// TestWhatNobodyAsksForGoesAfterItsTime and not before, by itself.
func TestWhatNobodyAsksForGoesAfterItsTime(t *testing.T) {
	daily(t, (*Agent).expireFiles, func(t *testing.T, a *Agent, file string) {
		time.Sleep(content.Retention("images/linux") - time.Hour)
		synctest.Wait()
		if n := a.cache.Stats().Entries; n != 1 {
			t.Error("it went too early")
		}
		time.Sleep(expireEvery + 2*time.Hour)
		synctest.Wait()
		if st := a.cache.Stats(); st.Entries != 0 || st.EvictedByHand != 1 {
			t.Errorf("it stays: %+v", st)
		}
		if _, err := os.Stat(file); err == nil {
			t.Error("its file stays")
		}
	})
}
