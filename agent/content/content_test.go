package content

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/central/wire"
)

func TestAFileIsFetchedOnceAndThenServedFromHere(t *testing.T) {
	central := newCentral()
	body := central.put(wire.Images, "debian-12/linux", noise(1, 700_000))
	s := openSite(t, central)
	s.wantFile(t, "images/debian-12/linux", body, Miss)
	s.wantFile(t, "images/debian-12/linux", body, Hit)
	if asked, sent, _ := central.counts(); asked != 1 || sent != 1 {
		t.Errorf("central was asked %d times and sent %d times, want once each", asked, sent)
	}
}

func TestAFileThatThePullNamedIsAskedForOnlyWhenItIsWanted(t *testing.T) {
	central := newCentral()
	body := central.put(wire.Bootloaders, "ipxe.efi", noise(1, 1000))
	s := openSite(t, central)
	s.pull(t, central)
	if asked, sent, _ := central.counts(); asked+sent != 0 {
		t.Errorf("a pull asked for %d descriptions and %d files", asked, sent)
	}
	s.wantFile(t, "bootloaders/ipxe.efi", body, Miss)
}

func TestAnEmptyFile(t *testing.T) {
	central := newCentral()
	central.put(wire.Scripts, "empty", nil)
	s := openSite(t, central)
	s.wantFile(t, "scripts/empty", nil, Miss)
	s.wantFile(t, "scripts/empty", nil, Hit)
}

func TestWhoComesWhileAFillRunsAsksCentralNothing(t *testing.T) {
	central := newCentral()
	central.gate = make(chan struct{})
	body := central.put(wire.Images, "linux", noise(1, 3*cache.ChunkSize))
	s := openSite(t, central)
	first, err := s.Open(t.Context(), wire.Images, "linux")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	central.set(errDead) // for every new question; the transfer that runs goes on
	var readers sync.WaitGroup
	for range 20 {
		readers.Go(func() { s.wantFile(t, "images/linux", body, Collapsed) })
	}
	eventually(t, func() bool { return s.cache.Stats().Coalesced == 20 })
	close(central.gate)
	readers.Wait()
	if asked, sent, _ := central.counts(); asked != 1 || sent != 1 {
		t.Errorf("central was asked %d times and sent %d times, want once each", asked, sent)
	}
}

func TestAHerdOfAColdFileCostsOneTransfer(t *testing.T) {
	central := newCentral()
	body := central.put(wire.Bootloaders, "ipxe.efi", noise(1, 600_000))
	s := openSite(t, central)
	var herd sync.WaitGroup
	var mu sync.Mutex
	statuses := map[Status]int{}
	for range 100 {
		herd.Go(func() {
			f, err := s.Open(t.Context(), wire.Bootloaders, "ipxe.efi")
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, body) {
				t.Errorf("read %d bytes, %v", len(got), err)
			}
			mu.Lock()
			defer mu.Unlock()
			statuses[f.Status]++
		})
	}
	herd.Wait()
	if asked, sent, _ := central.counts(); asked != 1 || sent != 1 {
		t.Errorf("central was asked %d times and sent %d times, want once each", asked, sent)
	}
	if statuses[Miss] != 1 || statuses[Miss]+statuses[Collapsed]+statuses[Hit] != 100 {
		t.Errorf("answers were %v, want one miss among 100", statuses)
	}
}

func TestTheFirstClientLeavesAndTheFillGoesOn(t *testing.T) {
	central := newCentral()
	central.gate = make(chan struct{})
	body := central.put(wire.Images, "linux", noise(1, 3*cache.ChunkSize))
	s := openSite(t, central)
	ctx, leave := context.WithCancel(t.Context())
	first, err := s.Open(ctx, wire.Images, "linux")
	if err != nil {
		t.Fatal(err)
	}
	leave()
	if _, err := io.ReadAll(first); !errors.Is(err, context.Canceled) {
		t.Errorf("whoever left still reads: %v", err)
	}
	first.Close()
	second, err := s.Open(t.Context(), wire.Images, "linux")
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	close(central.gate)
	if got, err := io.ReadAll(second); second.Status != Collapsed || err != nil || !bytes.Equal(got, body) {
		t.Errorf("who follows is a %s: %d bytes, %v", second.Status, len(got), err)
	}
	if _, sent, _ := central.counts(); sent != 1 {
		t.Errorf("central sent %d times, want once", sent)
	}
}

func TestAWaitingClientLeavesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openSite(t, slowCentral{})
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		if _, err := s.Open(ctx, wire.Images, "linux"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("open: %v, want the end of its context", err)
		}
	})
}

func TestAReplacedFileIsServedNewAfterThePull(t *testing.T) {
	central := newCentral()
	old := central.put(wire.Images, "linux", noise(1, 600_000))
	s := openSite(t, central)
	s.pull(t, central)
	s.wantFile(t, "images/linux", old, Miss)

	reading, err := s.Open(t.Context(), wire.Images, "linux")
	if err != nil {
		t.Fatal(err)
	}
	defer reading.Close()
	half := make([]byte, 300_000)
	if _, err := io.ReadFull(reading, half); err != nil {
		t.Fatal(err)
	}

	current := central.put(wire.Images, "linux", noise(2, 500_000))
	s.wantFile(t, "images/linux", old, Hit) // nobody has said otherwise yet
	s.pull(t, central)
	s.wantFile(t, "images/linux", current, Miss)
	s.wantFile(t, "images/linux", current, Hit)

	rest, err := io.ReadAll(reading)
	if err != nil || !bytes.Equal(append(half, rest...), old) {
		t.Errorf("an open reader got %d bytes that are not the old version's, %v", len(half)+len(rest), err)
	}
}

func TestAFileReplacedBetweenTheQuestionAndTheFillIsAskedForAgain(t *testing.T) {
	central := newCentral()
	central.put(wire.Images, "linux", noise(1, 1000))
	s := openSite(t, central)
	if _, err := s.identify(t.Context(), "images/linux"); err != nil {
		t.Fatal(err)
	}
	current := central.put(wire.Images, "linux", noise(2, 2000))
	s.wantFile(t, "images/linux", current, Miss)
}

func TestCentralDown(t *testing.T) {
	for _, tt := range []struct {
		name string
		down error
	}{
		{"no route", errDead},
		{"401", &wire.Refusal{Status: 401}},
		{"403", &wire.Refusal{Status: 403}},
		{"429", &wire.Refusal{Status: 429}},
		{"500", &wire.Refusal{Status: 500}},
		{"503", &wire.Refusal{Status: 503}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // which makes the pauses between tries short
				central := newCentral()
				old := central.put(wire.Images, "linux", noise(1, 1000))
				central.put(wire.Images, "unread", noise(2, 1000))
				s := openSite(t, central)
				s.pull(t, central)
				s.wantFile(t, "images/linux", old, Miss)

				central.put(wire.Images, "linux", noise(3, 1000))
				s.pull(t, central)
				central.set(tt.down)
				s.wantFile(t, "images/linux", old, Stale)
				s.wantError(t, "images/unread", ErrUnavailable)
				s.wantError(t, "images/unheard-of", ErrUnavailable)
				if !s.cached("images/linux") {
					t.Error("an answer that says nothing removed the file")
				}

				central.set(nil)
				s.wantFile(t, "images/linux", noise(3, 1000), Miss)
			})
		})
	}
}

func TestAnAgentThatIsNotEnrolledServesWhatItHas(t *testing.T) {
	central := newCentral()
	body := central.put(wire.Images, "linux", noise(1, 1000))
	dir := t.TempDir()
	s := openSiteIn(t, dir, central)
	s.pull(t, central)
	s.wantFile(t, "images/linux", body, Miss)
	s.close()
	s = openSiteIn(t, dir, nil)
	s.wantFile(t, "images/linux", body, Hit)
	s.wantError(t, "images/other", ErrUnavailable)
	if err := s.Pull(t.Context(), central.now()); err != nil {
		t.Error(err)
	}
}

