package store

import (
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"entgo.io/ent/dialect"
	"github.com/google/uuid"
	"github.com/pressly/goose/v3"
)

// givenUp are the columns that a migration dropped on purpose: nothing ever wrote them.
var givenUp = []string{"device_groups.agent_status", "device_groups.agent_last_seen"}

// A table that is rebuilt is dropped on the way, and what refers to it must not go with it. Each earlier version is
// filled in every column of every table and upgraded: step by step, and in one go as an operator sees it.
func TestAnUpgradeLosesNothing(t *testing.T) {
	onEmpty(t, func(t *testing.T, o Options) {
		steps, err := Migrations(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		for i, from := range steps {
			t.Run(from.Name, func(t *testing.T) {
				o := another(t, o)
				db, p, _ := earlier(t, o)
				if _, err := p.UpTo(t.Context(), from.Version); err != nil {
					t.Fatal(err)
				}
				before := fill(t, db, dialectOf(o.DSN))
				for _, to := range steps[i:] {
					if _, err := p.UpTo(t.Context(), to.Version); err != nil {
						t.Fatal(err)
					}
					unharmed(t, db, o, before, to.Name)
				}
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
				unharmed(t, open(t, o).read, o, before, "its start")
			})
		}
	})
}

// The test above means something only if it sees the loss: with foreign keys on, a dropped table takes along what
// refers to it.
func TestTheTrapOfForeignKeys(t *testing.T) {
	o := Options{Dir: t.TempDir(), Log: quiet()}
	db, p, steps := earlier(t, o)
	if _, err := p.UpTo(t.Context(), steps[0].Version); err != nil {
		t.Fatal(err)
	}
	before := fill(t, db, dialect.SQLite)
	file, err := sqliteFile(o)
	if err != nil {
		t.Fatal(err)
	}
	trapped, err := sql.Open("sqlite", sqliteDSN(file, "foreign_keys(1)"))
	if err != nil {
		t.Fatal(err)
	}
	defer trapped.Close()
	if p, err = provider(trapped, dialect.SQLite); err == nil {
		_, err = p.Up(t.Context())
	}
	if err != nil {
		t.Skipf("it is no trap any more: %v", err)
	}
	if lost := losses(t, trapped, o, before); len(lost) == 0 {
		t.Error("nothing was lost, or nobody saw it")
	}
}

// another is o with an empty database of its own.
func another(t *testing.T, o Options) Options {
	if o.DSN != "" {
		o.DSN = postgres(t, databases.Empty)
	} else {
		o.Dir = t.TempDir()
	}
	return o
}

// earlier opens an empty database to migrate it by hand, as migrateSQLite does.
func earlier(t *testing.T, o Options) (*sql.DB, *goose.Provider, []Migration) {
	t.Helper()
	steps, err := Migrations(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	var db *sql.DB
	if o.DSN != "" {
		db, err = openPgx(o.DSN)
	} else {
		var file string
		if file, err = sqliteFile(o); err == nil {
			db, err = sql.Open("sqlite", sqliteDSN(file, "foreign_keys(0)"))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	p, err := provider(db, dialectOf(o.DSN))
	if err != nil {
		t.Fatal(err)
	}
	return db, p, steps
}

// unharmed says what an upgrade lost.
func unharmed(t *testing.T, db *sql.DB, o Options, before map[string][]string, after string) {
	t.Helper()
	for _, lost := range losses(t, db, o, before) {
		t.Errorf("after %s %s", after, lost)
	}
}

func losses(t *testing.T, db *sql.DB, o Options, before map[string][]string) []string {
	t.Helper()
	var lost []string
	now := map[string]bool{}
	for _, table := range tables(t, db, dialectOf(o.DSN)) {
		for _, c := range table.columns {
			now[table.name+"."+c.name] = true
		}
	}
	for _, column := range slices.Sorted(maps.Keys(before)) {
		if column == "counters.origin" { // written at each start
			continue
		}
		if !now[column] {
			if !slices.Contains(givenUp, column) {
				lost = append(lost, column+" is gone")
			}
			continue
		}
		table, name, _ := strings.Cut(column, ".")
		if values := read(t, db, table, name); !contains(values, before[column]) {
			lost = append(lost, fmt.Sprintf("%s holds %q, and held %q", column, values, before[column]))
		}
	}
	return lost
}

// contains says whether all values are still there; a migration may add rows to a table that was there.
func contains(values, want []string) bool {
	for _, v := range want {
		i := slices.Index(values, v)
		if i < 0 {
			return false
		}
		values = slices.Delete(slices.Clone(values), i, i+1)
	}
	return true
}

type column struct {
	name, kind string
	refers     string // table; empty if to none
}

type table struct {
	name    string
	columns []column
}

// fill writes two rows to each table, with a value in every column and every reference, and returns all the values.
func fill(t *testing.T, db *sql.DB, entDialect string) map[string][]string {
	t.Helper()
	all := tables(t, db, entDialect)
	done := map[string]bool{}
	for len(done) < len(all) {
		before := len(done)
		for _, table := range all {
			if done[table.name] || slices.ContainsFunc(table.columns, func(c column) bool {
				return c.refers != "" && c.refers != table.name && !done[c.refers]
			}) {
				continue
			}
			for row := range 2 {
				insert(t, db, table, row)
			}
			done[table.name] = true
		}
		if len(done) == before {
			t.Fatalf("the tables refer to each other in a circle; filled are %v", done)
		}
	}
	values := map[string][]string{}
	for _, table := range all {
		for _, c := range table.columns {
			values[table.name+"."+c.name] = read(t, db, table.name, c.name)
		}
	}
	return values
}

func insert(t *testing.T, db *sql.DB, table table, row int) {
	t.Helper()
	var names, marks []string
	var values []any
	for _, c := range table.columns {
		names = append(names, `"`+c.name+`"`)
		marks = append(marks, fmt.Sprintf("$%d", len(names)))
		values = append(values, value(table.name, c, row))
	}
	_, err := db.ExecContext(t.Context(), "INSERT INTO "+table.name+" ("+strings.Join(names, ", ")+") VALUES ("+strings.Join(marks, ", ")+")", values...)
	if err != nil {
		t.Fatalf("fill %s with %v: %v", table.name, values, err)
	}
}

// value makes up what a row holds; a reference is to the row of the same number.
func value(table string, c column, row int) any {
	switch {
	case c.name == "origin": // what another database is called would make it a restored one
		return ""
	case c.refers == table && row == 0: // to the row itself, which is there once it is
		return id(table, row)
	case c.refers != "":
		return id(c.refers, row)
	case c.name == "id" && strings.HasPrefix(c.kind, "uuid"):
		return id(table, row)
	}
	switch kind := strings.ToLower(c.kind); {
	case strings.HasPrefix(kind, "uuid"):
		return id(table+"."+c.name, row)
	case strings.HasPrefix(kind, "json"):
		return fmt.Sprintf(`["%s %d"]`, c.name, row)
	case strings.HasPrefix(kind, "bool"):
		return row == 0
	case strings.Contains(kind, "int"):
		return row + 1
	case strings.HasPrefix(kind, "date"), strings.HasPrefix(kind, "timestamp"):
		return fmt.Sprintf("2026-01-0%d 03:04:05+00:00", row+1)
	case kind == "blob", kind == "bytea":
		return fmt.Appendf(nil, "%s %d", c.name, row)
	}
	return fmt.Sprintf("%s %d", c.name, row)
}

// id returns the id of a row.
func id(table string, row int) string {
	return uuid.NewSHA1(uuid.Nil, fmt.Appendf(nil, "%s %d", table, row)).String()
}

// tables lists the tables that central has made.
func tables(t *testing.T, db *sql.DB, entDialect string) []table {
	t.Helper()
	query := `SELECT m.name, c.name, c.type, coalesce(k."table", '') FROM sqlite_master m JOIN pragma_table_info(m.name) c
		LEFT JOIN pragma_foreign_key_list(m.name) k ON k."from" = c.name WHERE m.type = 'table' ORDER BY m.name, c.cid`
	if entDialect == dialect.Postgres {
		query = `SELECT c.table_name, c.column_name, c.data_type, coalesce(r.confrelid::regclass::text, '') FROM information_schema.columns c
			LEFT JOIN pg_attribute a ON a.attrelid = c.table_name::regclass AND a.attname = c.column_name
			LEFT JOIN pg_constraint r ON r.contype = 'f' AND r.conrelid = a.attrelid AND r.conkey = ARRAY[a.attnum]
			WHERE c.table_schema = 'public' ORDER BY c.table_name, c.ordinal_position`
	}
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all []table
	for rows.Next() {
		var name string
		var c column
		if err := rows.Scan(&name, &c.name, &c.kind, &c.refers); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(name, "sqlite_") || strings.HasPrefix(name, "goose_") {
			continue
		}
		if len(all) == 0 || all[len(all)-1].name != name {
			all = append(all, table{name: name})
		}
		all[len(all)-1].columns = append(all[len(all)-1].columns, c)
	}
	if err := rows.Err(); err != nil || len(all) == 0 {
		t.Fatalf("there are no tables: %v", err)
	}
	return all
}

// read returns the values of a column, sorted.
func read(t *testing.T, db *sql.DB, table, column string) []string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), `SELECT "`+column+`" FROM `+table)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var values []string
	for rows.Next() {
		var v any
		if err := rows.Scan(&v); err != nil {
			t.Fatal(err)
		}
		if text, ok := v.([]byte); ok {
			v = string(text)
		}
		values = append(values, fmt.Sprint(v))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(values)
	return values
}
