package api

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pureboot/pureboot/central/content"
	"github.com/pureboot/pureboot/central/fleet"
	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

func TestEachErrorHasItsStatus(t *testing.T) {
	a := &api{Options: Options{Log: slog.New(slog.DiscardHandler)}}
	given, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		ctx    context.Context
		err    error
		status int
		header string
	}{
		{t.Context(), store.ErrNoSpace, http.StatusInsufficientStorage, ""},
		{t.Context(), fmt.Errorf("store images/a: %w", content.ErrNoSpace), http.StatusInsufficientStorage, ""},
		{t.Context(), &fleet.Limited{RetryAfter: 1500 * time.Millisecond}, http.StatusTooManyRequests, "Retry-After"},
		{t.Context(), store.ErrUnauthorized, http.StatusUnauthorized, "WWW-Authenticate"},
		{t.Context(), content.CheckPath("images", ".."), http.StatusBadRequest, ""},
		{given, context.Canceled, http.StatusServiceUnavailable, "Retry-After"},
		{t.Context(), fmt.Errorf("authenticate: %w", driver.ErrBadConn), http.StatusServiceUnavailable, "Retry-After"},
		{t.Context(), &pgconn.PgError{Code: "57P01"}, http.StatusServiceUnavailable, "Retry-After"},
		{t.Context(), &pgconn.PgError{Code: "53300"}, http.StatusServiceUnavailable, "Retry-After"},
		{t.Context(), &pgconn.PgError{Code: "42601"}, http.StatusInternalServerError, ""},
		{t.Context(), errors.New("inner"), http.StatusInternalServerError, ""},
	} {
		w := httptest.NewRecorder()
		a.writeError(w, httptest.NewRequestWithContext(c.ctx, "GET", "/", nil), c.err)
		if w.Code != c.status || w.Header().Get("Content-Type") != wire.MediaTypeProblem {
			t.Errorf("%v: %d as %s", c.err, w.Code, w.Header().Get("Content-Type"))
		}
		if c.header != "" && w.Header().Get(c.header) == "" {
			t.Errorf("%v: no %s", c.err, c.header)
		}
	}
}
