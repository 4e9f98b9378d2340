package fleet

import (
	"testing"
	"time"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

func TestHowAnAgentIsJudged(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) *time.Time { at := now.Add(-d); return &at }
	broken := &wire.Heartbeat{Services: map[string]string{"http": "running", "tftp": "port 69 is taken"}}
	whole := &wire.Heartbeat{Services: map[string]string{"http": "running", "tftp": "running"}}
	for _, c := range []struct {
		name  string
		agent store.Agent
		up    time.Duration // central
		want  string
	}{
		{"never heard of", store.Agent{}, time.Hour, Offline},
		{"never heard of, at central's start", store.Agent{}, time.Second, Offline},
		{"just heard", store.Agent{LastSeen: ago(0), Heartbeat: whole}, time.Hour, Online},
		{"just within two", store.Agent{LastSeen: ago(20*time.Second - 1)}, time.Hour, Online},
		{"two intervals", store.Agent{LastSeen: ago(20 * time.Second)}, time.Hour, Degraded},
		{"just within five", store.Agent{LastSeen: ago(50*time.Second - 1)}, time.Hour, Degraded},
		{"five intervals", store.Agent{LastSeen: ago(50 * time.Second)}, time.Hour, Offline},
		{"five intervals, soon after central's start", store.Agent{LastSeen: ago(time.Hour)}, 5*time.Minute - 1, Degraded},
		{"five intervals, five minutes after central's start", store.Agent{LastSeen: ago(time.Hour)}, 5 * time.Minute, Offline},
		{"told another interval since", store.Agent{LastSeen: ago(50 * time.Second), HeartbeatInterval: 60}, time.Hour, Online},
		{"a service that failed", store.Agent{LastSeen: ago(0), Heartbeat: broken}, time.Hour, Degraded},
		{"a service that failed before it fell silent", store.Agent{LastSeen: ago(time.Hour), Heartbeat: broken}, time.Hour, Offline},
	} {
		f := &Fleet{hearing: now.Add(-c.up)}
		if got := f.status(&c.agent, 10, now); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// TestAgentsAreSpreadMoreAfterAStart, which has brought them into step.
func TestAgentsAreSpreadMoreAfterAStart(t *testing.T) {
	for up, want := range map[time.Duration]int{0: 20, grace - time.Minute: 20, grace: 6} {
		f := &Fleet{hearing: time.Now().Add(-up)}
		if got := f.jitter(60); got != want {
			t.Errorf("up for %v: %d s, want %d", up, got, want)
		}
	}
}

func TestASiteWithoutAnAgentHasNoStatus(t *testing.T) {
	g := store.Group{}
	New(Options{}).Judge(&g)
	if g.AgentStatus != nil {
		t.Errorf("status %s", *g.AgentStatus)
	}
}

// TestACentralThatSleptWasDeaf: its agents were not silent.
func TestACentralThatSleptWasDeaf(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	f := &Fleet{hearing: now.Add(-time.Hour), watched: now}
	if f.lapse(now.Add(watchEvery)) || f.deaf(now.Add(watchEvery)) {
		t.Error("deaf although it watched")
	}
	woke := now.Add(watchEvery + time.Hour)
	if !f.lapse(woke) || !f.deaf(woke.Add(grace-1)) || f.deaf(woke.Add(grace)) {
		t.Error("it calls agents offline that it could not hear")
	}
	if f.lapse(woke.Add(watchEvery)) {
		t.Error("it slept once, not twice")
	}
}
