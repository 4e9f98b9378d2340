package uplink

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pureboot/pureboot/central/fleet"
	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

// world is a central and an agent, as pure as their protocol, with all that can go wrong between them: messages get
// lost, come twice, late and out of order; either side ends at any step, which loses what it has not written; and
// central is restored from a backup.
type world struct {
	choose func(what string, n int) int // one of n
	mutant mutant
	at     time.Time // central's clock

	// Central.
	rows    []store.Command
	epoch   wire.Epoch
	backup  []store.Command
	saved   wire.Epoch
	ids     int
	streams int
	ended   map[string]lifecycle.CommandState // the final states so far, as far as central was not restored since

	// The network.
	beats   [][]wire.CommandResult
	answers []wire.HeartbeatAnswer

	// The agent. What is in its memory is lost with it.
	disk    *commandLog
	log     *commandLog
	running string // the command that it is at
	clock   time.Time
	halves  int // of the effect of that command

	begun map[string]int // how often the effect of a command began, by id
	done  map[string]int // and was complete
	trace []string
}

// mutant is a fault of either side that the properties have to find.
type mutant int

// The mutants.
const (
	sound             mutant = iota
	actsBeforeJournal        // the agent begins a command and notes that afterwards
	forgetsResults           // the agent drops what has ended without waiting for central to have it
	repeatsOnce              // the agent begins again what it was at, whether or not that may be
	expiresSent              // central calls expired what it has sent, by its own clock
	cancelsSent              // central calls canceled what it has sent
	trustsNumbers            // central takes a result for the command that has the number now, not the one that is meant
	keepsStream              // central goes on with its old stream, and what waited, after it was restored
	mutants
)

func (m mutant) String() string {
	return [...]string{"sound", "acts before journal", "forgets results", "repeats once", "expires sent", "cancels sent", "trusts numbers", "keeps stream"}[m]
}

func newWorld(choose func(string, int) int, m mutant) *world {
	return &world{
		choose: choose, mutant: m, at: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), epoch: wire.Epoch{Stream: "s0"},
		saved: wire.Epoch{Stream: "s0"}, disk: &commandLog{}, log: &commandLog{},
		ended: map[string]lifecycle.CommandState{}, begun: map[string]int{}, done: map[string]int{},
	}
}

func (w *world) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf(format, args...))
}

// step is one event.
func (w *world) step() {
	switch w.choose("event", 15) {
	case 0, 1:
		w.queue()
	case 2:
		w.cancel()
	case 3, 4:
		w.beat()
	case 5, 6, 7:
		w.hear(w.choose("which beat", max(1, len(w.beats))), w.choose("again", 4) == 0)
	case 8, 9, 10:
		w.answer(w.choose("which answer", max(1, len(w.answers))), w.choose("again", 4) == 0)
	case 11, 12:
		w.work()
	case 13:
		switch w.choose("accident", 5) {
		case 0, 1, 2:
			w.crash()
		case 3:
			w.backup, w.saved = slices.Clone(w.rows), w.epoch
			w.note("backup")
		case 4:
			w.restore()
		}
	case 14:
		w.at = w.at.Add(time.Duration(w.choose("minutes", 40)) * time.Minute)
		switch w.choose("loss", 3) {
		case 0:
			w.beats = nil
		case 1:
			w.answers = nil
		}
	}
}

func (w *world) queue() {
	w.ids++
	w.epoch.N++
	c := store.Command{State: lifecycle.CommandQueued, AgentCommand: wire.AgentCommand{
		Seq: w.epoch.N, ID: fmt.Sprint("c", w.ids), Command: []string{"sync", "invalidate", "dance"}[w.choose("command", 7)%3],
		Once: w.choose("once", 3) == 0, ExpiresAt: w.at.Add(time.Duration(1+w.choose("ttl", 120)) * time.Minute),
	}}
	w.rows = append(w.rows, c)
	w.note("queue %s %s once=%v", c.ID, c.Command, c.Once)
}

// cancel takes back a command, or supersedes it, as the store does.
func (w *world) cancel() {
	if len(w.rows) == 0 {
		return
	}
	c := &w.rows[w.choose("which", len(w.rows))]
	as := []lifecycle.CommandState{lifecycle.CommandCanceled, lifecycle.CommandSuperseded}[w.choose("as", 2)]
	switch {
	case c.State.To(as) != nil:
	case c.State == lifecycle.CommandQueued || w.mutant == cancelsSent:
		c.State = as
	default:
		c.Recall = as
	}
	w.note("cancel %s as %s: %s", c.ID, as, c.State)
}

