package uplink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pureboot/pureboot/agent/node"
	"github.com/pureboot/pureboot/central/wire"
)

// memory is a journal that outlives an agent, and may be on a full disk.
type memory struct {
	mu    sync.Mutex
	at    wire.Epoch
	lines []node.Line
	full  bool
}

func (m *memory) Journal(context.Context) (wire.Epoch, []node.Line, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.at, slices.Clone(m.lines), nil
}

func (m *memory) WriteJournal(_ context.Context, at wire.Epoch, put []node.Line, drop []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.full {
		return errors.New("the disk is full")
	}
	m.at = at
	m.lines = slices.DeleteFunc(m.lines, func(l node.Line) bool { return slices.Contains(drop, l.ID) })
	for _, l := range put {
		if i := slices.IndexFunc(m.lines, func(old node.Line) bool { return old.ID == l.ID }); i >= 0 {
			m.lines[i] = l
		} else {
			m.lines = append(m.lines, l)
		}
	}
	return nil
}

func (m *memory) fill(full bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.full = full
}

// commandSite is an agent's commands, run in a bubble of synctest. The effect of sync does what the test wants.
type commandSite struct {
	*Commands
	t    *testing.T
	disk *memory
	sync Effect
	ran  []string // the scopes of the invalidates, in their order
	soon int      // how often a heartbeat was wanted
	stop func()
}

func newCommandSite(t *testing.T) *commandSite {
	s := &commandSite{t: t, disk: new(memory), stop: func() {}}
	s.sync = func(context.Context, wire.CommandParams, func(string)) (string, error) { return "3 files", nil }
	t.Cleanup(func() { s.stop() })
	return s
}

