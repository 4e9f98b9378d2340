package cache

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestJotsAreReadAsWritten: whatever a kill leaves of the last write, what was noted before it is there.
func TestJotsAreReadAsWritten(t *testing.T) {
	f, err := openFolder(memoryDir(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	rapid.Check(t, func(t *rapid.T) {
		const size = 1 << 40
		var noted []segments
		j, err := f.newJot("part", &journal{Key: "k", Size: size, Meta: make([]byte, rapid.IntRange(0, 9000).Draw(t, "meta"))})
		if err != nil {
			t.Fatal(err)
		}
		defer j.close()
		var have segments
		for range rapid.IntRange(1, 6).Draw(t, "writes") {
			for range rapid.IntRange(1, jotSegments/4).Draw(t, "segments") {
				begin := rapid.Int64Range(0, size-1).Draw(t, "begin")
				have.add(segment{begin, min(size, begin+rapid.Int64Range(1, 1000).Draw(t, "length"))})
			}
			if err := j.write(have); err != nil {
				t.Fatal(err)
			}
			if len(have) <= jotSegments {
				noted = append(noted, slices.Clone(have))
			}
		}
		data, err := f.root.ReadFile("part" + jotExt)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := parseJot(data); err != nil || !slices.Equal(got.Have, noted[len(noted)-1]) || got.Boot != f.boot || got.Key != "k" {
			t.Fatalf("read %+v, %v", got, err)
		}
		// The last write was cut.
		end := int(j.slots) + int(j.n%jotSlots)*jotPage + 12 + 16*len(noted[len(noted)-1])
		data[rapid.IntRange(end-16, end+31).Draw(t, "byte")] ^= 1
		got, err := parseJot(data)
		if err != nil {
			t.Fatal(err)
		}
		var want segments
		if len(noted) > 1 {
			want = noted[len(noted)-2]
		}
		if !slices.Equal(got.Have, want) {
			t.Errorf("after a cut write %v, want %v", got.Have, want)
		}
	})
}

// TestJotsHoldUntilTheNextBoot also has no journal: the process was killed before the first.
// TestJotsAddToTheJournal what came after it was written.
func TestJotsAddToTheJournal(t *testing.T) {
	dir := t.TempDir()
	w := newWeb(1, 8*mib)
	halfFilled(t, dir, func(s *Store) *Reader { return streamed(t, s, "k", "", w) }, w.origin)
	part := partIn(t, dir)
	if _, err := os.Stat(part + jotExt); err != nil {
		t.Skip("the system has no name for its boots")
	}
	data, err := os.ReadFile(part + journalExt)
	if err != nil {
		t.Fatal(err)
	}
	j, err := parseJournal(data)
	if err != nil {
		t.Fatal(err)
	}
	j.Have = segments{{0, ChunkSize}}
	if data, err = j.encode(); err == nil {
		err = os.WriteFile(part+journalExt, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	s := openStore(t, Options{Dir: dir})
	wantBytes(t, streamed(t, s, "k", "", w), w.data)
	if _, sent := w.seen(); sent > w.obj.Size/2+mib {
		t.Errorf("%d bytes sent", sent)
	}
}

func TestJotsHoldUntilTheNextBoot(t *testing.T) {
	for _, rebooted := range []bool{false, true} {
		dir := t.TempDir()
		w := newWeb(1, 8*mib)
		halfFilled(t, dir, func(s *Store) *Reader { return streamed(t, s, "k", "", w) }, w.origin)
		part := partIn(t, dir)
		remove(t, part+journalExt)
		if _, err := os.Stat(part + jotExt); err != nil {
			t.Skip("the system has no name for its boots")
		}
		s := openStore(t, Options{Dir: t.TempDir()})
		boot := s.folder.boot
		if rebooted {
			boot = "another"
		}
		data, err := os.ReadFile(part + jotExt)
		if err != nil {
			t.Fatal(err)
		}
		j, err := parseJot(data)
		if err != nil {
			t.Fatal(err)
		}
		sub, err := openFolder(dir)
		if err != nil {
			t.Fatal(err)
		}
		sub.boot = boot
		again, err := sub.newJot(filepath.Join(partDir, filepath.Base(part)), j)
		if err := errors.Join(err, again.write(j.Have), again.close(), sub.close()); err != nil {
			t.Fatal(err)
		}
		s = openStore(t, Options{Dir: dir})
		wantBytes(t, streamed(t, s, "k", "", w), w.data)
		if _, sent := w.seen(); rebooted != (sent == w.obj.Size) {
			t.Errorf("rebooted %v: %d bytes sent", rebooted, sent)
		}
	}
}
