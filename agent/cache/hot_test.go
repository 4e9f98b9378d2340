package cache

import (
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

func TestSecondReadComesFromMemory(t *testing.T) {
	s := openStore(t, Options{HotBytes: 4 * mib, HotMaxObject: 1000})
	empty, small, large := newOrigin(1, 0), newOrigin(2, 1000), newOrigin(3, 1001)
	for key, o := range map[Key]*origin{"empty": empty, "small": small, "large": large} {
		store(t, s, key, o)
		wantGet(t, s, key, o, TierDisk)
	}
	s.hot.cache.Wait()
	wantGet(t, s, "empty", empty, TierHot)
	wantGet(t, s, "small", small, TierHot)
	wantGet(t, s, "large", large, TierDisk)
	r, ok := s.Get("small", small.obj.SHA256)
	if !ok {
		t.Fatal("small is not here")
	}
	defer r.Close()
	if _, whole := r.File(); whole {
		t.Error("memory offered as a file")
	}
	if _, err := r.Seek(-10, io.SeekEnd); err != nil {
		t.Fatal(err)
	}
	wantBytes(t, r, small.data[990:])
	if st := s.Stats(); st.HotHits != 3 || st.DiskHits != 4 {
		t.Errorf("stats %+v", st)
	}
}

func TestReplacedObjectIsNotServedFromMemory(t *testing.T) {
	s := openStore(t, Options{HotBytes: 4 * mib})
	v1, v2 := newOrigin(1, 1000), newOrigin(2, 1000)
	store(t, s, "k", v1)
	wantGet(t, s, "k", v1, TierDisk)
	s.hot.cache.Wait()
	wantGet(t, s, "k", v1, TierHot)
	store(t, s, "k", v2)
	wantMiss(t, s, "k", v1)
	wantGet(t, s, "k", v2, TierDisk)
	s.hot.cache.Wait()
	wantGet(t, s, "k", v2, TierHot)
	if err := s.Remove("k"); err != nil {
		t.Fatal(err)
	}
	wantMiss(t, s, "k", v2)
}

func TestHotTierIsBounded(t *testing.T) {
	s := openStore(t, Options{HotBytes: 100_000})
	for i := range 50 {
		key, o := Key(string(rune('a'+i%26))+string(rune('a'+i/26))), newOrigin(uint64(i), 10_000)
		store(t, s, key, o)
		wantGet(t, s, key, o, TierDisk)
		s.hot.cache.Wait()
	}
	if left := s.hot.cache.RemainingCost(); left < 0 {
		t.Errorf("%d bytes over", -left)
	}
}

// TestDamageIsFoundOnTheWayToMemory flips a byte on disk.
func TestDamageIsFoundOnTheWayToMemory(t *testing.T) {
	s := openStore(t, Options{HotBytes: 4 * mib})
	o := newOrigin(1, 1000)
	store(t, s, "k", o)
	name := filepath.Join(s.opts.Dir, "k")
	data := append([]byte(nil), o.data...)
	data[500]++
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	wantBytes(t, fetch(t, s, "k", o), o.data)
	if st := s.Stats(); st.Corruptions != 1 || st.Misses != 2 {
		t.Errorf("stats %+v", st)
	}
}

func TestMissingAndShortFilesAreFetchedAgain(t *testing.T) {
	for name, damage := range map[string]func(string) error{
		"missing": os.Remove,
		"short":   func(name string) error { return os.Truncate(name, 999) },
	} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, Options{})
			o := newOrigin(1, 1000)
			store(t, s, "a/k", o)
			if err := damage(filepath.Join(s.opts.Dir, "a/k")); err != nil {
				t.Fatal(err)
			}
			wantMiss(t, s, "a/k", o)
			wantFiles(t, s)
			store(t, s, "a/k", o)
			wantGet(t, s, "a/k", o, TierDisk)
		})
	}
}

// TestFileThatShrinksUnderItsReader goes on from the source where Fetch gave one.
func TestFileThatShrinksUnderItsReader(t *testing.T) {
	s := openStore(t, Options{})
	o := newOrigin(1, 3*ChunkSize)
	store(t, s, "k", o)
	r := fetch(t, s, "k", o)
	got, ok := s.Get("k", o.obj.SHA256)
	if !ok {
		t.Fatal("k is not here")
	}
	defer got.Close()
	if err := os.Truncate(filepath.Join(s.opts.Dir, "k"), ChunkSize+10); err != nil {
		t.Fatal(err)
	}
	wantBytes(t, r, o.data)
	if r.Tier() != TierPass {
		t.Errorf("tier %s", r.Tier())
	}
	if n, err := io.Copy(io.Discard, got); n != ChunkSize+10 || err == nil {
		t.Errorf("without a source: %d bytes, %v", n, err)
	}
	wantMiss(t, s, "k", o)
}

// TestWhatTheDiskDoesNotGiveIsFetchedAgain: the kernel met the fault, sending the file.
func TestWhatTheDiskDoesNotGiveIsFetchedAgain(t *testing.T) {
	s := openStore(t, Options{})
	o := newOrigin(1, 2*ChunkSize)
	store(t, s, "k", o)
	r := fetch(t, s, "k", o)
	r.Failed(nil)
	r.Failed(syscall.EPIPE)
	wantGet(t, s, "k", o, TierDisk)
	r.Failed(&os.SyscallError{Syscall: "sendfile", Err: syscall.EIO})
	r.Failed(&os.SyscallError{Syscall: "sendfile", Err: syscall.EIO})
	if st := s.Stats(); st.Disk.State != DiskFailing {
		t.Errorf("the disk is %+v", st.Disk)
	}
	wantMiss(t, s, "k", o)
}

// TestCloseWhileReading is for the race detector: ristretto must not be used while it closes.
func TestCloseWhileReading(t *testing.T) {
	s := openStore(t, Options{HotBytes: mib})
	o := newOrigin(1, 100)
	store(t, s, "k", o)
	started := make(chan struct{}, 4)
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			started <- struct{}{}
			for {
				r, ok := s.Get("k", o.obj.SHA256)
				if !ok {
					return
				}
				r.Close()
			}
		})
	}
	for range 4 {
		<-started
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	readers.Wait()
}

// TestWhatIsKeptWithAnObjectGoesWithIt follows a memo through a new version.
func TestWhatIsKeptWithAnObjectGoesWithIt(t *testing.T) {
	s := openStore(t, Options{HotBytes: 4 * mib})
	v1, v2 := newOrigin(1, 1000), newOrigin(2, 1000)
	if s.Hot("k") != nil {
		t.Fatal("something is there")
	}
	for i, o := range []*origin{v1, v2} {
		store(t, s, "k", o)
		wantGet(t, s, "k", o, TierDisk)
		s.hot.cache.Wait()
		hot := s.Hot("k")
		if hot == nil || hot.Key() != "k" || hot.Object().SHA256 != o.obj.SHA256 || string(hot.Bytes()) != string(o.data) {
			t.Fatalf("version %d: found %+v", i, hot)
		}
		if hot.Memo() != nil {
			t.Errorf("version %d has %v already", i, hot.Memo())
		}
		hot.SetMemo(i)
		before := s.Stats().HotHits
		hot.Use()
		if n := s.Stats().HotHits; n != before+1 {
			t.Errorf("a use is counted %d times", n-before)
		}
		if m := s.Hot("k").Memo(); m != i {
			t.Errorf("version %d keeps %v", i, m)
		}
	}
	if err := s.Remove("k"); err != nil {
		t.Fatal(err)
	}
	if s.Hot("k") != nil {
		t.Error("what was removed is found")
	}
}
