package cache

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func BenchmarkGet(b *testing.B) {
	for _, bm := range []struct {
		tier Tier
		hot  int64
		size int
	}{
		{TierHot, 8 * mib, 4096},
		{TierDisk, 0, 4096},
		{TierDisk, 0, 8 * mib},
	} {
		b.Run(fmt.Sprintf("%s/%d", bm.tier, bm.size), func(b *testing.B) {
			s := openStore(b, Options{HotBytes: bm.hot})
			o := newOrigin(1, bm.size)
			store(b, s, "bootloaders/ipxe.efi", o)
			wantGet(b, s, "bootloaders/ipxe.efi", o, TierDisk)
			if bm.hot > 0 {
				s.hot.cache.Wait()
			}
			buf := make([]byte, 32<<10)
			b.SetBytes(int64(bm.size))
			b.ReportAllocs()
			for b.Loop() {
				r, ok := s.Get("bootloaders/ipxe.efi", o.obj.SHA256)
				if !ok || r.Tier() != bm.tier {
					b.Fatal("not where it should be")
				}
				for {
					if _, err := r.Read(buf); err == io.EOF {
						break
					} else if err != nil {
						b.Fatal(err)
					}
				}
				r.Close()
			}
		})
	}
}

func BenchmarkFetchCold(b *testing.B) {
	for _, size := range []int{4096, 8 * mib} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s := openStore(b, Options{})
			o := newOrigin(1, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				r, err := s.Fetch(b.Context(), "images/linux", o.obj, o.open)
				if err == nil {
					err = r.Stored()
				}
				if err != nil {
					b.Fatal(err)
				}
				r.Close()
				if err := s.Remove("images/linux"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkOpen starts over 100,000 objects.
func BenchmarkOpen(b *testing.B) {
	const objects = 100_000
	dir := b.TempDir()
	if err := openStore(b, Options{Dir: dir}).Close(); err != nil {
		b.Fatal(err)
	}
	o := newOrigin(1, 1)
	for i := range objects {
		key := Key(fmt.Sprintf("images/%03d/%d", i%500, i))
		name := filepath.Join(dir, string(key))
		if i < 500 {
			if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
				b.Fatal(err)
			}
		}
		at := time.Unix(1e9, int64(i))
		rec := newRecord(key, string(key), o.obj, at)
		data, err := json.Marshal(rec)
		if err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, rec.name), data, 0o600); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(name, o.data, 0o600); err != nil {
			b.Fatal(err)
		}
		if err := os.Chtimes(name, at, at); err != nil {
			b.Fatal(err)
		}
	}
	openStore(b, Options{Dir: dir}).Close() // writes the index
	for b.Loop() {
		s := openStore(b, Options{Dir: dir})
		b.StopTimer()
		if n := s.Stats().Entries; n != objects {
			b.Fatalf("%d entries", n)
		}
		s.Close()
		b.StartTimer()
	}
}
