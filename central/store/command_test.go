package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/wire"
)

func (f *fixture) queue(spec CommandSpec) Command {
	f.t.Helper()
	c, err := f.QueueCommand(f.t.Context(), root, f.berlin.ID, spec)
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

// move moves commands of the site as an agent's word would.
func (f *fixture) move(to lifecycle.CommandState, result string, seqs ...int64) (waiting []int64) {
	f.t.Helper()
	err := f.MoveCommands(f.t.Context(), f.berlin.ID, func(all []Command, last wire.Epoch, at time.Time) []Command {
		var moved []Command
		waiting = nil
		for _, c := range all {
			waiting = append(waiting, c.Seq)
			if last.Stream == "" || last.N < c.Seq {
				f.t.Errorf("command %d is there, and the last is %v", c.Seq, last)
			}
			if slices.Contains(seqs, c.Seq) {
				if c.State, c.Result = to, result; to == lifecycle.CommandSent {
					c.SentAt = &at
				} else if to.Final() {
					c.FinishedAt = &at
				}
				moved = append(moved, c)
			}
		}
		return moved
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return waiting
}

func TestACommandRunsItsCourse(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		f, ctx := fixed(t, o), t.Context()
		if got := f.move("", ""); got != nil {
			t.Errorf("before the first there are %v", got)
		}
		sync := f.queue(CommandSpec{Command: "sync", Params: wire.CommandParams{Force: true}, TTLSeconds: 3600})
		once := f.queue(CommandSpec{Command: "invalidate", Params: wire.CommandParams{Scope: "all"}, Once: true})
		if sync.Seq != 1 || once.Seq != 2 || sync.State != "queued" || !sync.Params.Force || once.Params.Scope != "all" || !once.Once {
			t.Fatalf("queued are %+v and %+v", sync, once)
		}
		f.move(lifecycle.CommandSent, "", 1, 2)
		if c, err := f.Command(ctx, f.berlin.ID, 1); err != nil || c.State != "sent" || c.SentAt == nil {
			t.Errorf("sent: %+v, %v", c, err)
		}
		// What was sent the agent is asked to give back; it keeps its word on the way.
		back, err := f.CancelCommand(ctx, root, f.berlin.ID, 2)
		if err != nil || back.State != "sent" || back.Recall != "canceled" {
			t.Errorf("called back: %+v, %v", back, err)
		}
		if again, err := f.CancelCommand(ctx, root, f.berlin.ID, 2); err != nil || again.Recall != "canceled" {
			t.Errorf("and again: %+v, %v", again, err)
		}
		f.move(lifecycle.CommandRunning, "", 1)
		if _, err := f.CancelCommand(ctx, root, f.berlin.ID, 1); !conflict(err) {
			t.Errorf("what runs was called back: %v", err)
		}
		f.move(lifecycle.CommandSucceeded, "5 files\nand more", 1)
		if done, err := f.Command(ctx, f.berlin.ID, 1); err != nil || done.State != "succeeded" || done.Result != "5 files and more" || done.FinishedAt == nil {
			t.Errorf("done: %+v, %v", done, err)
		}
		if got := f.move(lifecycle.CommandCanceled, "", 2); len(got) != 1 || got[0] != 2 {
			t.Errorf("%v wait", got)
		}
		if c, err := f.Command(ctx, f.berlin.ID, 2); err != nil || c.State != "canceled" || c.Recall != "" {
			t.Errorf("given back: %+v, %v", c, err)
		}
		page, err := f.Commands(ctx, f.berlin.ID, CommandQuery{Paging: Paging{Limit: 1}})
		if err != nil || page.Total != 2 || page.Items[0].Seq != 2 {
			t.Errorf("the list begins %+v, %v", page, err)
		}
		if rest, err := f.Commands(ctx, f.berlin.ID, CommandQuery{Paging: Paging{Cursor: page.NextCursor}}); err != nil || len(rest.Items) != 1 || rest.Items[0].Seq != 1 {
			t.Errorf("it goes on %+v, %v", rest, err)
		}
		if err := f.DeleteGroup(ctx, root, true, f.berlin.ID, 0); err != nil {
			t.Fatal(err)
		}
		if n := f.Read().AgentCommand.Query().CountX(ctx); n != 0 {
			t.Errorf("%d commands are left of a deleted site", n)
		}
	})
}

func TestCommandsThatNobodyNeeds(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		f, ctx := fixed(t, o), t.Context()
		sync := f.queue(CommandSpec{Command: "sync"})
		forced := f.queue(CommandSpec{Command: "sync", Params: wire.CommandParams{Force: true}})
		config := f.queue(CommandSpec{Command: "update_config", Params: wire.CommandParams{Generation: "1"}})
		late := f.queue(CommandSpec{Command: "invalidate", Params: wire.CommandParams{Scope: "all"}, TTLSeconds: 60})
		_, err := f.write.ExecContext(ctx, "UPDATE agent_commands SET expires_at = $1 WHERE seq = $2", time.Now().UTC().Add(-time.Second), late.Seq)
		if err != nil {
			t.Fatal(err)
		}
		if c, err := f.Command(ctx, f.berlin.ID, late.Seq); err != nil || c.State != "expired" {
			t.Errorf("overdue it is %+v, %v", c, err)
		}
		f.queue(CommandSpec{Command: "sync"})
		f.queue(CommandSpec{Command: "update_config", Params: wire.CommandParams{Generation: "2"}})
		for seq, want := range map[int64]string{sync.Seq: "superseded", forced.Seq: "queued", config.Seq: "superseded", late.Seq: "expired", 5: "queued", 6: "queued"} {
			if c, err := f.Command(ctx, f.berlin.ID, seq); err != nil || string(c.State) != want {
				t.Errorf("%d is %+v, %v; want %s", seq, c, err, want)
			}
		}
		// What the agent may have is recalled; what it runs is not, and what was sent in vain has not expired.
		f.move(lifecycle.CommandSent, "", forced.Seq, 5)
		f.move(lifecycle.CommandRunning, "", 5)
		_, err = f.write.ExecContext(ctx, "UPDATE agent_commands SET expires_at = $1 WHERE seq = $2", time.Now().UTC().Add(-time.Second), forced.Seq)
		if err != nil {
			t.Fatal(err)
		}
		f.queue(CommandSpec{Command: "sync", Params: wire.CommandParams{Force: true}})
		for seq, want := range map[int64]string{forced.Seq: "sent superseded by command 7", 5: "running  "} {
			c, err := f.Command(ctx, f.berlin.ID, seq)
			if text := fmt.Sprintf("%s %s %s", c.State, c.Recall, c.Result); err != nil || text != want {
				t.Errorf("%d is %s, %v; want %s", seq, text, err, want)
			}
		}
	})
}

