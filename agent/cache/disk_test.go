package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// mountedEnv names a directory for the tests that mount there; a process that finds it set has mounts of its own.
const mountedEnv = "PUREBOOT_TEST_CACHE_MOUNTED"

// mounting runs a test again in a process that may mount what nobody else sees. It reports whether this is that one.
func mounting(t *testing.T) (dir string, inside bool) {
	t.Helper()
	if dir := os.Getenv(mountedEnv); dir != "" {
		return dir, true
	}
	if os.Geteuid() != 0 {
		t.Skip("mounts a disk of its own, which needs root")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), self, "-test.run", "^"+t.Name()+"$", "-test.v")
	child.Env = append(os.Environ(), mountedEnv+"="+t.TempDir())
	child.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	out, err := child.CombinedOutput()
	if bytes.Contains(out, []byte("--- SKIP")) || errors.Is(err, syscall.EPERM) {
		t.Skipf("cannot mount a disk: %v: %s", err, out)
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	return "", false
}

func mount(t *testing.T, dir, options string, flags uintptr) {
	t.Helper()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", flags, options); err != nil {
		t.Skipf("mount: %v", err)
	}
}

func wantDisk(t *testing.T, s *Store, state DiskState, why string) {
	t.Helper()
	if d := s.Stats().Disk; d.State != state || d.Since.IsZero() || !strings.Contains(d.Error, why) {
		t.Errorf("disk %+v, want %s and %q", d, state, why)
	}
}

// TestSmallDisk fetches more than a disk holds, in a herd, with somebody else's file on it: all are served, policy makes
// room first, and when the other file is gone things are stored again.
func TestSmallDisk(t *testing.T) {
	dir, inside := mounting(t)
	if !inside {
		return
	}
	mount(t, dir, "size=16m", 0)
	s := openStore(t, Options{Dir: filepath.Join(dir, "cache")})
	serve := func(from, to int) {
		var clients sync.WaitGroup
		for i := from; i < to; i++ {
			o, w := newOrigin(uint64(i), mib), newWeb(uint64(1000+i), mib)
			w.weak, w.chunked = i%2 == 0, i%3 == 0
			for range 2 {
				clients.Go(func() {
					r, err := s.Fetch(t.Context(), Key(fmt.Sprint("c", i)), o.obj, o.open)
					if err != nil {
						t.Error(err)
						return
					}
					defer r.Close()
					wantBytes(t, r, o.data)
				})
				clients.Go(func() {
					r, err := s.Stream(t.Context(), Key(fmt.Sprint("w", i)), "", 0, 0, w.answer)
					if errors.Is(err, ErrNotStored) {
						return // who asked fetches for itself
					}
					if err != nil {
						t.Error(err)
						return
					}
					defer r.Close()
					wantBytes(t, r, w.data)
				})
			}
			if i%4 == 3 {
				clients.Wait()
			}
		}
		clients.Wait()
	}
	serve(0, 24)
	if st := s.Stats(); st.EvictedFree == 0 || st.Bytes == 0 {
		t.Errorf("no room was made: %+v", st)
	}
	foreign := filepath.Join(dir, "foreign")
	fillDisk(t, foreign)
	serve(100, 104)
	if err := os.Remove(foreign); err != nil {
		t.Fatal(err)
	}
	serve(200, 208)
	o := newOrigin(300, mib)
	store(t, s, "last", o)
	wantGet(t, s, "last", o, TierDisk)
	wantDisk(t, s, DiskOK, "")
	s = reopen(t, s)
	wantGet(t, s, "last", o, TierDisk)
}