func TestAnOldVersionDoesNotWaitForASlowCentral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		central := newCentral()
		old := central.put(wire.Images, "linux", noise(1, 1000))
		dir := t.TempDir()
		s := openSiteIn(t, dir, central)
		s.pull(t, central)
		s.wantFile(t, "images/linux", old, Miss)
		central.put(wire.Images, "linux", noise(2, 1000))
		s.pull(t, central)
		s.close()

		for _, tt := range []struct {
			central Central
			within  time.Duration
		}{
			{slowCentral{}, 2 * time.Second},
			{stallingCentral{central}, 2 * time.Second},
			{&offlineCentral{}, 200 * time.Millisecond},
		} {
			s := openSiteIn(t, dir, tt.central)
			began := time.Now()
			s.wantFile(t, "images/linux", old, Stale)
			if took := time.Since(began); took > tt.within {
				t.Errorf("%T: served after %v, want %v", tt.central, took, tt.within)
			}
			began = time.Now()
			if _, status, err := s.Stat(t.Context(), wire.Images, "linux"); status != Hit || err != nil || time.Since(began) > 0 {
				t.Errorf("%T: stat is a %s, %v, after %v", tt.central, status, err, time.Since(began))
			}
			s.close()
		}
	})
}

// offlineCentral is slow, and known to be away.
type offlineCentral struct{ slowCentral }

func (offlineCentral) Online() bool { return false }

func TestACorruptTransferIsNeverServed(t *testing.T) {
	central := newCentral()
	old := central.put(wire.Images, "linux", noise(1, 1000))
	s := openSite(t, central)
	s.pull(t, central)
	s.wantFile(t, "images/linux", old, Miss)
	central.put(wire.Images, "linux", noise(2, 1000))
	central.put(wire.Images, "initrd", noise(3, 1000))
	s.pull(t, central)

	s.opt.Central = corruptCentral{central}
	s.wantFile(t, "images/linux", old, Stale)
	s.wantError(t, "images/initrd", ErrUnavailable)
	s.wantError(t, "images/initrd", cache.ErrCorrupt)
	if got := s.Corrupt(); !slices.Equal(got, []cache.Key{"images/initrd", "images/linux"}) {
		t.Errorf("corrupt are %v", got)
	}

	s.opt.Central = central
	s.wantFile(t, "images/linux", noise(2, 1000), Miss)
	eventually(t, func() bool { return s.cached("images/linux") })
	if got := s.Corrupt(); !slices.Equal(got, []cache.Key{"images/initrd"}) {
		t.Errorf("still corrupt are %v", got)
	}
}

func TestAFileThatCentralNoLongerHasIsRemoved(t *testing.T) {
	for _, status := range []int{404, 410} {
		central := newCentral()
		body := central.put(wire.Images, "linux", noise(1, 1000))
		s := openSite(t, central)
		s.wantFile(t, "images/linux", body, Miss)
		s.manifest.remove("images/linux") // so that central is asked
		central.set(&wire.Refusal{Status: status})
		s.wantError(t, "images/linux", fs.ErrNotExist)
		if s.cached("images/linux") {
			t.Errorf("after a %d the file is still here", status)
		}
	}
}

func TestAFileThatIsNowhere(t *testing.T) {
	s := openSite(t, newCentral())
	s.wantError(t, "images/none", fs.ErrNotExist)
	if _, _, err := s.Stat(t.Context(), wire.Images, "none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("stat: %v", err)
	}
}

func TestCentralDescribesAFileWrongly(t *testing.T) {
	good := chunksOf(wire.Images, "linux", noise(1, 300_000))
	for _, tt := range []struct {
		name  string
		spoil func(*wire.Chunks)
	}{
		{"digest", func(c *wire.Chunks) { c.SHA256 = "abc" }},
		{"chunk size", func(c *wire.Chunks) { c.ChunkSize = 1 }},
		{"chunk", func(c *wire.Chunks) { c.Chunks = []string{good.Chunks[0], "x"} }},
		{"number of chunks", func(c *wire.Chunks) { c.Chunks = c.Chunks[:1] }},
		{"size", func(c *wire.Chunks) { c.Size = -1 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := good
			tt.spoil(&c)
			if obj, err := objectOf(c); err == nil {
				t.Errorf("taken for %+v", obj)
			}
		})
	}
	if _, err := objectOf(good); err != nil {
		t.Error(err)
	}
}

