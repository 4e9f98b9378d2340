package fleet

import (
	"fmt"
	"testing"
	"time"
)

func TestAnAddressIsLimitedByItself(t *testing.T) {
	var l limiter
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i := range joinBurst {
		if wait := l.wait("192.0.2.1", now); wait != 0 {
			t.Fatalf("attempt %d waits %v", i, wait)
		}
	}
	for range 10 { // to be refused costs nothing more
		if wait := l.wait("192.0.2.1", now); wait != joinEvery {
			t.Fatalf("one too many waits %v", wait)
		}
	}
	if wait := l.wait("::ffff:192.0.2.1", now); wait == 0 {
		t.Error("the same address in IPv6 does not wait")
	}
	if wait := l.wait("192.0.2.2", now); wait != 0 {
		t.Errorf("another address waits %v", wait)
	}
	if wait := l.wait("192.0.2.1", now.Add(joinEvery)); wait != 0 {
		t.Errorf("after the wait it still waits %v", wait)
	}
}

func TestAMachineIsOneAddressInIPv6(t *testing.T) {
	var l limiter
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i := range joinBurst {
		l.wait(fmt.Sprintf("2001:db8::%x", i), now)
	}
	if l.wait("2001:db8::ffff", now) == 0 {
		t.Error("another address of the same network does not wait")
	}
	if l.wait("2001:db8:0:1::1", now) != 0 {
		t.Error("another network waits")
	}
}

func TestTheLimiterIsBounded(t *testing.T) {
	var l limiter
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	address := func(i int) string { return fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255) }
	for i := range 3 * maxAddresses {
		l.wait(address(i), now)
	}
	if len(l.by) > maxAddresses {
		t.Errorf("remembers %d addresses", len(l.by))
	}
	if l.wait(address(9*maxAddresses), now) == 0 {
		t.Error("beyond the bound nothing is limited")
	}
	if l.wait("nonsense", now.Add(time.Hour)) != 0 {
		t.Error("an hour later the shared limit still holds")
	}
	if len(l.by) > 10 {
		t.Errorf("an hour later %d addresses are remembered", len(l.by))
	}
}
