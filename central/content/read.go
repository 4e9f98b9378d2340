package content

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"unicode/utf8"

	"entgo.io/ent/dialect/sql"
	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/blob"
	entcontent "github.com/pureboot/pureboot/ent/content"
	"github.com/pureboot/pureboot/ent/predicate"
)

// Stat describes a file, or says ErrNotFound.
func (r *Repository) Stat(ctx context.Context, category, path string) (wire.File, error) {
	row, err := find(r.st.Read().Content, category, path).WithBlob(brief).Only(ctx)
	if err != nil {
		return wire.File{}, lookup(category, path, err)
	}
	return file(row), nil
}

// Open returns the bytes of a file and its description, which belong together whatever happens to the name
// meanwhile. The caller closes the reader. A name that is not there is ErrNotFound.
func (r *Repository) Open(ctx context.Context, category, path string) (io.ReadSeekCloser, wire.File, error) {
	for try := 1; ; try++ {
		f, err := r.Stat(ctx, category, path)
		if err != nil {
			return nil, wire.File{}, err
		}
		bytes, err := r.openBlob(f.SHA256)
		switch {
		case err == nil:
			return bytes, f, nil
		case errors.Is(err, fs.ErrNotExist) && try < 3:
			// Replaced and collected since we looked: look again. If it is still missing, it is lost.
		default:
			return nil, wire.File{}, fmt.Errorf("open content %s/%s: %w", category, path, err)
		}
	}
}

// Chunks describes a file and each of its chunks, or says ErrNotFound.
func (r *Repository) Chunks(ctx context.Context, category, path string) (wire.Chunks, error) {
	var c wire.Chunks
	err := r.st.View(ctx, func(tx *ent.Tx) error {
		row, err := find(tx.Content, category, path).WithBlob().Only(ctx)
		if err != nil {
			return lookup(category, path, err)
		}
		c = wire.Chunks{File: file(row), ChunkSize: wire.ChunkSize, Chunks: []string{}}
		for digest := range slices.Chunk(row.Edges.Blob.Chunks, 32) {
			c.Chunks = append(c.Chunks, hex.EncodeToString(digest))
		}
		c.Epoch, err = store.Current(ctx, tx, store.ContentCounter)
		return err
	})
	return c, err
}

// Query selects files; a zero field does not narrow.
type Query struct {
	Category string
	Prefix   string // of the path
	Glob     string // of the name, CATEGORY/PATH; see Glob
	Cursor   string // Next of the page before
	Limit    int    // items of a page, 1 to 1000; anything else means 100
}

// Page is one page of a list, in the order of category and path.
type Page struct {
	Items []wire.File
	Next  string // empty on the last page
	Total int    // of all pages
}

// List returns a page of the files that a query selects. A file that is there from the first page to the last is
// listed exactly once, whatever comes and goes beside it.
func (r *Repository) List(ctx context.Context, q Query) (Page, error) {
	if q.Limit < 1 || q.Limit > 1000 {
		q.Limit = 100
	}
	p := Page{Items: []wire.File{}}
	selected, glob, err := q.predicates()
	if err != nil {
		return p, err
	}
	err = r.st.View(ctx, func(tx *ent.Tx) (err error) {
		page := tx.Content.Query().Where(selected...)
		if q.Cursor != "" {
			category, path, ok := strings.Cut(q.Cursor, "/")
			if !ok {
				return ErrCursor
			}
			page.Where(after(category, path))
		}
		page.Order(ent.Asc(entcontent.FieldCategory, entcontent.FieldPath))
		if glob == nil {
			p.Total, err = tx.Content.Query().Where(selected...).Count(ctx)
			page.Limit(q.Limit + 1)
		} else {
			var ids []uuid.UUID
			ids, p.Total, err = matching(ctx, tx.Content.Query().Where(selected...), page.Clone(), *glob, q.Limit+1)
			page.Where(entcontent.IDIn(ids...))
		}
		if err != nil {
			return err
		}
		rows, err := page.WithBlob(brief).All(ctx)
		if err != nil {
			return err
		}
		if len(rows) > q.Limit {
			rows = rows[:q.Limit]
			last := rows[q.Limit-1]
			p.Next = string(last.Category) + "/" + last.Path
		}
		for _, row := range rows {
			p.Items = append(p.Items, file(row))
		}
		return nil
	})
	if err != nil {
		return Page{}, fmt.Errorf("list content: %w", err)
	}
	return p, nil
}