func TestWhatDoesNotFitIsPassedThrough(t *testing.T) {
	central := newCentral()
	body := central.put(wire.Images, "huge", noise(1, 600_000))
	s := openSite(t, central)
	s.cache.SetLimits(100_000, 0)
	s.wantFile(t, "images/huge", body, Pass)
	s.wantFile(t, "images/huge", body, Pass)
	if s.cached("images/huge") {
		t.Error("it is in the cache")
	}
	if asked, sent, _ := central.counts(); asked != 1 || sent != 2 {
		t.Errorf("central was asked %d times and sent %d times, want once and twice", asked, sent)
	}
}

func TestStatFetchesNothing(t *testing.T) {
	central := newCentral()
	body := central.put(wire.Images, "linux", noise(1, 1000))
	s := openSite(t, central)
	for _, want := range []Status{Miss, Hit} {
		info, status, err := s.Stat(t.Context(), wire.Images, "linux")
		if err != nil || status != want || info.Size != int64(len(body)) || info.Path != "linux" {
			t.Errorf("stat is %+v, %s, %v; want a %s", info, status, err, want)
		}
	}
	if asked, sent, _ := central.counts(); asked != 1 || sent != 0 {
		t.Errorf("central was asked %d times and sent %d times", asked, sent)
	}
}

func TestStatOfAFileThatOnlyTheCacheKnows(t *testing.T) {
	central := newCentral()
	body := central.put(wire.Images, "linux", noise(1, 1000))
	s := openSite(t, central)
	s.wantFile(t, "images/linux", body, Miss)
	s.manifest.remove("images/linux")
	central.set(errDead)
	if info, status, err := s.Stat(t.Context(), wire.Images, "linux"); err != nil || status != Stale || info.Size != 1000 {
		t.Errorf("stat is %+v, %s, %v", info, status, err)
	}
	s.wantFile(t, "images/linux", body, Stale)
	if _, _, err := s.Stat(t.Context(), wire.Images, "other"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("stat: %v", err)
	}
}

func TestAScannerOfUnknownNamesIsNotOneAtCentral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		central := newCentral()
		body := central.put(wire.Images, "linux", noise(1, 1000))
		s := openSite(t, central)
		s.pull(t, central)
		for i := range 5000 {
			_, err := s.Open(t.Context(), wire.Images, "guess/"+string(rune('a'+i%26))+time.Duration(i).String())
			if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrUnavailable) {
				t.Fatal(err)
			}
		}
		if asked, _, _ := central.counts(); asked != unknownAtOnce {
			t.Errorf("central was asked %d times, want %d", asked, unknownAtOnce)
		}
		s.wantFile(t, "images/linux", body, Miss) // what is known has no part in that

		time.Sleep(time.Second)
		before, _, _ := central.counts()
		for i := range 100 {
			s.Stat(t.Context(), wire.Images, time.Duration(i).String())
		}
		if asked, _, _ := central.counts(); asked-before != unknownPerSecond {
			t.Errorf("a second later central was asked %d times, want %d", asked-before, unknownPerSecond)
		}
	})
}

func TestCloseEndsTheQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openSite(t, slowCentral{})
		done := make(chan error)
		go func() {
			_, err := s.Open(t.Context(), wire.Images, "linux")
			done <- err
		}()
		synctest.Wait()
		s.Files.Close()
		if err := <-done; !errors.Is(err, ErrUnavailable) {
			t.Errorf("open: %v", err)
		}
		s.wantError(t, "images/later", ErrUnavailable)
	})
}

func TestDescriptionsAreBounded(t *testing.T) {
	d := newDescriptions()
	chunks := make([]cache.Digest, maxDescribed/10)
	for i := range 100 {
		d.put(cache.Key(rune('a'+i)), cache.Object{Chunks: chunks})
	}
	if len(d.byKey) != 10 || d.chunks != 10*len(chunks) {
		t.Errorf("%d descriptions of %d chunks, want 10 of %d", len(d.byKey), d.chunks, 10*len(chunks))
	}
	for key := range d.byKey {
		d.forget(key)
	}
	if d.chunks != 0 {
		t.Errorf("%d chunks are left of nothing", d.chunks)
	}
}
