package cache

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// wantFiles compares the published files with want, and demands one record each and no part file.
func wantFiles(t testing.TB, s *Store, want ...string) {
	t.Helper()
	var published []string
	records, parts := 0, 0
	err := filepath.WalkDir(s.opts.Dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(s.opts.Dir, name)
		switch {
		case d.IsDir() && !strings.HasPrefix(rel, "."):
			if list, _ := os.ReadDir(name); len(list) == 0 {
				t.Errorf("empty directory %s", rel)
			}
		case d.IsDir(), rel == indexFile:
		case strings.HasPrefix(rel, partDir):
			parts++
		case strings.HasPrefix(rel, metaDir):
			records++
		default:
			published = append(published, rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	if !slices.Equal(published, want) {
		t.Errorf("files %q, want %q", published, want)
	}
	if records != len(want) || parts != 0 {
		t.Errorf("%d records and %d part files for %d objects", records, parts, len(want))
	}
}

// reopen closes s and opens its directory again.
func reopen(t testing.TB, s *Store) *Store {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return openStore(t, s.opts)
}

func TestReopenFindsEverything(t *testing.T) {
	s := openStore(t, Options{})
	objects := map[Key]*origin{
		"images/debian-12/linux":  newOrigin(1, 3*ChunkSize+1),
		"bootloaders/BOOTX64.EFI": newOrigin(2, 100),
		"bootloaders/bootx64.efi": newOrigin(3, 100),
		"a":                       newOrigin(4, 10),
		"a/b":                     newOrigin(5, 0),
		"c/d":                     newOrigin(6, 10),
		"c":                       newOrigin(7, 10),
		".meta/x":                 newOrigin(8, 10),
		"lost+found":              newOrigin(9, 10),
		Key(strings.Repeat("long/", 20) + strings.Repeat("ü", 400)): newOrigin(10, 10),
	}
	for _, key := range []Key{"a", "a/b", "c/d", "c"} { // the order decides who steps aside
		store(t, s, key, objects[key])
	}
	for key, o := range objects {
		o.obj.Modified = time.Date(2024, 2, 3, 4, 5, 6, 7, time.UTC)
		store(t, s, key, o)
	}
	for range 2 {
		s = reopen(t, s)
		for key, o := range objects {
			wantGet(t, s, key, o, TierDisk)
			if got, _ := s.Current(key); got.SHA256 != o.obj.SHA256 || !slices.Equal(got.Chunks, o.obj.Chunks) {
				t.Errorf("%q is %+v", key, got)
			}
		}
		if st := s.Stats(); st.Entries != int64(len(objects)) || st.Corruptions != 0 || st.DiskErrors != 0 {
			t.Errorf("stats %+v", st)
		}
	}
	for _, name := range []string{"images/debian-12/linux", "bootloaders/BOOTX64.EFI", "a", "a%dir/b%file", "c/d", "c%file", "%2emeta/x"} {
		if _, err := os.Stat(filepath.Join(s.opts.Dir, name)); err != nil {
			t.Error(err)
		}
	}
	if got, _ := s.Current(".meta/x"); !got.Modified.Equal(objects[".meta/x"].obj.Modified) {
		t.Errorf("modified %v", got.Modified)
	}
	for key := range objects {
		if err := s.Remove(key); err != nil {
			t.Error(err)
		}
	}
	wantFiles(t, s)
}

// TestRecovery starts from a store with an old version, "o", and a new one, "n", of the same size,
// and does to it what a crash, a bad disk or a person may do.
func TestRecovery(t *testing.T) {
	v1, v2 := newOrigin(1, 1000), newOrigin(2, 1000)
	for _, tt := range []struct {
		name    string
		damage  func(t *testing.T, dir string, old, now saved)
		want    *origin // nil: nothing
		corrupt int64
	}{
		{"nothing happened", func(*testing.T, string, saved, saved) {}, v2, 0},
		{"crash before the new data has its name", func(t *testing.T, dir string, old, now saved) {
			old.restore(t, dir)
			now.restoreRecord(t, dir)
		}, v1, 0},
		{"crash before the old record goes", func(t *testing.T, dir string, old, now saved) {
			old.restoreRecord(t, dir)
		}, v2, 0},
		{"old data with only the new record", func(t *testing.T, dir string, old, now saved) {
			old.restore(t, dir)
			now.restoreRecord(t, dir)
			remove(t, filepath.Join(dir, old.record))
		}, nil, 1},
		{"two records and a time that fits neither", func(t *testing.T, dir string, old, now saved) {
			old.restoreRecord(t, dir)
			touch(t, filepath.Join(dir, "x/k"), time.Unix(1, 0))
		}, v2, 0},
		{"data without its time", func(t *testing.T, dir string, old, now saved) {
			touch(t, filepath.Join(dir, "x/k"), time.Unix(1, 0))
		}, v2, 0},
		{"data changed by hand", func(t *testing.T, dir string, old, now saved) {
			write(t, filepath.Join(dir, "x/k"), v1.data)
		}, nil, 1},
		{"data cut short", func(t *testing.T, dir string, old, now saved) {
			write(t, filepath.Join(dir, "x/k"), v2.data[:10])
		}, nil, 1},
		{"data gone", func(t *testing.T, dir string, old, now saved) {
			remove(t, filepath.Join(dir, "x/k"))
		}, nil, 0},
		{"record gone", func(t *testing.T, dir string, old, now saved) {
			remove(t, filepath.Join(dir, now.record))
		}, nil, 0},
		{"record garbage", func(t *testing.T, dir string, old, now saved) {
			write(t, filepath.Join(dir, now.record), []byte("{"))
		}, nil, 0},
		{"record of another path", func(t *testing.T, dir string, old, now saved) {
			r := strings.Replace(string(now.recordData), `"x/k","path":"x/k"`, `"../k","path":"../k"`, 1)
			write(t, filepath.Join(dir, now.record), []byte(r))
		}, nil, 0},
		{"strays", func(t *testing.T, dir string, old, now saved) {
			write(t, filepath.Join(dir, ".part/7"), []byte("x"))
			write(t, filepath.Join(dir, ".meta/00/junk"), []byte("x"))
			mkdir(t, filepath.Join(dir, ".meta/01/junk"))
			mkdir(t, filepath.Join(dir, "y/z"))
			write(t, filepath.Join(dir, "y/stray"), []byte("x"))
			if err := os.Symlink("/etc/passwd", filepath.Join(dir, "x/link")); err != nil {
				t.Fatal(err)
			}
		}, v2, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := openStore(t, Options{})
			dir := s.opts.Dir
			store(t, s, "x/k", v1)
			old := save(t, s)
			store(t, s, "x/k", v2)
			now := save(t, s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			tt.damage(t, dir, old, now)

			for range 2 { // what one start repairs, the next finds right
				s = openStore(t, s.opts)
				if st := s.Stats(); st.DiskErrors != 0 || st.Corruptions != tt.corrupt {
					t.Errorf("stats %+v", st)
				}
				tt.corrupt = 0
				if tt.want != nil {
					wantGet(t, s, "x/k", tt.want, TierDisk)
					wantFiles(t, s, "x/k")
				} else {
					wantFiles(t, s)
				}
				s.Close()
			}
			s = openStore(t, s.opts)
			store(t, s, "x/k", v1) // whatever it was, it goes on
			wantGet(t, s, "x/k", v1, TierDisk)
		})
	}
}

// saved is a version of x/k on disk.
type saved struct {
	data       []byte
	at         time.Time
	record     string
	recordData []byte
}

func save(t *testing.T, s *Store) saved {
	t.Helper()
	info, err := s.folder.root.Stat("x/k")
	if err != nil {
		t.Fatal(err)
	}
	v := saved{at: info.ModTime(), record: s.entries["x/k"].recordName()}
	if v.data, err = s.folder.root.ReadFile("x/k"); err != nil {
		t.Fatal(err)
	}
	if v.recordData, err = s.folder.root.ReadFile(v.record); err != nil {
		t.Fatal(err)
	}
	return v
}

func (v saved) restoreRecord(t *testing.T, dir string) {
	t.Helper()
	write(t, filepath.Join(dir, v.record), v.recordData)
}

func (v saved) restore(t *testing.T, dir string) {
	t.Helper()
	v.restoreRecord(t, dir)
	write(t, filepath.Join(dir, "x/k"), v.data)
	touch(t, filepath.Join(dir, "x/k"), v.at)
}

func write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func touch(t *testing.T, name string, at time.Time) {
	t.Helper()
	if err := os.Chtimes(name, at, at); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, name string) {
	t.Helper()
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t *testing.T, name string) {
	t.Helper()
	if err := os.MkdirAll(name, 0o700); err != nil {
		t.Fatal(err)
	}
}

func TestForeignDirectoryIsRefused(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "thesis.tex"), []byte("x"))
	if s, err := Open(Options{Dir: dir}); err == nil {
		s.Close()
		t.Error("a directory that is no cache was taken")
	}
	if _, err := os.Stat(filepath.Join(dir, "thesis.tex")); err != nil {
		t.Error(err)
	}
}

func TestDirectoryOfItsOwnFilesystemIsTaken(t *testing.T) {
	dir := t.TempDir()
	mkdir(t, filepath.Join(dir, "lost+found"))
	reopen(t, openStore(t, Options{Dir: dir}))
	if _, err := os.Stat(filepath.Join(dir, "lost+found")); err != nil {
		t.Error(err)
	}
}

func TestDirectoryIsOpenOnce(t *testing.T) {
	s := openStore(t, Options{})
	if again, err := Open(Options{Dir: s.opts.Dir}); err == nil {
		again.Close()
		t.Error("opened twice")
	}
}

func TestLastUseSurvivesRestart(t *testing.T) {
	oneByOne(t, Options{MaxBytes: 3000}, func(t *testing.T, s *Store) {
		a, b, c := newOrigin(1, 1000), newOrigin(2, 1000), newOrigin(3, 1000)
		store(t, s, "a", a)
		store(t, s, "b", b)
		time.Sleep(time.Minute)
		store(t, s, "c", c)
		time.Sleep(time.Minute)
		wantGet(t, s, "a", a, TierDisk)
		used := time.Now()
		time.Sleep(time.Minute)
		s = reopen(t, s)
		for e := range s.All() {
			if e.Key == "a" && !e.LastUsed.Equal(used) {
				t.Errorf("last used %v, want %v", e.LastUsed, used)
			}
		}
		store(t, s, "d", newOrigin(4, 2000))
		wantGet(t, s, "a", a, TierDisk)
		wantMiss(t, s, "b", b)
		wantMiss(t, s, "c", c)
	})
}

// TestLastUseSurvivesCrash looks at the disk while the store runs.
func TestLastUseSurvivesCrash(t *testing.T) {
	oneByOne(t, Options{HotBytes: mib}, func(t *testing.T, s *Store) {
		o := newOrigin(1, 1000)
		store(t, s, "a", o)
		wantGet(t, s, "a", o, TierDisk)
		synctest.Wait()
		for range 3 {
			time.Sleep(noteUse + time.Second)
			wantGet(t, s, "a", o, TierHot)
			info, err := s.folder.root.Stat(s.entries["a"].recordName())
			if err != nil {
				t.Fatal(err)
			}
			if !info.ModTime().Equal(time.Now()) {
				t.Errorf("the record says %v at %v", info.ModTime(), time.Now())
			}
		}
	})
}

func TestSmallerCapEvictsOnOpen(t *testing.T) {
	s := openStore(t, Options{})
	store(t, s, "a", newOrigin(1, 1000))
	store(t, s, "b", newOrigin(2, 1000))
	s.opts.MaxBytes = 1500
	if st := reopen(t, s).Stats(); st.Entries != 1 || st.Bytes != 1000 {
		t.Errorf("stats %+v", st)
	}
}

func TestAllIsASnapshot(t *testing.T) {
	s := openStore(t, Options{})
	want := map[Key]int64{"a": 1, "b/c": 2, "b/d": 3}
	for key, size := range want {
		store(t, s, key, newOrigin(1, int(size)))
	}
	for e := range s.All() {
		if e.Object.Size != want[e.Key] {
			t.Errorf("%s has %d bytes", e.Key, e.Object.Size)
		}
		delete(want, e.Key)
		if err := s.Remove(e.Key); err != nil { // while it goes on
			t.Error(err)
		}
	}
	if len(want) != 0 {
		t.Errorf("missing %v", want)
	}
	for range s.All() {
		t.Error("removed, and still here")
	}
}
