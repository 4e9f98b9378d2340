package content

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/central/wire"
)

// TestANewVersionIsMadeOfTheOldOne: of whatever chunks both are, the new version is what central has, and of central comes
// what the old one lacks and no byte else.
func TestANewVersionIsMadeOfTheOldOne(t *testing.T) {
	chunks := make([][]byte, 6)
	for i := range chunks {
		chunks[i] = noise(uint64(i), cache.ChunkSize)
	}
	rapid.Check(t, func(rt *rapid.T) {
		version := func(label string) (body []byte) {
			for _, i := range rapid.SliceOfN(rapid.IntRange(0, len(chunks)-1), 1, 5).Draw(rt, label) {
				body = append(body, chunks[i]...)
			}
			return append(body, noise(9, rapid.SampledFrom([]int{0, 1, 1000}).Draw(rt, label+" ends with"))...)
		}
		first, second := version("old"), version("new")
		central := newCentral()
		central.put(wire.Images, "disk", first)
		s := openSite(t, central)
		defer s.close()
		s.pull(t, central)
		if err := s.Prefetch(t.Context(), wire.Images, "disk"); err != nil {
			rt.Fatal(err)
		}
		central.put(wire.Images, "disk", second)
		s.pull(t, central)

		old, file, ok := s.cache.CurrentFile("images/disk")
		if !ok {
			rt.Fatal("the old version is not there")
		}
		file.Close()
		has := map[cache.Digest]bool{}
		for _, d := range old.Chunks {
			has[d] = true
		}
		want := int64(0) // of central
		obj, err := cache.Describe(bytes.NewReader(second))
		if err != nil {
			rt.Fatal(err)
		}
		for i, d := range obj.Chunks {
			if !has[d] {
				want += min(cache.ChunkSize, obj.Size-int64(i)*cache.ChunkSize)
			}
		}
		if obj.SHA256 == old.SHA256 {
			want = 0
		}
		var received atomic.Int64
		if err := s.Bring(t.Context(), Info{Category: wire.Images, Path: "disk"}, &received); err != nil {
			rt.Fatal(err)
		}
		if received.Load() != want {
			rt.Errorf("%d bytes came of central, want %d", received.Load(), want)
		}
		s.wantFile(t, "images/disk", second, Hit)
	})
}

// TestAVersionThatComesInPiecesIsMadeOfTheOldOneToo: machines read any part of it first.
func TestAVersionThatComesInPiecesIsMadeOfTheOldOneToo(t *testing.T) {
	central := newCentral()
	old := central.put(wire.Images, "disk", noise(1, 40*cache.ChunkSize+77))
	s := openSite(t, central)
	s.pull(t, central)
	s.wantFile(t, "images/disk", old, Miss)
	changed := bytes.Clone(old)
	for _, i := range []int{3, 17, 18, 39} {
		changed[i*cache.ChunkSize+5]++
	}
	central.put(wire.Images, "disk", changed)
	s.pull(t, central)
	before := s.Stats().Bytes
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		offset := random.Int64N(int64(len(changed)))
		f, err := s.OpenPart(t.Context(), wire.Images, "disk", func(int64) (int64, int64) { return offset, 1000 })
		if err != nil {
			t.Fatal(err)
		}
		part := make([]byte, min(1000, int64(len(changed))-offset))
		for have := 0; have < len(part); {
			n, err := f.Read(part[have:])
			if have += n; err != nil && have < len(part) {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(part, changed[offset:offset+int64(len(part))]) {
			t.Fatalf("other bytes at %d", offset)
		}
		f.Close()
	}
	if err := s.Prefetch(t.Context(), wire.Images, "disk"); err != nil {
		t.Fatal(err)
	}
	s.wantFile(t, "images/disk", changed, Hit)
	// A part that was asked for on its own may be cut within a chunk, which then comes again.
	if n := s.Stats().Bytes - before; n < 4*cache.ChunkSize || n > 8*cache.ChunkSize {
		t.Errorf("%d bytes came for four chunks that changed", n)
	}
	if fmt.Sprint(s.Corrupt()) != "[]" || s.cache.Stats().Corruptions != 0 {
		t.Errorf("corrupt are %v", s.Corrupt())
	}
}

// TestADamagedOldVersionIsNoHarm: what is copied of it and is not right comes of central.
func TestADamagedOldVersionIsNoHarm(t *testing.T) {
	central := newCentral()
	old := central.put(wire.Images, "disk", noise(1, 4*cache.ChunkSize))
	s := openSite(t, central)
	s.pull(t, central)
	s.wantFile(t, "images/disk", old, Miss)
	eventually(t, func() bool { return s.cached("images/disk") })
	file := filepath.Join(s.dir, "cache", "images", "disk")
	damaged := bytes.Clone(old)
	damaged[cache.ChunkSize+5]++
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(file, damaged, 0o600), os.Chtimes(file, info.ModTime(), info.ModTime())); err != nil {
		t.Fatal(err)
	}
	changed := bytes.Clone(old)
	changed[3*cache.ChunkSize]++
	central.put(wire.Images, "disk", changed)
	s.pull(t, central)
	before := s.Stats().Bytes
	s.wantFile(t, "images/disk", changed, Miss)
	if n := s.Stats().Bytes - before; n != 2*cache.ChunkSize {
		t.Errorf("%d bytes came for a chunk that changed and one that was damaged", n)
	}
	if n := s.cache.Stats().Corruptions; n != 1 || len(s.Corrupt()) > 0 {
		t.Errorf("%d corruptions, of %v", n, s.Corrupt())
	}
}
