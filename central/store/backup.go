package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"entgo.io/ent/dialect"
)

// ErrNoBackup says that central does not back up PostgreSQL, which has its own ways.
var ErrNoBackup = errors.New("the database is PostgreSQL, which pg_dump backs up")

// backupMark is the user_version of a copy: whoever opens it as a database works with a restored one. Central's own
// database has 0.
const backupMark = 0x50425242

// keptBackups is how many of the backups before upgrades stay, the newest.
const keptBackups = 3

// Backup writes a copy of the database to a file, consistent although a central may be serving from it. The file is
// its owner's alone and has reached the disk when Backup returns. One that is there is an error that wraps
// fs.ErrExist, unless replace is set.
func Backup(ctx context.Context, o Options, file string, replace bool) error {
	if dialectOf(o.DSN) == dialect.Postgres {
		return ErrNoBackup
	}
	source, err := sqliteFile(o)
	if err != nil {
		return err
	}
	if _, err := os.Stat(source); err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	if same, err := sameFile(source, file); err != nil || same {
		return errors.Join(err, errors.New("back up: the file is the database itself"))
	}
	db, err := sql.Open("sqlite", sqliteDSN(source))
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	defer db.Close()
	if err := copyDatabase(ctx, db, file, replace); err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	return nil
}

func sameFile(a, b string) (bool, error) {
	infoA, err := os.Stat(a)
	if err != nil {
		return false, err
	}
	infoB, err := os.Stat(b)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(infoA, infoB), err
}

// copyDatabase writes a copy of an SQLite database that bears the mark of one.
func copyDatabase(ctx context.Context, db *sql.DB, file string, replace bool) error {
	file, err := filepath.Abs(file) // SQLite takes some relative names for more than a name
	if err != nil {
		return err
	}
	if _, err := os.Lstat(file); err == nil && !replace {
		return &fs.PathError{Op: "create", Path: file, Err: fs.ErrExist}
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*.tmp") // 0600, which the copy keeps
	if err != nil {
		return err
	}
	tmp.Close()
	if _, err = db.ExecContext(ctx, "VACUUM INTO ?", tmp.Name()); err == nil {
		err = mark(ctx, tmp.Name())
	}
	if err == nil {
		err = syncFile(tmp.Name())
	}
	if err == nil && !replace {
		err = takeName(file)
	}
	if err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err != nil {
		return errors.Join(noSpace(err), os.Remove(tmp.Name()))
	}
	return syncFile(filepath.Dir(file))
}

// takeName makes an empty file, so that of two copies at once one fails. It is there for an instant alone: whoever
// restored an empty one would begin with an empty database.
func takeName(file string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

func mark(ctx context.Context, file string) error {
	u := url.URL{Scheme: "file", Path: file}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", backupMark))
	return errors.Join(err, db.Close())
}

// syncFile waits until a file or a folder has reached the disk.
func syncFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// backupBefore backs up a database of a version beside itself, and deletes the oldest of such backups. The caller holds
// the lock of the database.
func (s *Store) backupBefore(ctx context.Context, db *sql.DB, file string, version int64) error {
	versions, torn, err := upgradeBackups(file)
	if err != nil {
		return err
	}
	for _, name := range torn { // each takes as much room as the new one needs
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	name := backupFile(file, version)
	if err := copyDatabase(ctx, db, name, true); err != nil {
		return err
	}
	s.log.Info("backed up the database", "file", name)
	versions = append(versions, version)
	slices.Sort(versions)
	versions = slices.Compact(versions)
	for _, version := range versions[:max(0, len(versions)-keptBackups)] {
		if err := os.Remove(backupFile(file, version)); err != nil {
			return err
		}
	}
	return nil
}

func backupFile(file string, version int64) string { return fmt.Sprintf("%s.%d.bak", file, version) }

// upgradeBackups returns the versions of the backups before upgrades that are beside a database, and the files of those
// that were cut off by the end of a process.
func upgradeBackups(file string) (versions []int64, torn []string, err error) {
	dir, base := filepath.Split(file)
	entries, err := os.ReadDir(dir)
	for _, entry := range entries {
		rest, ours := strings.CutPrefix(entry.Name(), base+".")
		text, tail, backup := strings.Cut(rest, ".bak")
		version, notNumber := strconv.ParseInt(text, 10, 64)
		switch {
		case !ours || !backup || notNumber != nil:
		case tail == "":
			versions = append(versions, version)
		case strings.Contains(tail, ".tmp"): // the copy, and SQLite's journal of it
			torn = append(torn, filepath.Join(dir, entry.Name()))
		}
	}
	return versions, torn, err
}