// start begins a life of the agent, and ends the one before.
func (s *commandSite) start() {
	s.t.Helper()
	s.stop()
	var err error
	s.Commands, err = OpenCommands(s.t.Context(), CommandOptions{
		Journal: s.disk, Log: slog.New(slog.DiscardHandler), Soon: func() { s.soon++ },
		Effects: map[string]Effect{
			wire.CommandSync: func(ctx context.Context, p wire.CommandParams, say func(string)) (string, error) {
				return s.sync(ctx, p, say)
			},
			wire.CommandInvalidate: func(_ context.Context, p wire.CommandParams, _ func(string)) (string, error) {
				s.ran = append(s.ran, p.Scope)
				return "", nil
			},
		},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = s.Run(ctx) }()
	s.stop = sync.OnceFunc(func() { cancel(); <-ended })
}

// answer has central say something, and waits for what comes of it.
func (s *commandSite) answer(a wire.HeartbeatAnswer) error {
	s.t.Helper()
	if a.ServerTime.IsZero() {
		a.ServerTime = time.Now()
	}
	if a.CommandEpoch.Stream == "" {
		a.CommandEpoch = wire.Epoch{Stream: "s", N: 100}
	}
	err := s.Answer(s.t.Context(), a)
	synctest.Wait()
	return err
}

func (s *commandSite) want(results ...string) {
	s.t.Helper()
	var h wire.Heartbeat
	s.Report(&h)
	var got []string
	for _, r := range h.Results {
		got = append(got, strings.TrimSpace(r.ID+" "+r.State+" "+r.Result))
	}
	if !slices.Equal(got, results) {
		s.t.Errorf("reported are %q, want %q", got, results)
	}
}

// ack has central keep what the agent reports.
func (s *commandSite) ack() {
	s.t.Helper()
	var h wire.Heartbeat
	s.Report(&h)
	var acks []wire.CommandAck
	for _, r := range h.Results {
		acks = append(acks, wire.CommandAck{ID: r.ID, State: r.State})
	}
	if err := s.answer(wire.HeartbeatAnswer{Acked: acks}); err != nil {
		s.t.Error(err)
	}
}

func invalidate(seq int64, scope string) wire.AgentCommand {
	return wire.AgentCommand{
		Seq: seq, ID: fmt.Sprint("i", seq), Command: wire.CommandInvalidate, Params: wire.CommandParams{Scope: scope}, ExpiresAt: time.Now().Add(time.Hour),
	}
}

func syncCommand(seq int64) wire.AgentCommand {
	return wire.AgentCommand{Seq: seq, ID: fmt.Sprint("s", seq), Command: wire.CommandSync, ExpiresAt: time.Now().Add(time.Hour)}
}

func inBubble(t *testing.T, test func(t *testing.T, s *commandSite)) {
	synctest.Test(t, func(t *testing.T) { test(t, newCommandSite(t)) })
}

func TestCommandsAreCarriedOutInTheirOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, s *commandSite) {
		s.start()
		if err := s.answer(wire.HeartbeatAnswer{ServerTime: time.Now()}); err != nil || s.soon != 0 {
			t.Errorf("nothing to do: %v, and %d heartbeats are wanted", err, s.soon)
		}
		dance := wire.AgentCommand{Seq: 2, ID: "d2", Command: "dance", ExpiresAt: time.Now().Add(time.Hour)}
		broken := wire.AgentCommand{ID: "", Seq: -1}
		err := s.answer(wire.HeartbeatAnswer{Commands: []wire.AgentCommand{invalidate(1, "nodes"), dance, broken, syncCommand(3), invalidate(4, "all")}})
		if err == nil || !strings.Contains(err.Error(), "no command: number -1") {
			t.Errorf("of what is no command: %v", err)
		}
		if !slices.Equal(s.ran, []string{"nodes", "all"}) || s.soon == 0 {
			t.Errorf("carried out are %v, and %d heartbeats are wanted", s.ran, s.soon)
		}
		s.want("i1 succeeded", `d2 rejected this agent knows no command "dance"`, "s3 succeeded 3 files", "i4 succeeded")
		// Until central has it, it is told; a command that comes again is only told of again.
		s.want("i1 succeeded", `d2 rejected this agent knows no command "dance"`, "s3 succeeded 3 files", "i4 succeeded")
		s.ack()
		s.want()
		if err := s.answer(wire.HeartbeatAnswer{Commands: []wire.AgentCommand{invalidate(4, "all")}}); err != nil || len(s.ran) != 2 {
			t.Errorf("carried out again: %v, %v", s.ran, err)
		}
		s.want("i4 succeeded")
		s.wantEpoch(wire.Epoch{Stream: "s", N: 4})
	})
}

func TestACommandTellsHowFarItIs(t *testing.T) {
	inBubble(t, func(t *testing.T, s *commandSite) {
		goOn := make(chan error)
		s.sync = func(_ context.Context, _ wire.CommandParams, say func(string)) (string, error) {
			say("1 of 3 files")
			return "2 files", <-goOn
		}
		s.start()
		_ = s.answer(wire.HeartbeatAnswer{Commands: []wire.AgentCommand{syncCommand(1), invalidate(2, "all"), syncCommand(3), syncCommand(4)}})
		s.want("s1 running 1 of 3 files", "i2 accepted", "s3 accepted", "s4 accepted")
		s.ack()
		s.want("s1 running 1 of 3 files", "i2 accepted", "s3 accepted", "s4 accepted") // as long as it goes on
		// What was not begun can be taken back, and what was cannot.
		_ = s.answer(wire.HeartbeatAnswer{Recalled: []wire.CommandRecall{
			{Seq: 1, ID: "s1", State: "canceled"}, {Seq: 2, ID: "i2", State: "canceled"}, {Seq: 9, ID: "i9", State: "expired", Result: "why"}, {Seq: 4, ID: "s4", State: "succeeded"},
		}})
		s.want("s1 running 1 of 3 files", "s3 accepted", "s4 accepted", "i2 canceled", "i9 expired why")
		_ = s.answer(wire.HeartbeatAnswer{Commands: []wire.AgentCommand{invalidate(9, "nodes")}}) // which was late
		goOn <- errors.New("no route to host")
		synctest.Wait()
		goOn <- fmt.Errorf("%w: not here", ErrRejected)
		synctest.Wait()
		goOn <- nil
		synctest.Wait()
		s.want("s1 failed 2 files: no route to host", "i2 canceled", "s3 rejected rejected: not here", "s4 succeeded 2 files", "i9 expired why")
		if len(s.ran) != 0 {
			t.Errorf("carried out are %v", s.ran)
		}
		// That central has kept how far one was does not mean that it knows the end.
		_ = s.answer(wire.HeartbeatAnswer{Acked: []wire.CommandAck{{ID: "s1", State: "running"}, {ID: "s3", State: "rejected"}, {ID: "s4", State: "accepted"}}})
		s.want("s1 failed 2 files: no route to host", "i2 canceled", "s4 succeeded 2 files", "i9 expired why")
	})
}