// predicates returns what selects the rows of a query, but for its glob if it has one.
func (q Query) predicates() ([]predicate.Content, *Glob, error) {
	selected := []predicate.Content{entcontent.BlobIDNotNil()}
	if q.Category != "" {
		selected = append(selected, inCategory(q.Category))
	}
	if q.Prefix != "" {
		selected = append(selected, hasPrefix(q.Prefix))
	}
	if q.Glob == "" {
		return selected, nil, nil
	}
	glob, err := ParseGlob(q.Glob)
	if err != nil {
		return nil, nil, err
	}
	if category, prefix, whole := strings.Cut(glob.prefix, "/"); whole {
		selected = append(selected, inCategory(category), hasPrefix(prefix))
	}
	return selected, &glob, nil
}

// matching returns the ids of what a glob selects, up to limit of them after the cursor, and how many it selects in
// all. The database knows no such globs, so every name with the glob's prefix is looked at.
func matching(ctx context.Context, all, page *ent.ContentQuery, glob Glob, limit int) (ids []uuid.UUID, total int, err error) {
	names := []string{entcontent.FieldID, entcontent.FieldCategory, entcontent.FieldPath}
	rows, err := all.Select(names...).All(ctx)
	if err != nil {
		return nil, 0, err
	}
	for _, row := range rows {
		if glob.Match(string(row.Category) + "/" + row.Path) {
			total++
		}
	}
	if rows, err = page.Select(names...).All(ctx); err != nil {
		return nil, 0, err
	}
	for _, row := range rows {
		if len(ids) < limit && glob.Match(string(row.Category)+"/"+row.Path) {
			ids = append(ids, row.ID)
		}
	}
	return ids, total, nil
}

// find selects the file of a name.
func find(c *ent.ContentClient, category, path string) *ent.ContentQuery {
	return c.Query().Where(named(category, path), entcontent.BlobIDNotNil())
}

// inCategory selects nothing for what is no category, which PostgreSQL and SQLite alike keep as text.
func inCategory(category string) predicate.Content {
	return entcontent.CategoryEQ(entcontent.Category(category))
}

func named(category, path string) predicate.Content {
	return entcontent.And(entcontent.CategoryEQ(entcontent.Category(category)), entcontent.Path(path))
}

// hasPrefix compares byte by byte, which LIKE does not in SQLite.
func hasPrefix(prefix string) predicate.Content {
	return func(s *sql.Selector) {
		s.Where(sql.P(func(b *sql.Builder) {
			b.WriteString("substr(").Ident(s.C(entcontent.FieldPath)).WriteString(", 1, ")
			b.Arg(utf8.RuneCountInString(prefix)).WriteString(") = ").Arg(prefix)
		}))
	}
}

// after selects what a list has after a name.
func after(category, path string) predicate.Content {
	return func(s *sql.Selector) {
		s.Where(sql.Or(
			sql.GT(s.C(entcontent.FieldCategory), category),
			sql.And(sql.EQ(s.C(entcontent.FieldCategory), category), sql.GT(s.C(entcontent.FieldPath), path)),
		))
	}
}

// brief leaves out the chunks of a blob, a megabyte for each 8 GB.
func brief(q *ent.BlobQuery) { q.Select(blob.FieldSha256, blob.FieldSize) }

// file describes a row whose blob was loaded; a tombstone has neither size nor digest.
func file(row *ent.Content) wire.File {
	f := wire.File{Category: string(row.Category), Path: row.Path, Modified: row.Modified}
	if b := row.Edges.Blob; b != nil {
		f.Size, f.SHA256 = b.Size, b.Sha256
	}
	return f
}

// lookup is the error of a failed look at one name.
func lookup(category, path string, err error) error {
	if ent.IsNotFound(err) {
		err = ErrNotFound
	}
	return fmt.Errorf("look up %.600s: %w", category+"/"+path, err)
}
