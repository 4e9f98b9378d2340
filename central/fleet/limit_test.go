package fleet

import (
	"fmt"
	"testing"
	"time"
)

func TestAnAddressIsLimitedByItself(t *testing.T) {
	var l Limiter
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i := range tryBurst {
		if wait := l.Try("192.0.2.1", now); wait != 0 {
			t.Fatalf("attempt %d waits %v", i, wait)
		}
	}
	for range 10 { // to be refused costs nothing more
		if wait := l.Try("192.0.2.1", now); wait != tryEvery {
			t.Fatalf("one too many waits %v", wait)
		}
	}
	if wait := l.Try("::ffff:192.0.2.1", now); wait == 0 {
		t.Error("the same address in IPv6 does not wait")
	}
	if wait := l.Try("192.0.2.2", now); wait != 0 {
		t.Errorf("another address waits %v", wait)
	}
	if wait := l.Try("192.0.2.1", now.Add(tryEvery)); wait != 0 {
		t.Errorf("after the wait it still waits %v", wait)
	}
}

func TestAMachineIsOneAddressInIPv6(t *testing.T) {
	var l Limiter
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i := range tryBurst {
		l.Try(fmt.Sprintf("2001:db8::%x", i), now)
	}
	if l.Try("2001:db8::ffff", now) == 0 {
		t.Error("another address of the same network does not wait")
	}
	if l.Try("2001:db8:0:1::1", now) != 0 {
		t.Error("another network waits")
	}
}

func TestWhoIsBlocked(t *testing.T) {
	l := Limiter{Burst: 2}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for range 5 {
		if l.Blocked("192.0.2.1", now) != 0 {
			t.Error("who only asks is blocked")
		}
	}
	if len(l.by) != 0 {
		t.Error("who only asks is remembered")
	}
	l.Try("192.0.2.1", now)
	if l.Blocked("192.0.2.1", now) != 0 {
		t.Error("after one of two attempts it is blocked")
	}
	l.Try("192.0.2.1", now)
	for range 5 {
		if wait := l.Blocked("192.0.2.1", now); wait != tryEvery {
			t.Errorf("after both it waits %v", wait)
		}
	}
	if l.Blocked("192.0.2.2", now) != 0 || l.Blocked("192.0.2.1", now.Add(tryEvery)) != 0 {
		t.Error("another address, or the same after its wait, is blocked")
	}
}

func TestTheLimiterIsBounded(t *testing.T) {
	var l Limiter
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	address := func(i int) string { return fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255) }
	for i := range 3 * maxAddresses {
		l.Try(address(i), now)
	}
	if len(l.by) > maxAddresses {
		t.Errorf("remembers %d addresses", len(l.by))
	}
	if l.Try(address(9*maxAddresses), now) == 0 {
		t.Error("beyond the bound nothing is limited")
	}
	if l.Try("nonsense", now.Add(time.Hour)) != 0 {
		t.Error("an hour later the shared limit still holds")
	}
	if len(l.by) > 10 {
		t.Errorf("an hour later %d addresses are remembered", len(l.by))
	}
}