// TestCommandsGoOnAfterARestart: what was begun is done again, if that may be, but not for ever; and nothing begins
// before central has said what time it is.
func TestCommandsGoOnAfterARestart(t *testing.T) {
	inBubble(t, func(t *testing.T, s *commandSite) {
		begun := 0
		hang := func(ctx context.Context, _ wire.CommandParams, _ func(string)) (string, error) {
			begun++
			<-ctx.Done()
			return "", ctx.Err()
		}
		s.sync = hang
		s.start()
		once := syncCommand(1)
		once.Once = true
		_ = s.answer(wire.HeartbeatAnswer{Commands: []wire.AgentCommand{once, syncCommand(2), invalidate(3, "all"), invalidate(4, "late")}})
		s.want("s1 running", "s2 accepted", "i3 accepted", "i4 accepted")
		s.start()
		synctest.Wait()
		s.want("s1 running", "s2 accepted", "i3 accepted", "i4 accepted")
		for n := 2; n <= 1+maxBegins; n++ {
			_ = s.answer(wire.HeartbeatAnswer{})
			if begun != n {
				t.Errorf("begun %d times, want %d", begun, n)
			}
			s.start()
		}
		// The agent's own clock is of no matter: at central it is two hours later.
		s.sync = func(context.Context, wire.CommandParams, func(string)) (string, error) { return "done", nil }
		_ = s.answer(wire.HeartbeatAnswer{ServerTime: time.Now().Add(2 * time.Hour), Commands: []wire.AgentCommand{syncCommand(5)}})
		s.want("s1 failed the agent ended while it was at it, and it may run only once", "s2 failed the agent ended 5 times while it was at it",
			"i3 expired", "i4 expired", "s5 expired")
		if begun != 1+maxBegins || len(s.ran) != 0 {
			t.Errorf("begun %d times; carried out are %v", begun, s.ran)
		}
	})
}

func TestCommandsOnAFullDisk(t *testing.T) {
	inBubble(t, func(t *testing.T, s *commandSite) {
		s.start()
		s.disk.fill(true)
		if err := s.answer(wire.HeartbeatAnswer{Commands: []wire.AgentCommand{invalidate(1, "nodes")}}); err == nil || !strings.Contains(err.Error(), "the disk is full") {
			t.Errorf("taken over: %v", err)
		}
		s.want()
		s.disk.fill(false)
		s.sync = func(context.Context, wire.CommandParams, func(string)) (string, error) {
			s.disk.fill(true)
			return "done", nil
		}
		_ = s.answer(wire.HeartbeatAnswer{Commands: []wire.AgentCommand{syncCommand(1), invalidate(2, "all")}})
		s.want("s1 running", "i2 accepted") // what is not in the journal is not told
		time.Sleep(3 * journalRetry)
		synctest.Wait()
		s.want("s1 running", "i2 accepted")
		s.disk.fill(false)
		time.Sleep(journalRetry)
		synctest.Wait()
		s.want("s1 succeeded done", "i2 succeeded")
	})
}

