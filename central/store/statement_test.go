package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"modernc.org/sqlite"
)

// counted counts the statements that the driver prepares and closes.
type counted struct {
	driver.Connector
	prepared, closed atomic.Int64
}

func (c *counted) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &countedConn{conn.(sqliteConn), c}, nil
}

type countedConn struct {
	sqliteConn
	count *counted
}

func (c *countedConn) PrepareContext(ctx context.Context, text string) (driver.Stmt, error) {
	s, err := c.sqliteConn.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	c.count.prepared.Add(1)
	return &countedStatement{s.(sqliteStatement), c.count}, nil
}

type countedStatement struct {
	sqliteStatement
	count *counted
}

func (s *countedStatement) Close() error {
	s.count.closed.Add(1)
	return s.sqliteStatement.Close()
}

// keeper opens a database with a table by connections that keep statements, n at most. When the test ends there must be
// no statement left.
func keeper(t *testing.T, n int) (*sql.DB, *counted) {
	t.Helper()
	c, err := sqlite.NewConnector(sqliteDSN(filepath.Join(t.TempDir(), "kept.db")))
	if err != nil {
		t.Fatal(err)
	}
	count := &counted{Connector: c}
	db := sql.OpenDB(keeping{count})
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		if prepared, closed := count.prepared.Load(), count.closed.Load(); prepared != closed {
			t.Errorf("%d statements were prepared, %d closed", prepared, closed)
		}
	})
	do(t, db, `CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT)`)
	do(t, db, `INSERT INTO things VALUES (1, 'one'), (2, 'two'), (3, 'three')`)
	return db, count
}

func do(t *testing.T, db *sql.DB, text string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), text, args...); err != nil {
		t.Fatal(err)
	}
}

// querier is a database, or a transaction.
type querier interface {
	QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error)
}

// names returns the first column of what a query finds, as one text.
func names(ctx context.Context, q querier, text string, args ...any) (string, error) {
	rows, err := q.QueryContext(ctx, text, args...)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return "", err
		}
		all = append(all, name)
	}
	return strings.Join(all, " "), rows.Err()
}

// finds fails the test unless a query finds what is wanted.
func finds(t *testing.T, q querier, want, text string, args ...any) {
	t.Helper()
	if got, err := names(t.Context(), q, text, args...); err != nil || got != want {
		t.Errorf("%s, %v: got %q, %v, want %q", text, args, got, err, want)
	}
}

func TestAStatementIsPreparedOnce(t *testing.T) {
	db, count := keeper(t, 1)
	before := count.prepared.Load()
	for i := range 10 {
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.ExecContext(t.Context(), `UPDATE things SET name = ? WHERE id = ?`, fmt.Sprint("name ", i), 2); err != nil {
			t.Fatal(err)
		}
		finds(t, tx, fmt.Sprint("name ", i), `SELECT name FROM things WHERE id = ?`, 2)
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		finds(t, db, "one", `SELECT name FROM things WHERE id = ?`, 1)
		finds(t, db, "", `SELECT name FROM things WHERE id = ?`, 4)
	}
	if n := count.prepared.Load() - before; n != 2 {
		t.Errorf("%d statements were prepared for two texts", n)
	}
}