func TestAQueueIsBounded(t *testing.T) {
	f, ctx := fixed(t, Options{Dir: t.TempDir(), Log: quiet()}), t.Context()
	for i := range maxWaiting {
		f.queue(CommandSpec{Command: "invalidate", Params: wire.CommandParams{Scope: "content", Glob: uuid.NewString()}})
		if i == 0 {
			if _, err := f.CancelCommand(ctx, root, f.berlin.ID, 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	f.queue(CommandSpec{Command: "sync"})
	if _, err := f.QueueCommand(ctx, root, f.berlin.ID, CommandSpec{Command: "update_config"}); !conflict(err) {
		t.Errorf("one too many: %v", err)
	}
	if _, err := f.QueueCommand(ctx, root, f.rome.ID, CommandSpec{Command: "sync"}); err != nil {
		t.Errorf("at another site: %v", err)
	}
}

func TestCommandsForNoSite(t *testing.T) {
	f, ctx := fixed(t, Options{Dir: t.TempDir(), Log: quiet()}), t.Context()
	group, err := f.CreateGroup(ctx, root, false, GroupSpec{Name: "g"})
	if err != nil {
		t.Fatal(err)
	}
	for _, site := range []uuid.UUID{group.ID, uuid.New()} {
		if _, err := f.QueueCommand(ctx, root, site, CommandSpec{Command: "sync"}); !errors.Is(err, ErrNotFound) {
			t.Errorf("for what is no site: %v", err)
		}
	}
}

// Numbers are dense and in the order in which commands become visible, whoever queues at once.
func TestCommandsAreNumberedDensely(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		f := fixed(t, o)
		const n = 12
		together(t, n, func(ctx context.Context) error {
			_, err := f.QueueCommand(ctx, root, f.berlin.ID, CommandSpec{Command: "invalidate", Params: wire.CommandParams{Scope: "content", Glob: uuid.NewString()}})
			return err
		})
		page, err := f.Commands(t.Context(), f.berlin.ID, CommandQuery{})
		if err != nil || len(page.Items) != n {
			t.Fatalf("there are %d, %v", len(page.Items), err)
		}
		for i, c := range page.Items {
			if c.Seq != int64(n-i) {
				t.Errorf("number %d is %d", i, c.Seq)
			}
		}
	})
}
