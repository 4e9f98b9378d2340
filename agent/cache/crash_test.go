package cache

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"
)

const (
	crashDirEnv   = "PUREBOOT_CACHE_CRASH_DIR"
	crashRoundEnv = "PUREBOOT_CACHE_CRASH_ROUND"
)

// crashKeys stand in each other's way, so that names are escaped too.
var crashKeys = []Key{"images/linux", "images", "images/linux/extra", "bootloaders/ipxe.efi", "x"}

// crashOrigin is version v of a key: its bytes follow from both, and three sizes recur so that the
// size alone does not tell versions apart.
func crashOrigin(key, version int) *origin {
	return newOrigin(uint64(version)<<8|uint64(key), []int{1000, ChunkSize, 3*ChunkSize + 7}[version%3])
}

// crashChild replaces versions in two goroutines until it is killed, and says on stdout what it has
// published. A line per chunk lets the parent kill it in the middle of a fill as well.
func crashChild(dir string) {
	round, _ := strconv.Atoi(os.Getenv(crashRoundEnv))
	s, err := Open(Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	fmt.Println("open")
	if round < 0 {
		crashLarge(s)
	}
	work := func(from int) {
		for i := 0; ; i++ {
			for key := from; key < len(crashKeys); key += 2 {
				version := round*100_000 + i
				o := crashOrigin(key, version)
				r, err := s.Fetch(context.Background(), crashKeys[key], o.obj, talkingSource(o.open))
				if err == nil {
					err = r.Stored()
					r.Close()
				}
				if err != nil {
					fmt.Println("error", err)
					os.Exit(1)
				}
				fmt.Println("published", key, version)
			}
		}
	}
	go work(0)
	work(1)
}

// crashLarge fetches one large object, whose source falls silent before its end, and says when the first
// journal of it is on the disk.
func crashLarge(s *Store) {
	o := newOrigin(1, 64*mib)
	r, err := s.Fetch(context.Background(), "large", o.obj, talkingSource(func(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
		body, err := o.open(ctx, offset, length)
		return silentAfter{body, io.LimitReader(body, 48*mib-offset)}, err
	}))
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	go r.Stored()
	for s.Stats().Journals == 0 {
		<-time.After(time.Millisecond)
	}
	fmt.Println("journaled")
	select {}
}

// silentAfter is a body that sends no more once its limit is reached.
type silentAfter struct {
	io.Closer
	limited io.Reader
}

func (s silentAfter) Read(p []byte) (int, error) {
	n, err := s.limited.Read(p)
	if n == 0 && err != nil {
		select {}
	}
	return n, err
}

// TestKilledFillIsResumed kills a process in the middle of a fill. The next goes on where the last journal
// says that it was.
func TestKilledFillIsResumed(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	o := newOrigin(1, 64*mib)
	for range 5 {
		dir := t.TempDir()
		killChild(t, dir, -1, 600+rand.IntN(400))
		s := openStore(t, Options{Dir: dir})
		had := s.partBytes
		if had == 0 {
			t.Error("nothing is left of what the journal named")
		}
		again := &origin{data: o.data, obj: o.obj}
		wantBytes(t, fetch(t, s, "large", again), o.data)
		if _, sent := again.seen(); sent > o.obj.Size-had {
			t.Errorf("%d bytes fetched, with %d of %d here", sent, had, o.obj.Size)
		}
		if st := s.Stats(); st.Corruptions != 0 || st.Resumed != had {
			t.Errorf("stats %+v", st)
		}
		s.Close()
	}
}

// killChild runs crashChild until it has said left lines and, of a large object, that a journal was written.
func killChild(t *testing.T, dir string, round, left int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), self)
	child.Env = append(os.Environ(), crashDirEnv+"="+dir, crashRoundEnv+"="+strconv.Itoa(round))
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	for journaled := false; lines.Scan(); {
		journaled = journaled || lines.Text() == "journaled"
		if left--; left <= 0 && journaled {
			break
		}
	}
	child.Process.Kill()
	child.Wait()
}

func talkingSource(src Source) Source {
	return func(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
		body, err := src(ctx, offset, length)
		return talkingBody{body}, err
	}
}

type talkingBody struct{ io.ReadCloser }

func (b talkingBody) Read(p []byte) (int, error) {
	fmt.Println("reading")
	return b.ReadCloser.Read(p[:min(len(p), 32<<10)])
}

// TestKilledAtAnyMoment kills a process that fills and publishes, again and again. Afterwards every
// object is whole, and none is older than the last that was reported.
func TestKilledAtAnyMoment(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	reported := map[int]int{} // version by key
	for round := 1; round <= 40; round++ {
		child := exec.CommandContext(t.Context(), self)
		child.Env = append(os.Environ(), crashDirEnv+"="+dir, crashRoundEnv+"="+strconv.Itoa(round))
		stdout, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		left := 1 + rand.IntN(60)
		lines := bufio.NewScanner(stdout)
		for lines.Scan() { // to its end: what was said before the kill counts
			var key, version int
			if n, _ := fmt.Sscanf(lines.Text(), "published %d %d", &key, &version); n == 2 {
				reported[key] = version
			} else if bytes.HasPrefix(lines.Bytes(), []byte("error")) {
				t.Error(lines.Text())
			}
			if left--; left == 0 {
				child.Process.Kill()
			}
		}
		child.Process.Kill()
		child.Wait()
		checkAfterCrash(t, dir, reported, round)
		if t.Failed() {
			return
		}
	}
	if len(reported) != len(crashKeys) {
		t.Errorf("only %d keys were ever published", len(reported))
	}
}

func checkAfterCrash(t *testing.T, dir string, reported map[int]int, round int) {
	t.Helper()
	s := openStore(t, Options{Dir: dir})
	defer s.Close()
	if st := s.Stats(); st.Corruptions != 0 || st.DiskErrors != 0 {
		t.Errorf("stats %+v", st)
	}
	for key, name := range crashKeys {
		obj, ok := s.Current(name)
		last, wanted := reported[key]
		switch {
		case !ok && wanted:
			t.Errorf("%s is gone, version %d had been published", name, last)
		case !ok:
		default:
			r, ok := s.Get(name, obj.SHA256)
			if !ok {
				t.Errorf("%s cannot be read", name)
				continue
			}
			got, err := Describe(r)
			r.Close()
			if err != nil || got.SHA256 != obj.SHA256 || got.Size != obj.Size {
				t.Errorf("%s has %d bytes that are not its own, %v", name, got.Size, err)
			}
			if wanted && !isCrashVersion(obj, key, last, round) {
				t.Errorf("%s is older than version %d, which had been published", name, last)
			}
		}
	}
}

// isCrashVersion reports whether obj is version last of key or a later one whose report the kill cut
// off: in each round that can only be the one after the last reported.
func isCrashVersion(obj Object, key, last, round int) bool {
	versions := []int{last, last + 1}
	for r := last/100_000 + 1; r <= round; r++ {
		versions = append(versions, r*100_000)
	}
	return slices.ContainsFunc(versions, func(version int) bool {
		return crashOrigin(key, version).obj.SHA256 == obj.SHA256
	})
}
