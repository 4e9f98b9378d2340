package fleet

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/agent/uplink"
	"github.com/pureboot/pureboot/central/inherit"
	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

// skyOfAgents is a fleet of agents, each with the heartbeat of the real one, and a central that is only its clock, its
// answers and its judgement.
type skyOfAgents struct {
	interval time.Duration

	mu     sync.Mutex
	fleet  *Fleet // nil while central is away
	began  time.Time
	counts []int // heartbeats that came to a central that runs, by the second
	tries  []int // all
	heard  []time.Time
}

// simulated is one agent's way to central.
type simulated struct {
	sky       *skyOfAgents
	n         int
	failures  int
	successes int
}

var errAway = errors.New("connection refused")

func (s *simulated) Heartbeat(context.Context, wire.Heartbeat) (wire.HeartbeatAnswer, error) {
	sky := s.sky
	sky.mu.Lock()
	defer sky.mu.Unlock()
	second := int(time.Since(sky.began) / time.Second)
	sky.tries[second]++
	if sky.fleet == nil {
		s.failures, s.successes = s.failures+1, 0
		return wire.HeartbeatAnswer{}, errAway
	}
	if s.successes++; s.failures < 3 || s.successes >= 2 {
		s.failures = 0
	}
	sky.counts[second]++
	sky.heard[s.n] = time.Now()
	next := int(sky.interval / time.Second)
	return wire.HeartbeatAnswer{NextIn: next, Jitter: sky.fleet.jitter(next)}, nil
}

// Online is as uplink.Link has it.
func (s *simulated) Online() bool { return s.failures < 3 }

func (*simulated) Report(context.Context) wire.Heartbeat { return wire.Heartbeat{} }

func (*simulated) Answer(context.Context, wire.HeartbeatAnswer) error { return nil }

// peak returns the most heartbeats of any few seconds from one time to another, as a rate.
func peak(counts []int, from, to time.Duration, window int) float64 {
	most, sum := 0, 0
	for i := int(from / time.Second); i < int(to/time.Second); i++ {
		sum += counts[i]
		if back := i - window; back >= int(from/time.Second) {
			sum -= counts[back]
		}
		most = max(most, sum)
	}
	return float64(most) / float64(window)
}

// TestAfterARestartTheAgentsComeBackEvenly: no peak above twice the normal rate, and nobody is called offline who is there.
func TestAfterARestartTheAgentsComeBackEvenly(t *testing.T) {
	const interval, steady, watched = time.Minute, 90 * time.Second, 7 * time.Minute
	agents, window := 10_000, 5
	if underRace { // which takes ten times as long
		agents, window = 2500, 20 // so that chance counts for as much
	}
	normal := float64(agents) / interval.Seconds()
	for name, away := range map[string]time.Duration{
		"as long as an upgrade takes":        5 * time.Second,
		"as long as it takes all to notice":  59 * time.Second,
		"so long that all have given up":     10 * time.Minute,
		"not at all: the process was killed": 0,
	} {
		t.Run(name, func(t *testing.T) {
			if !underRace {
				t.Parallel()
			}
			synctest.Test(t, func(t *testing.T) {
				length := steady + away + watched
				sky := &skyOfAgents{
					interval: interval, began: time.Now(), fleet: New(Options{}), heard: make([]time.Time, agents),
					counts: make([]int, int(length/time.Second)+2), tries: make([]int, int(length/time.Second)+2),
				}
				ctx, cancel := context.WithTimeout(t.Context(), length)
				defer cancel()
				var running sync.WaitGroup
				quiet := slog.New(slog.DiscardHandler)
				for n := range agents {
					running.Go(func() {
						time.Sleep(rand.N(interval)) // they were switched on at some time
						agent := &simulated{sky: sky, n: n}
						heart := &uplink.Heartbeat{Client: agent, Site: agent, Log: quiet}
						if err := heart.Run(ctx); err != nil {
							t.Error(err)
						}
					})
				}
				time.Sleep(steady)
				sky.set(nil)
				time.Sleep(away)
				back := New(Options{})
				sky.set(back)

				g := store.Group{ID: uuid.New(), Agent: &store.Agent{HeartbeatInterval: int(interval / time.Second)}, Effective: inherit.Resolve(nil)}
				for time.Since(sky.began) < length-time.Second {
					time.Sleep(5 * time.Second)
					if offline := sky.offline(back, g); offline > 0 {
						t.Fatalf("%v after its start, central calls %d of %d agents offline", time.Since(back.hearing), offline, agents)
					}
				}
				running.Wait()
				if most := peak(sky.counts, steady+away, length, window); most > 2*normal || most < normal/2 {
					t.Errorf("%.0f heartbeats a second after the restart, %.0f are normal", most, normal)
				}
				if most := peak(sky.tries, steady, length, window); most > 2*normal {
					t.Errorf("%.0f tries a second while central is away, %.0f heartbeats are normal", most, normal)
				}
				if before := peak(sky.counts, interval, steady, window); before > 1.3*normal || before < 0.8*normal {
					t.Errorf("%.0f heartbeats a second before the restart, %.0f are normal", before, normal)
				}
			})
		})
	}
}

func (sky *skyOfAgents) set(f *Fleet) {
	sky.mu.Lock()
	defer sky.mu.Unlock()
	sky.fleet = f
}

// offline counts the agents that central calls so.
func (sky *skyOfAgents) offline(f *Fleet, g store.Group) (n int) {
	sky.mu.Lock()
	defer sky.mu.Unlock()
	for i := range sky.heard {
		if g.Agent.LastSeen = &sky.heard[i]; sky.heard[i].IsZero() {
			continue
		}
		if f.Judge(&g); *g.AgentStatus == Offline {
			n++
		}
	}
	return n
}