func (w *world) beat() {
	results := w.log.results("half")
	w.beats = append(w.beats, results)
	if w.mutant == forgetsResults {
		w.log.entries = slices.DeleteFunc(w.log.entries, func(e logged) bool { return e.State.Final() })
		w.disk = w.log.clone()
	}
	w.note("beat %d: %v", len(w.beats), results)
}

// hear has central hear one of the heartbeats on their way; again leaves it there for another time.
func (w *world) hear(i int, again bool) {
	if i >= len(w.beats) {
		return
	}
	results := w.beats[i]
	if !again {
		w.beats = slices.Delete(w.beats, i, i+1)
	}
	if w.mutant == trustsNumbers {
		results = w.byNumber(results)
	}
	waiting := slices.DeleteFunc(slices.Clone(w.rows), func(c store.Command) bool { return c.State.Final() })
	moved, say := fleet.Exchange(waiting, w.at, results)
	for _, c := range moved {
		w.rows[slices.IndexFunc(w.rows, func(r store.Command) bool { return r.ID == c.ID })] = c
		w.note("central: %s is %s", c.ID, c.State)
	}
	if w.mutant == expiresSent {
		for i, c := range w.rows {
			if c.State == lifecycle.CommandSent && !w.at.Before(c.ExpiresAt) {
				w.rows[i].State = lifecycle.CommandExpired
			}
		}
	}
	w.answers = append(w.answers, wire.HeartbeatAnswer{
		ServerTime: w.at, CommandEpoch: w.epoch, Commands: say.Commands, Recalled: say.Recalled, Acked: say.Acked,
	})
}

// byNumber turns results into those of the commands that have their numbers now.
func (w *world) byNumber(results []wire.CommandResult) []wire.CommandResult {
	results = slices.Clone(results)
	for i, r := range results {
		if e := w.log.find(r.ID); e != nil {
			for _, c := range w.rows {
				if c.Seq == e.Seq {
					results[i].ID = c.ID
				}
			}
		}
	}
	return results
}

func (w *world) answer(i int, again bool) {
	if i >= len(w.answers) {
		return
	}
	a := w.answers[i]
	if !again {
		w.answers = slices.Delete(w.answers, i, i+1)
	}
	if w.clock.Before(a.ServerTime) { // of answers that overtook each other the clock of the last one counts
		w.clock = a.ServerTime
	}
	w.change("answer", func(l *commandLog) {
		_ = l.take(a, w.clock, func(name string) bool { return name != "dance" })
	})
}

// change changes the log, as Commands does: a crash may come before it is written, or after.
func (w *world) change(what string, edit func(*commandLog)) bool {
	next := w.log.clone()
	edit(next)
	if w.choose("crash before the write", 12) == 0 {
		w.crash()
		return false
	}
	w.disk, w.log = next, next
	w.note("agent: %s: %v", what, states(next))
	if w.choose("crash after the write", 12) == 0 {
		w.crash()
		return false
	}
	return true
}

func states(l *commandLog) (s []string) {
	for _, e := range l.entries {
		s = append(s, fmt.Sprintf("%s=%s/%s", e.ID, e.State, e.Acked))
	}
	return s
}

// work begins a command, or brings the effect of the one that was begun a step further, or ends it.
func (w *world) work() {
	switch {
	case w.clock.IsZero():
	case w.running == "":
		var c wire.AgentCommand
		var ok bool
		begin := func(l *commandLog) {
			for i := range l.entries {
				if e := &l.entries[i]; w.mutant == repeatsOnce && e.State == lifecycle.CommandRunning {
					e.Once = false
				}
			}
			c, ok = l.next(w.clock)
		}
		act := func() {
			if ok {
				w.running, w.halves = c.ID, 0
				w.begun[c.ID]++
			}
		}
		if w.mutant == actsBeforeJournal {
			begin(w.log.clone())
			act()
			w.change("begin", begin)
		} else if w.change("begin", begin) {
			act()
		}
	case w.halves == 0:
		w.halves++
	default:
		as := lifecycle.CommandSucceeded
		if w.choose("fails", 4) == 0 {
			as = lifecycle.CommandFailed
		} else {
			w.done[w.running]++
		}
		id := w.running
		if w.change("finish", func(l *commandLog) { l.finish(id, as, "") }) {
			w.running = ""
		}
	}
}

func (w *world) crash() {
	w.log, w.running, w.clock = w.disk.clone(), "", time.Time{}
	w.note("the agent ends")
}

