package cache

import (
	"context"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestWhatNobodyWaitsForStandsBack(t *testing.T) {
	for _, rate := range []int64{0, 1 << 40} {
		synctest.Test(t, func(t *testing.T) {
			b := NewBudget(rate)
			var went atomic.Int64
			background := func() {
				go func() {
					if b.Admit(t.Context(), 1, Load{Size: -1}) == nil {
						went.Add(1)
					}
				}()
				synctest.Wait()
			}
			background()
			if went.Load() != 1 {
				t.Fatal("it waits for nobody")
			}
			release := b.Urgent()
			background()
			time.Sleep(time.Minute)
			if went.Load() != 1 {
				t.Fatal("it goes on although somebody waits")
			}
			if err := b.Admit(t.Context(), 1, Load{Foreground: true}); err != nil {
				t.Fatal(err)
			}
			release()
			synctest.Wait()
			if went.Load() != 1 {
				t.Error("it goes on in the middle of what somebody waits for")
			}
			time.Sleep(calm + glance)
			synctest.Wait()
			if went.Load() != 2 {
				t.Error("it does not go on afterwards")
			}
		})
	}
}

// TestWhatSomebodyComesToWaitForGoesOn: else he would wait for it while it waits for him.
func TestWhatSomebodyComesToWaitForGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(0)
		defer b.Urgent()()
		var awaited atomic.Bool
		done := make(chan error, 1)
		go func() { done <- b.Admit(t.Context(), 1, Load{Size: -1, Awaited: awaited.Load}) }()
		time.Sleep(time.Second)
		synctest.Wait()
		if len(done) > 0 {
			t.Fatal("it goes on although somebody waits for something else")
		}
		awaited.Store(true)
		began := time.Now()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 5*time.Millisecond {
			t.Errorf("a herd's first bytes wait for %v", took)
		}
	})
}

func TestWhoStandsBackLeavesWithHisContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(0)
		defer b.Urgent()()
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		if err := b.Admit(ctx, 1, Load{Size: -1}); err == nil {
			t.Error("it was admitted")
		}
	})
}

// TestAClientThatTakesBytesAsTheyComeIsNotHeldUp by itself, where it does not wait at the moment that bytes are paid for.
func TestAClientThatTakesBytesAsTheyComeIsNotHeldUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(0)
		s := openStore(t, Options{Admit: b.Admit})
		o := newOrigin(1, 40*ChunkSize)
		began := time.Now()
		r := fetch(t, s, "images/a", o)
		buf := make([]byte, ChunkSize)
		for range 40 {
			if _, err := io.ReadFull(r, buf); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond) // in which the bytes go out
		}
		r.Close()
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("10 MB for a client that takes 40 ms took %v", took)
		}
		s.Close()
	})
}
