package store

import (
	"bytes"
	"encoding/base64"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/wire"
)

// Page is one page of a list. An entity that is there from the first page to the last is listed exactly once,
// whatever comes and goes beside it.
type Page[T any] struct {
	Items      []T    `json:"items" nullable:"false"`
	NextCursor string `json:"next_cursor" doc:"Of the next page; empty on the last one"`
	Total      int    `json:"total" doc:"Of all pages"`
}

// Paging selects a page.
type Paging struct {
	Limit  int    // 1 to MaxLimit; anything else means DefaultLimit
	Cursor string // NextCursor of the page before; empty begins
}

// Limits of a page.
const (
	DefaultLimit = 100
	MaxLimit     = 1000
)

// start returns how many items to read and after which key.
func (p Paging) start() (limit int, after string, err error) {
	limit = p.Limit
	if limit < 1 || limit > MaxLimit {
		limit = DefaultLimit
	}
	key, err := base64.RawURLEncoding.DecodeString(p.Cursor)
	if err != nil || !utf8.Valid(key) || bytes.ContainsRune(key, 0) { // PostgreSQL takes neither
		return 0, "", badCursor()
	}
	return limit, string(key), nil
}

// before is start of a list by id that has the latest first.
func (p Paging) before() (limit int, id uuid.UUID, err error) {
	limit, text, err := p.start()
	if err != nil || text == "" {
		return limit, uuid.Max, err
	}
	if id, err = uuid.Parse(text); err != nil {
		return 0, id, badCursor()
	}
	return limit, id, nil
}

// beforeNumber is before of a list by a number.
func (p Paging) beforeNumber() (limit int, number int64, err error) {
	limit, text, err := p.start()
	if err != nil || text == "" {
		return limit, math.MaxInt64, err
	}
	if number, err = strconv.ParseInt(text, 10, 64); err != nil {
		return 0, 0, badCursor()
	}
	return limit, number, nil
}

// afterNumber is start of a list by a number that has the oldest first.
func (p Paging) afterNumber() (limit int, number int64, err error) {
	limit, text, err := p.start()
	if err != nil || text == "" {
		return limit, 0, err
	}
	if number, err = strconv.ParseInt(text, 10, 64); err != nil {
		return 0, 0, badCursor()
	}
	return limit, number, nil
}

func badCursor() error {
	return &Invalid{Fields: []wire.ProblemField{{Location: "query.cursor", Message: "not a cursor of this list"}}}
}

// pageOf makes a page of rows, of which one more than limit was asked for.
func pageOf[R, T any](rows []R, limit, total int, key func(R) string, item func(R) T) Page[T] {
	p := Page[T]{Items: make([]T, 0, min(len(rows), limit)), Total: total}
	if len(rows) > limit {
		rows = rows[:limit]
		p.NextCursor = base64.RawURLEncoding.EncodeToString([]byte(key(rows[limit-1])))
	}
	for _, row := range rows {
		p.Items = append(p.Items, item(row))
	}
	return p
}

// itself is the item of a row that needs no more work.
func itself[T any](item T) T { return item }