// TestACentralThatWasRestored: under its new stream the numbers begin again, and mean other commands. What waited is
// done if central still wants it; what has been done is not done again, and what nobody knows any more is harmless.
func TestACentralThatWasRestored(t *testing.T) {
	inBubble(t, func(t *testing.T, s *commandSite) {
		goOn := make(chan error)
		s.sync = func(context.Context, wire.CommandParams, func(string)) (string, error) { return "", <-goOn }
		s.start()
		_ = s.answer(wire.HeartbeatAnswer{Commands: []wire.AgentCommand{invalidate(1, "nodes"), syncCommand(2), invalidate(3, "old"), invalidate(4, "kept")}})
		s.ack()
		other := invalidate(3, "new")
		other.ID = "other"
		_ = s.answer(wire.HeartbeatAnswer{
			CommandEpoch: wire.Epoch{Stream: "restored", N: 4}, Commands: []wire.AgentCommand{invalidate(1, "nodes"), other, invalidate(4, "kept")},
		})
		goOn <- nil
		synctest.Wait()
		if !slices.Equal(s.ran, []string{"nodes", "new", "kept"}) {
			t.Errorf("carried out are %v", s.ran)
		}
		s.want("i1 succeeded", "s2 succeeded", "other succeeded", "i4 succeeded")
		s.start()
		s.want("i1 succeeded", "s2 succeeded", "other succeeded", "i4 succeeded")
		s.wantEpoch(wire.Epoch{Stream: "restored", N: 4})
	})
}

func (s *commandSite) wantEpoch(want wire.Epoch) {
	s.t.Helper()
	var h wire.Heartbeat
	if s.Report(&h); h.CommandEpoch != want {
		s.t.Errorf("at %v, want %v", h.CommandEpoch, want)
	}
}

// TestTheLogDoesNotGrowForEver: what has ended is remembered while central could ask for it, and no more than so much.
func TestTheLogDoesNotGrowForEver(t *testing.T) {
	inBubble(t, func(t *testing.T, s *commandSite) {
		s.start()
		for seq := int64(1); seq <= maxCommands+200; seq += 100 {
			var commands []wire.AgentCommand
			for i := range int64(100) {
				commands = append(commands, invalidate(seq+i, "all"))
			}
			_ = s.answer(wire.HeartbeatAnswer{Commands: commands})
			s.ack()
		}
		if _, lines, _ := s.disk.Journal(t.Context()); len(s.ran) != maxCommands+200 || len(lines) > maxCommands+100 {
			t.Errorf("%d carried out, %d remembered", len(s.ran), len(lines))
		}
		// What it no longer remembers it does not do again.
		_ = s.answer(wire.HeartbeatAnswer{Commands: []wire.AgentCommand{invalidate(1, "again")}})
		s.want("i1 failed it has been here before, and nothing is known of it any more")
		s.ack()
		time.Sleep(time.Hour + keepFinished + time.Minute)
		_ = s.answer(wire.HeartbeatAnswer{Commands: []wire.AgentCommand{invalidate(maxCommands+201, "last")}})
		if _, lines, _ := s.disk.Journal(t.Context()); len(lines) != 1 {
			t.Errorf("%d remembered", len(lines))
		}
		flood := wire.HeartbeatAnswer{CommandEpoch: wire.Epoch{Stream: "other"}}
		s.sync = func(ctx context.Context, _ wire.CommandParams, _ func(string)) (string, error) {
			<-ctx.Done()
			return "", ctx.Err()
		}
		for seq := range int64(maxWaiting + 2*maxResults) {
			flood.Commands = append(flood.Commands, syncCommand(seq+1))
		}
		_ = s.answer(flood)
		var h wire.Heartbeat
		if s.Report(&h); len(h.Results) != maxWaiting+maxResults {
			t.Errorf("%d results in a heartbeat", len(h.Results))
		}
	})
}
