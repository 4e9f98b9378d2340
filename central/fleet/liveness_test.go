package fleet

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func beat(t *testing.T, site uuid.UUID, seq int64, at time.Duration) store.Beat {
	t.Helper()
	b, err := store.NewBeat(site, noon.Add(at), wire.Heartbeat{BootID: "boot", Seq: seq})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTheNewestBeatIsWritten(t *testing.T) {
	var l liveness
	a, b := uuid.New(), uuid.New()
	for _, in := range []store.Beat{beat(t, a, 1, 0), beat(t, b, 7, 0), beat(t, a, 3, 2), beat(t, a, 2, 3)} {
		if err := l.hear(in); err != nil {
			t.Fatal(err)
		}
	}
	if got, ok := l.last(a); !ok || got.Report.Seq != 3 {
		t.Errorf("last of a: %d, %v", got.Report.Seq, ok)
	}
	written := map[uuid.UUID]int64{}
	err := l.write(func(beats []store.Beat) error {
		for _, b := range beats {
			written[b.Site] = b.Report.Seq
		}
		if got, ok := l.last(a); !ok || got.Report.Seq != 3 {
			t.Errorf("while it is written, last of a: %d, %v", got.Report.Seq, ok)
		}
		return nil
	})
	if err != nil || len(written) != 2 || written[a] != 3 || written[b] != 7 {
		t.Errorf("wrote %v, %v", written, err)
	}
	if _, ok := l.last(a); ok || l.bytes != 0 {
		t.Errorf("%d bytes left", l.bytes)
	}
	if err := l.write(func([]store.Beat) error { t.Error("wrote nothing new"); return nil }); err != nil {
		t.Error(err)
	}
}

// TestWhatCannotBeWrittenWaits: and is not put in place of what was heard meanwhile.
func TestWhatCannotBeWrittenWaits(t *testing.T) {
	var l liveness
	a, b := uuid.New(), uuid.New()
	l.hear(beat(t, a, 1, 0))
	l.hear(beat(t, b, 1, 0))
	full := errors.New("the disk is full")
	for range 3 {
		err := l.write(func([]store.Beat) error {
			l.hear(beat(t, a, 2, time.Second))
			return full
		})
		if err != full {
			t.Fatal(err)
		}
	}
	want := beat(t, a, 2, time.Second).Size() + beat(t, b, 1, 0).Size()
	if l.bytes != want {
		t.Errorf("%d bytes wait, want %d", l.bytes, want)
	}
	seen := map[uuid.UUID]int64{}
	if err := l.write(func(beats []store.Beat) error {
		for _, b := range beats {
			seen[b.Site] = b.Report.Seq
		}
		return nil
	}); err != nil || len(seen) != 2 || seen[a] != 2 || seen[b] != 1 {
		t.Errorf("wrote %v, %v", seen, err)
	}
}

// TestMemoryOfWhatWaitsIsBounded: whatever the agents say and the database does.
func TestMemoryOfWhatWaitsIsBounded(t *testing.T) {
	var l liveness
	services := map[string]string{}
	for i := range 60 {
		services[fmt.Sprint(i)] = strings.Repeat("x", 500)
	}
	heard := 0
	for range 4000 {
		b, err := store.NewBeat(uuid.New(), noon, wire.Heartbeat{Services: services})
		if err != nil {
			t.Fatal(err)
		}
		err = l.hear(b)
		if busy, ok := errors.AsType[*Overloaded](err); ok {
			if busy.RetryAfter < restLeast || busy.RetryAfter > restMost {
				t.Errorf("come again in %v", busy.RetryAfter)
			}
			break
		}
		heard++
		if l.hear(b); len(l.waiting) != heard { // what comes again takes no more room
			t.Fatalf("%d beats of %d agents", len(l.waiting), heard)
		}
	}
	if heard < 500 || heard == 4000 || l.bytes > maxWaiting {
		t.Errorf("%d beats wait, %d bytes", heard, l.bytes)
	}
}

func TestNoMoreHeartbeatsThanCanBeAnswered(t *testing.T) {
	f := New(Options{})
	var left []func()
	for {
		leave, err := f.Enter()
		if err != nil {
			if _, ok := errors.AsType[*Overloaded](err); !ok {
				t.Fatal(err)
			}
			break
		}
		left = append(left, leave)
	}
	if len(left) < perCore || f.busy.Load() != int32(len(left)) {
		t.Errorf("%d entered, %d are busy", len(left), f.busy.Load())
	}
	left[0]()
	if _, err := f.Enter(); err != nil {
		t.Errorf("one left, and there is no room: %v", err)
	}
}
