package api

import (
	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/store"
)

// ByID names one resource.
type ByID struct {
	ID uuid.UUID `path:"id" doc:"UUID"`
}

// OneVersion names one resource to write to.
type OneVersion struct {
	ByID
	IfMatch string `header:"If-Match" doc:"The ETag that was read: 412 if it has changed since"`
}

// patchByID changes one resource.
type patchByID struct {
	OneVersion
	Body map[string]any `contentType:"application/json"`
}

// Paging selects a page of a list.
type Paging struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	Cursor string `query:"cursor" maxLength:"4000" doc:"next_cursor of the page before"`
}

func (p Paging) store() store.Paging { return store.Paging{Limit: p.Limit, Cursor: p.Cursor} }

// answer is a JSON answer without more.
type answer[T any] struct{ Body T }

// versioned is an answer about a resource that has versions.
type versioned[T any] struct {
	ETag     string `header:"ETag"`
	Location string `header:"Location"`
	Body     T
}

// located is an answer about something that was made.
type located[T any] struct {
	Location string `header:"Location"`
	Body     T
}

// noStore, as Cache-Control, says that an answer is to be kept nowhere; not by central either, to repeat it.
const noStore = "no-store"

// secret is an answer that holds a secret.
type secret[T any] struct {
	Location string `header:"Location"`
	Cache    string `header:"Cache-Control" doc:"no-store"`
	Body     T
}

// nothing is the answer 204.
type nothing struct{}