// restore takes central back to its backup, as store.Open does when it notices one.
func (w *world) restore() {
	w.streams++
	w.rows, w.epoch = slices.Clone(w.backup), w.saved
	if w.mutant != keepsStream {
		w.epoch.Stream = fmt.Sprint("s", w.streams)
		for i := range w.rows {
			if w.rows[i].State == lifecycle.CommandQueued {
				w.rows[i].State = lifecycle.CommandSent
			}
		}
	}
	w.ended = map[string]lifecycle.CommandState{}
	w.note("central is restored: %s", w.epoch)
}

// check returns what is wrong with what has happened so far.
func (w *world) check() error {
	for _, c := range w.rows {
		if was, ok := w.ended[c.ID]; ok && was != c.State {
			return fmt.Errorf("%s was %s and is %s", c.ID, was, c.State)
		}
		if c.State.Final() {
			w.ended[c.ID] = c.State
		}
		switch c.State {
		case lifecycle.CommandSucceeded:
			if w.done[c.ID] == 0 {
				return fmt.Errorf("%s is %s without its effect", c.ID, c.State)
			}
		case lifecycle.CommandExpired, lifecycle.CommandCanceled, lifecycle.CommandSuperseded, lifecycle.CommandRejected:
			if w.begun[c.ID] > 0 {
				return fmt.Errorf("%s is %s, and was begun", c.ID, c.State)
			}
		}
		if c.Once && w.begun[c.ID] > 1 {
			return fmt.Errorf("%s may run once and was begun %d times", c.ID, w.begun[c.ID])
		}
	}
	return nil
}

// settle has everything work for a while: then every command has ended, and the agent has nothing left to tell.
func (w *world) settle() error {
	calm := *w
	calm.choose = func(what string, n int) int {
		return n - 1 // no accident, nothing again
	}
	w = &calm
	for range 4*len(w.rows) + 10 {
		for len(w.beats) > 0 {
			w.hear(0, false)
		}
		for len(w.answers) > 0 {
			w.answer(0, false)
		}
		for range 3 {
			w.work()
		}
		w.at = w.at.Add(time.Minute)
		w.beat()
		if err := w.check(); err != nil {
			return err
		}
	}
	for _, c := range w.rows {
		if !c.State.Final() {
			return fmt.Errorf("%s does not settle: it is %s at central, and %v at the agent", c.ID, c.State, states(w.log))
		}
	}
	if w.log.pending() {
		return fmt.Errorf("the agent has still something to tell: %v", states(w.log))
	}
	return nil
}

// play lets a number of things happen, and then the world come to rest.
func (w *world) play(steps int) error {
	for range steps {
		w.step()
		if err := w.check(); err != nil {
			return err
		}
	}
	return w.settle()
}

// TestEveryCommandSettlesAsItSays: whatever is lost, comes twice, late or in another order, and whoever ends when,
// every command ends in one state and stays there; one that succeeded had its effect; one that is expired, canceled,
// superseded or rejected was never begun; and one that may run once was not begun twice.
func TestEveryCommandSettlesAsItSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(func(what string, n int) int { return rapid.IntRange(0, n-1).Draw(t, what) }, sound)
		if err := w.play(rapid.IntRange(1, 120).Draw(t, "steps")); err != nil {
			t.Fatalf("%v\n%s", err, strings.Join(w.trace, "\n"))
		}
	})
}

// TestThePropertiesCanFail: each of these faults is found in fewer worlds than those in which nothing is wrong with the
// protocol, and in which every end of a command comes to pass.
func TestThePropertiesCanFail(t *testing.T) {
	const worlds = 100
	ends := map[lifecycle.CommandState]int{}
	for m := range mutants {
		found := 0
		for seed := uint64(1); seed <= worlds && found == 0; seed++ {
			chance := rand.New(rand.NewPCG(seed, 1))
			w := newWorld(func(_ string, n int) int { return chance.IntN(n) }, m)
			if err := w.play(150); err != nil && m == sound {
				t.Fatalf("seed %d: %v\n%s", seed, err, strings.Join(w.trace, "\n"))
			} else if err != nil {
				t.Logf("a central or an agent that %s: world %d: %v", m, seed, err)
				found++
			}
			for _, c := range w.rows {
				ends[c.State]++
			}
		}
		if m == sound {
			for _, state := range lifecycle.CommandStates {
				if state.Final() && ends[state] < worlds/10 {
					t.Errorf("only %d commands were %s", ends[state], state)
				}
			}
		} else if found == 0 {
			t.Errorf("a central or an agent that %s survives %d worlds", m, worlds)
		}
	}
}