// fillDisk writes until the disk is full.
func fillDisk(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 64<<10))
	}
	for err = nil; err == nil; {
		_, err = f.Write(make([]byte, 512))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

// TestStartOnAFullDisk, on which not even an empty file can be made.
func TestStartOnAFullDisk(t *testing.T) {
	dir, inside := mounting(t)
	if !inside {
		return
	}
	mount(t, dir, "size=16m,nr_inodes=400", 0)
	opts := Options{Dir: filepath.Join(dir, "cache")}
	s := openStore(t, opts)
	o, next := newOrigin(1, mib), newOrigin(2, mib)
	store(t, s, "k", o)
	s.Close()
	fillDisk(t, filepath.Join(dir, "foreign"))
	for i := 0; ; i++ {
		if f, err := os.Create(filepath.Join(dir, fmt.Sprint(i))); err != nil {
			break
		} else {
			f.Close()
		}
	}
	s = openStore(t, opts)
	wantDisk(t, s, DiskFull, "")
	wantGet(t, s, "k", o, TierDisk)
	wantBytes(t, fetch(t, s, "next", next), next.data)
}

// TestWhatNoDiskCouldTake says nothing about this one.
func TestWhatNoDiskCouldTake(t *testing.T) {
	s := openStore(t, Options{MinFreeBytes: 1})
	w := newWeb(1, 1000)
	w.obj.Size = 1 << 60
	_, err := s.Stream(t.Context(), "k", "", 0, 0, w.answer)
	if d := s.Stats().Disk; !errors.Is(err, ErrNotStored) || d.State != DiskOK {
		t.Errorf("%v, the disk is %+v", err, d)
	}
}

// TestReadOnlyDisk serves what is there, keeps nothing else, and goes on as before when the disk takes writes again.
func TestReadOnlyDisk(t *testing.T) {
	dir, inside := mounting(t)
	if !inside {
		return
	}
	mount(t, dir, "size=64m", 0)
	opts := Options{Dir: filepath.Join(dir, "cache")}
	s := openStore(t, opts)
	o, next, gone := newOrigin(1, mib), newOrigin(2, mib), newOrigin(3, mib)
	store(t, s, "k", o)
	store(t, s, "gone", gone)
	if err := s.folder.write(partDir+"/"+purgePrefix+"9", (&forgotten{entries: []*entry{s.entries["gone"]}}).encode()); err != nil {
		t.Fatal(err)
	}
	half := newWeb(4, 4*mib)
	half.gate, half.gateAt = make(chan struct{}), 2*mib
	r := streamed(t, s, "half", "", half)
	wantBytes(t, io.LimitReader(r, mib), half.data[:mib])
	s.Close()
	half.gate = nil
	mount(t, dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY)

	s = openStore(t, opts)
	wantDisk(t, s, DiskFailing, "read-only")
	wantGet(t, s, "k", o, TierDisk)
	wantMiss(t, s, "gone", gone)
	for range 2 {
		r := fetch(t, s, "next", next)
		wantBytes(t, r, next.data)
		if r.Tier() != TierPass {
			t.Errorf("tier %s", r.Tier())
		}
	}
	if _, err := s.Stream(t.Context(), "half", "", 0, 0, half.answer); !errors.Is(err, ErrNotStored) {
		t.Errorf("Stream = %v", err)
	}
	mount(t, dir, "", syscall.MS_REMOUNT)
	if err := s.tryDisk(); err != nil {
		t.Fatal(err)
	}
	s.well()
	wantDisk(t, s, DiskOK, "read-only")
	store(t, s, "next", next)
	if err := streamed(t, s, "half", "", half).Stored(); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Adopted != 1 {
		t.Errorf("stats %+v", st)
	}
	s = reopen(t, s)
	wantFiles(t, s, "k", "next", "half")
}

// TestFolderThatCannotBeOpened is passed by until it can.
func TestFolderThatCannotBeOpened(t *testing.T) {
	dir := t.TempDir()
	home := filepath.Join(dir, "cache")
	if err := os.WriteFile(home, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(Options{Dir: home, MaxBytes: 10 * mib, HotBytes: mib, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		wantDisk(t, s, DiskFailing, "not a directory")
		o, w := newOrigin(1, mib), newWeb(2, mib)
		r := fetch(t, s, "k", o)
		wantBytes(t, r, o.data)
		if err := r.Stored(); !errors.Is(err, ErrNotStored) || r.Tier() != TierPass {
			t.Errorf("Stored = %v, tier %s", err, r.Tier())
		}
		if _, err := s.Stream(t.Context(), "w", "", 0, 0, w.answer); !errors.Is(err, ErrNotStored) {
			t.Errorf("Stream = %v", err)
		}
		s.SetLimits(5*mib, 0)
		if n, err := s.Purge(anything); n.Objects != 0 || err != nil {
			t.Errorf("purged %v, %v", n, err)
		}
		if err := errors.Join(s.Scrub(context.Background(), 0), s.Remove("k")); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * probeEvery)
		wantDisk(t, s, DiskFailing, "not a directory")
		if err := os.Remove(home); err != nil {
			t.Fatal(err)
		}
		time.Sleep(probeEvery)
		synctest.Wait()
		wantDisk(t, s, DiskOK, "not a directory")
		store(t, s, "k", o)
		wantGet(t, s, "k", o, TierDisk)
	})
}

// TestBrokenDiskIsTriedAgain: after an error nothing is stored until the disk has been tried.
func TestBrokenDiskIsTriedAgain(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := openStore(t, Options{Dir: dir})
		create, broken := s.createPart, true
		s.createPart = func(name string, keep bool) (part, error) {
			if broken {
				return nil, syscall.EIO
			}
			return create(name, keep)
		}
		o := newOrigin(1, 2*ChunkSize)
		wantBytes(t, fetch(t, s, "k", o), o.data)
		wantDisk(t, s, DiskFailing, "create part file: input/output error")
		broken = false
		r := fetch(t, s, "k", o)
		wantBytes(t, r, o.data)
		if st := s.Stats(); r.Tier() != TierPass || st.DiskErrors != 1 {
			t.Errorf("tier %s, stats %+v", r.Tier(), st)
		}
		time.Sleep(probeEvery)
		synctest.Wait()
		wantDisk(t, s, DiskOK, "input/output error")
		store(t, s, "k", o)
	})
}

// TestPurgeOnAFullDisk needs no room: it forgets at once instead.
func TestPurgeOnAFullDisk(t *testing.T) {
	dir, inside := mounting(t)
	if !inside {
		return
	}
	mount(t, dir, "size=8m", 0)
	s := openStore(t, Options{Dir: filepath.Join(dir, "cache")})
	o := newOrigin(1, mib)
	store(t, s, "images/a", o)
	fillDisk(t, filepath.Join(dir, "foreign"))
	if n, err := s.Purge(underImages); n.Objects != 1 || err == nil {
		t.Errorf("purged %v, %v", n, err)
	}
	wantMiss(t, s, "images/a", o)
	wantMiss(t, reopen(t, s), "images/a", o)
}
