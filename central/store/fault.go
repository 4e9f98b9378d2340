package store

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
)

var (
	// ErrNotFound says that there is no such entity, or none that the actor may see.
	ErrNotFound = errors.New("not found")

	// ErrForbidden says that the actor may see the entity but not do this to it.
	ErrForbidden = errors.New("not allowed")

	// ErrVersion says that the entity has changed since the version that the writer had read.
	ErrVersion = errors.New("changed since it was read")
)

// Invalid is a request that cannot be carried out whatever the state of things is. It names every field at fault.
type Invalid struct{ Fields []wire.ProblemField }

func (e *Invalid) Error() string {
	faults := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		faults[i] = f.Location + ": " + f.Message
	}
	return strings.Join(faults, "; ")
}

// Conflict is a request that the present state of things forbids.
type Conflict struct {
	Message string
	Field   string // at fault, as body.mac_address; empty when it is none
	cause   error  // in the database; nil when a check before it found the conflict
}

func (e *Conflict) Error() string { return e.Message }

// Unwrap returns what the database said, if it was what refused.
func (e *Conflict) Unwrap() error { return e.cause }

// faults collects what is wrong with a request.
type faults []wire.ProblemField

func (f *faults) add(field string, value any, format string, args ...any) {
	*f = append(*f, wire.ProblemField{Location: "body." + field, Message: fmt.Sprintf(format, args...), Value: value})
}

// err returns an *Invalid, or nil when nothing is wrong.
func (f faults) err() error {
	if len(f) == 0 {
		return nil
	}
	return &Invalid{Fields: f}
}

// missing turns ent's way of saying that there is no such row into ErrNotFound.
func missing(err error) error {
	if ent.IsNotFound(err) {
		return ErrNotFound
	}
	return err
}
