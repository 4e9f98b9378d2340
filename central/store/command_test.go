package store

import (
	"context"
	"errors"
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

func TestACommandRunsItsCourse(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		f, ctx := fixed(t, o), t.Context()
		sync := f.queue(CommandSpec{Command: "sync", Params: wire.CommandParams{Force: true}, TTLSeconds: 3600})
		once := f.queue(CommandSpec{Command: "invalidate", Params: wire.CommandParams{Scope: "all"}, Once: true})
		if sync.Seq != 1 || once.Seq != 2 || sync.State != "queued" || !sync.Params.Force || once.Params.Scope != "all" {
			t.Fatalf("queued are %+v and %+v", sync, once)
		}
		send := func() []int64 {
			commands, cursor, err := f.SendCommands(ctx, f.atBerlin, 10)
			if err != nil || cursor.N != 2 || cursor.Stream == "" {
				t.Errorf("sent at %v, %v", cursor, err)
			}
			var seqs []int64
			for _, c := range commands {
				if c.State != "sent" || c.SentAt == nil {
					t.Errorf("sent is %+v", c)
				}
				seqs = append(seqs, c.Seq)
			}
			return seqs
		}
		if got := send(); len(got) != 2 || got[0] != 1 || got[1] != 2 {
			t.Errorf("sent are %v", got)
		}
		if got := send(); len(got) != 1 || got[0] != 1 {
			t.Errorf("after an answer that may be lost, sent are %v", got)
		}
		report := func(seq int64, state lifecycle.CommandState, result string) (Command, error) {
			return f.ReportCommand(ctx, f.atBerlin, seq, state, result)
		}
		if c, err := report(1, lifecycle.CommandRunning, ""); err != nil || c.StartedAt == nil {
			t.Errorf("running: %+v, %v", c, err)
		}
		if got := send(); len(got) != 0 {
			t.Errorf("after the agent has it, sent are %v", got)
		}
		if _, err := f.CancelCommand(ctx, root, f.berlin.ID, 1); !conflict(err) {
			t.Errorf("what runs was called back: %v", err)
		}
		if _, err := report(1, lifecycle.CommandAccepted, ""); !conflict(err) {
			t.Errorf("a step back: %v", err)
		}
		done, err := report(1, lifecycle.CommandSucceeded, "5 files\nand more")
		if err != nil || done.State != "succeeded" || done.Result != "5 files and more" || done.FinishedAt == nil {
			t.Errorf("done: %+v, %v", done, err)
		}
		if again, err := report(1, lifecycle.CommandFailed, "late"); err != nil || again.State != "succeeded" {
			t.Errorf("a report after the end: %+v, %v", again, err)
		}
		if _, err := f.ReportCommand(ctx, f.atRome, 1, lifecycle.CommandFailed, ""); !errors.Is(err, ErrNotFound) {
			t.Errorf("another site's report: %v", err)
		}
		if _, err := f.CancelCommand(ctx, root, f.berlin.ID, 2); !conflict(err) {
			t.Errorf("what the agent may have was called back: %v", err)
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
		commands, _, err := f.SendCommands(ctx, f.atBerlin, 2)
		if err != nil || len(commands) != 2 || commands[0].Seq != forced.Seq {
			t.Errorf("sent are %+v, %v", commands, err)
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
