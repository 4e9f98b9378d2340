package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/ent"
)

func TestASecondCentralIsRefused(t *testing.T) {
	o := Options{Dir: t.TempDir(), Log: quiet()}
	first, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), o); !errors.Is(err, ErrInUse) {
		t.Errorf("the second got %v", err)
	}
	o.Shared = true
	if beside, err := Open(t.Context(), o); err != nil {
		t.Errorf("a command beside it got %v", err)
	} else if err := beside.Close(); err != nil {
		t.Error(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	o.Shared = false
	open(t, o)
}

func TestACommandDoesNotMigrateUnderACentral(t *testing.T) {
	o := Options{Dir: t.TempDir(), Log: quiet(), Shared: true}
	held, err := lockFile(filepath.Join(o.Dir, "pureboot.db.lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if _, err := Open(t.Context(), o); !errors.Is(err, ErrInUse) {
		t.Errorf("the error is %v", err)
	}
}

func TestANewerDatabaseIsRefused(t *testing.T) {
	onEmpty(t, func(t *testing.T, o Options) {
		s, err := Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.write.ExecContext(t.Context(),
			"INSERT INTO goose_db_version (version_id, is_applied) VALUES (99990101000000, true)")
		if err := errors.Join(err, s.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err = Open(t.Context(), o); !errors.Is(err, ErrNewer) {
			t.Errorf("open says %v", err)
		}
		if _, err := Migrations(t.Context(), o); !errors.Is(err, ErrNewer) {
			t.Errorf("status says %v", err)
		}
	})
}

func TestMigrationsListsWithoutChanging(t *testing.T) {
	onEmpty(t, func(t *testing.T, o Options) {
		before, err := Migrations(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if len(before) == 0 || before[0].AppliedAt != nil || before[0].Name != "init" {
			t.Errorf("of an empty database: %+v", before)
		}
		if o.Dir != "" {
			if left, err := os.ReadDir(o.Dir); err != nil || len(left) != 0 {
				t.Errorf("looking left %v, %v", left, err)
			}
		}
		open(t, o)
		after, err := Migrations(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range after {
			if m.AppliedAt == nil || m.AppliedAt.IsZero() {
				t.Errorf("%d is not applied", m.Version)
			}
		}
	})
}

// filled is data of the first version, with every relation between its tables.
var filled = []string{
	`INSERT INTO workflows (id, created_at, updated_at, name, install_method, initrd, params) VALUES
		('00000000-0000-0000-0000-000000000001', '2026-01-01 00:00:00+00:00', '2026-01-01 00:00:00+00:00', 'w', 'chain', '[]', '{}')`,
	`INSERT INTO device_groups (id, created_at, updated_at, name, path, is_site, params, parent_id, default_workflow_id) VALUES
		('00000000-0000-0000-0000-000000000002', '2026-01-01 00:00:00+00:00', '2026-01-01 00:00:00+00:00', 'top', 'top', true, '{}',
			NULL, '00000000-0000-0000-0000-000000000001'),
		('00000000-0000-0000-0000-000000000003', '2026-01-01 00:00:00+00:00', '2026-01-01 00:00:00+00:00', 'low', 'top/low', true, '{}',
			'00000000-0000-0000-0000-000000000002', NULL)`,
	`INSERT INTO agents (id, created_at, updated_at, credential_hash, join_token_hash, enrolled_at, capabilities, site_id) VALUES
		('00000000-0000-0000-0000-000000000004', '2026-01-01 00:00:00+00:00', '2026-01-01 00:00:00+00:00', 'c', 'j',
			'2026-01-01 00:00:00+00:00', '[]', '00000000-0000-0000-0000-000000000003')`,
	`INSERT INTO blobs (id, sha256, size, chunks, created_at) VALUES
		('00000000-0000-0000-0000-000000000005', 's', 0, '', '2026-01-01 00:00:00+00:00')`,
	`INSERT INTO contents (id, created_at, updated_at, category, path, modified, epoch, blob_id, previous_blob_id) VALUES
		('00000000-0000-0000-0000-000000000006', '2026-01-01 00:00:00+00:00', '2026-01-01 00:00:00+00:00', 'images', 'p',
			'2026-01-01 00:00:00+00:00', 1, '00000000-0000-0000-0000-000000000005', '00000000-0000-0000-0000-000000000005')`,
	`INSERT INTO device_group_assigned_content (device_group_id, content_id) VALUES
		('00000000-0000-0000-0000-000000000003', '00000000-0000-0000-0000-000000000006')`,
	`INSERT INTO nodes (id, created_at, updated_at, mac_address, params, tags, state_changed_at, group_id, home_site_id, workflow_id) VALUES
		('00000000-0000-0000-0000-000000000007', '2026-01-01 00:00:00+00:00', '2026-01-01 00:00:00+00:00', 'm', '{}', '["rack 1", "db"]',
			'2026-01-01 00:00:00+00:00', '00000000-0000-0000-0000-000000000003', '00000000-0000-0000-0000-000000000003',
			'00000000-0000-0000-0000-000000000001')`,
	`INSERT INTO node_interfaces (id, mac_address, node_id) VALUES
		('00000000-0000-0000-0000-000000000008', 'm', '00000000-0000-0000-0000-000000000007')`,
	`INSERT INTO node_events (event_id, event_type, at, node_id) VALUES
		('e', 'heartbeat', '2026-01-01 00:00:00+00:00', '00000000-0000-0000-0000-000000000007')`,
	`INSERT INTO node_state_logs (from_state, to_state, "by", at, node_id) VALUES
		('', 'pending', 'x', '2026-01-01 00:00:00+00:00', '00000000-0000-0000-0000-000000000007')`,
	`INSERT INTO admin_tokens (id, name, role, secret_hash, created_at) VALUES ('t', 'x', 'admin', 'h', '2026-01-01 00:00:00+00:00')`,
	`INSERT INTO audit_entries (at, who, action) VALUES ('2026-01-01 00:00:00+00:00', 'x', 'y')`,
	`INSERT INTO counters (id, stream, value) VALUES ('content', 's', 5), ('nodes', 't', 6)`,
}

// What a migration adds is filled from what was there.
func TestAnUpgradeFillsNewTables(t *testing.T) {
	onEmpty(t, func(t *testing.T, o Options) {
		db, p, steps := earlier(t, o)
		if _, err := p.UpTo(t.Context(), steps[0].Version); err != nil {
			t.Fatal(err)
		}
		for _, insert := range filled {
			if _, err := db.ExecContext(t.Context(), insert); err != nil {
				t.Fatalf("%s: %v", insert, err)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		s := open(t, o)
		derived(t, s)
		if e, err := s.Epoch(t.Context(), NodeCounter); err != nil || e.Stream != "t" || e.N != 6 {
			t.Errorf("the counter is at %v, %v", e, err)
		}
	})
}

// derived checks what a migration made of older data in tables that it added.
func derived(t *testing.T, s *Store) {
	t.Helper()
	ctx := t.Context()
	tags, err := s.Read().NodeTag.Query().Order(ent.Asc("tag")).All(ctx)
	if err != nil || len(tags) != 2 || tags[0].Tag != "db" || tags[1].Tag != "rack 1" {
		t.Errorf("the tags are %v, %v", tags, err)
	}
	revision, err := s.Read().WorkflowRevision.Query().Only(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var spec WorkflowSpec
	if err := json.Unmarshal(revision.Spec, &spec); err != nil || spec.Name != "w" || spec.InstallMethod != "chain" || spec.Initrd == nil {
		t.Errorf("the first revision is %+v, %v", spec, err)
	}
	states, err := s.Read().SyncState.Query().Order(ent.Asc("entity_type")).All(ctx)
	if err != nil || len(states) != 2 || states[0].EntityType != "node" || states[0].SiteID == uuid.Nil || states[1].SiteID != uuid.Nil {
		t.Errorf("the sync states are %v, %v", states, err)
	}
}

func TestCentralsThatStartAtOnceMigrateOnce(t *testing.T) {
	o := Options{DSN: postgres(t, databases.Empty), Log: quiet()}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			s, err := Open(t.Context(), o)
			if err != nil {
				t.Error(err)
				return
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestDanglingRowsAreReported(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.db")
	db, err := sql.Open("sqlite", sqliteDSN(file, "foreign_keys(0)"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, q := range []string{
		"CREATE TABLE parents (id integer PRIMARY KEY)",
		"CREATE TABLE children (id integer PRIMARY KEY, parent integer REFERENCES parents (id))",
		"INSERT INTO parents VALUES (1)",
		"INSERT INTO children VALUES (1, 1), (2, 5), (3, 6)",
	} {
		if _, err := db.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	err = checkForeignKeys(t.Context(), db)
	if err == nil || !strings.Contains(err.Error(), "2 rows of children refer to no row of parents") {
		t.Errorf("the error is %v", err)
	}
	if _, err := db.Exec("DELETE FROM children WHERE parent > 1"); err != nil {
		t.Fatal(err)
	}
	if err := checkForeignKeys(t.Context(), db); err != nil {
		t.Error(err)
	}
}

func TestErrorsDoNotQuoteThePassword(t *testing.T) {
	for _, url := range []string{
		"postgres://u:hunter2@127.0.0.1:1/x", "postgres://u:hunter2@127.0.0.1:port/x", "postgres://u:hunter2@[/x",
	} {
		_, err := Open(context.Background(), Options{DSN: url, Log: quiet()})
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error is %v", err)
		}
	}
}
