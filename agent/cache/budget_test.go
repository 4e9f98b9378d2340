package cache

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestBudgetIsKept(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		const rate = 4 * mib
		s := openStore(t, Options{Dir: dir, Admit: NewBudget(rate).Admit})
		begin := time.Now()
		done := make(chan struct{})
		for i := range 4 {
			o := newOrigin(uint64(i), 5*mib)
			r := fetch(t, s, Key([]string{"a", "b", "c", "d"}[i]), o)
			go func() {
				if err := r.Stored(); err != nil {
					t.Error(err)
				}
				done <- struct{}{}
			}()
		}
		for range 4 {
			<-done
		}
		if took := time.Since(begin); took < 4750*time.Millisecond || took > 5250*time.Millisecond {
			t.Errorf("20 MiB at 4 MiB/s took %v", took)
		}
	})
}

// TestSmallMissStartsWhileAFillSaturatesTheBudget: a bootloader is wanted while an image is prefetched.
func TestSmallMissStartsWhileAFillSaturatesTheBudget(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := openStore(t, Options{Dir: dir, Admit: NewBudget(2 * mib).Admit})
		huge, boot := newOrigin(1, 40*mib), newOrigin(2, 300_000)
		background := fetch(t, s, "images/huge", huge)
		go background.Stored()
		time.Sleep(3 * time.Second)
		begin := time.Now()
		r := fetch(t, s, "bootloaders/ipxe.efi", boot)
		if err := r.Ready(); err != nil {
			t.Fatal(err)
		}
		// Its first chunk alone takes 125 ms at this rate.
		if took := time.Since(begin); took > 200*time.Millisecond {
			t.Errorf("first byte after %v", took)
		}
		wantBytes(t, r, boot.data)
		if took := time.Since(begin); took > 250*time.Millisecond {
			t.Errorf("300 KB after %v", took)
		}
		background.Close()
	})
}

// TestWhoLeavesPays for what was read: else a crowd that comes and goes would have more than there is.
func TestWhoLeavesPays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(1000)
		begin := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for range 5 {
			_ = b.Admit(ctx, 1000, Load{}) // the first is on credit, the others do not wait
		}
		if err := b.Admit(t.Context(), 1000, Load{}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took != 5*time.Second-credit {
			t.Errorf("the sixth second's worth is had after %v", took)
		}
	})
}

// TestWhoBeginsToWaitGoesFirst: the first bytes of a bootloader are there before its client waits for them.
func TestWhoBeginsToWaitGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(1000)
		if err := b.Admit(t.Context(), 5000, Load{Foreground: true}); err != nil { // on credit
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		var waits atomic.Bool
		got := make(chan string, 2)
		admit := func(name string, load Load) {
			if b.Admit(t.Context(), 1000, load) == nil {
				got <- name
			}
		}
		go admit("bootloader", Load{Size: 1, Awaited: waits.Load})
		synctest.Wait()
		go admit("image", Load{Size: 1 << 30, Foreground: true})
		synctest.Wait()
		waits.Store(true)
		if first := <-got; first != "bootloader" {
			t.Errorf("%s goes first", first)
		}
		<-got
	})
}

func TestBudgetOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(1000)
		if err := b.Admit(t.Context(), 1000, Load{}); err != nil { // on credit
			t.Fatal(err)
		}
		got := make(chan int, 5)
		for i, load := range []Load{
			{Size: -1}, {Size: 1}, {Size: 1 << 30, Foreground: true}, {Size: 1, Foreground: true}, {Size: 1, Foreground: true},
		} {
			go func() {
				if b.Admit(t.Context(), 1000, load) == nil {
					got <- i
				}
			}()
			synctest.Wait()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		if err := b.Admit(ctx, 1000, Load{}); err == nil {
			t.Error("admitted after its context ended")
		}
		time.Sleep(10 * time.Second)
		for _, want := range []int{3, 4, 2, 1, 0} {
			if i := <-got; i != want {
				t.Errorf("admitted %d, want %d", i, want)
			}
		}
		go b.SetRate(0)
		if err := b.Admit(t.Context(), 1<<30, Load{}); err != nil {
			t.Error(err)
		}
	})
}