func TestAStatementWhoseRowsAreOpenIsNotUsed(t *testing.T) {
	db, _ := keeper(t, 1)
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	const text = `SELECT name FROM things WHERE id >= ? ORDER BY id`
	outer, err := tx.QueryContext(t.Context(), text, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer outer.Close()
	var got []string
	for outer.Next() {
		var name string
		if err := outer.Scan(&name); err != nil {
			t.Fatal(err)
		}
		got = append(got, name)
		finds(t, tx, "two three", text, 2)
	}
	if err := outer.Err(); err != nil || strings.Join(got, " ") != "one two three" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestAStatementOutlivesAChangeOfTheSchema(t *testing.T) {
	db, _ := keeper(t, 2)
	reader, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	finds(t, reader, "two", `SELECT * FROM (SELECT name FROM things WHERE name = 'two')`)
	finds(t, reader, "1", `SELECT count(*) FROM things WHERE name = ?`, "two")
	do(t, db, `CREATE INDEX by_name ON things (name)`)
	finds(t, reader, "1", `SELECT count(*) FROM things WHERE name = ?`, "two")
	do(t, db, `DROP INDEX by_name`)
	do(t, db, `ALTER TABLE things RENAME TO old`)
	do(t, db, `CREATE TABLE things (name TEXT)`)
	finds(t, reader, "0", `SELECT count(*) FROM things WHERE name = ?`, "two")
	do(t, db, `DROP TABLE things`)
	if _, err := names(t.Context(), reader, `SELECT count(*) FROM things WHERE name = ?`, "two"); err == nil {
		t.Error("a table that was dropped is read")
	}
	do(t, db, `ALTER TABLE old RENAME TO things`)
	finds(t, reader, "1", `SELECT count(*) FROM things WHERE name = ?`, "two")
}

func TestAStatementThatFailedIsAsNew(t *testing.T) {
	db, _ := keeper(t, 1)
	const text = `INSERT INTO things VALUES (?, ?)`
	for range 3 {
		if _, err := db.ExecContext(t.Context(), text, 1, "again"); err == nil {
			t.Fatal("two have one key")
		}
		if _, err := db.ExecContext(t.Context(), text, 4); err == nil {
			t.Fatal("an argument is missing")
		}
		do(t, db, text, 4, "four")
		do(t, db, `DELETE FROM things WHERE id = ?`, 4)
	}
}

// A query that is canceled takes its connection with it, as it did without statements that are kept; one whose rows are
// closed early does not.
func TestAStatementThatIsLeftIsAsNew(t *testing.T) {
	db, count := keeper(t, 1)
	const text = `WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT ?) SELECT max(n) FROM c`
	finds(t, db, "10", text, 10)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := names(ctx, db, text, int64(1)<<40); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a query without end ended with %v", err)
	}
	finds(t, db, "10", text, 10)

	const all = `SELECT name FROM things WHERE id > ? ORDER BY id`
	finds(t, db, "one two three", all, 0)
	before := count.prepared.Load()
	rows, err := db.QueryContext(t.Context(), all, 0)
	if err != nil {
		t.Fatal(err)
	}
	if !rows.Next() {
		t.Fatal(rows.Err())
	}
	if err := rows.Close(); err != nil {
		t.Fatal(err)
	}
	do(t, db, `UPDATE things SET name = 'zwei' WHERE id = 2`) // nothing that reads is in the way
	finds(t, db, "zwei three", all, 1)
	if n := count.prepared.Load() - before; n != 1 {
		t.Errorf("%d statements were prepared, want that of the update", n)
	}
}

func TestAConnectionKeepsWhatIsUsedMost(t *testing.T) {
	db, count := keeper(t, 1)
	for i := range 3 * keptStatements {
		finds(t, db, "one", `SELECT name FROM things WHERE id = ?`, 1)
		finds(t, db, fmt.Sprint(i), fmt.Sprint("SELECT ", i))
	}
	if kept := count.prepared.Load() - count.closed.Load(); kept != keptStatements {
		t.Errorf("%d statements are kept, want %d", kept, keptStatements)
	}
	before := count.prepared.Load()
	finds(t, db, "one", `SELECT name FROM things WHERE id = ?`, 1)
	if count.prepared.Load() != before {
		t.Error("what is used all the time was not kept")
	}
	long := `SELECT 1 /*` + strings.Repeat(" ", keptText) + `*/`
	finds(t, db, "1", long)
	finds(t, db, "1", long)
	if n := count.prepared.Load() - before; n != 2 {
		t.Errorf("a long statement was prepared %d times of two", n)
	}
}
