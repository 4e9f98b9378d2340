package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/syncstate"
)

// The entities that sites keep copies of.
const (
	NodeEntity     = "node"
	WorkflowEntity = "workflow"
	TemplateEntity = "template" // content of the category templates
)

// Written is a write to an entity.
type Written struct {
	Entity   string
	ID       uuid.UUID
	Site     uuid.UUID // home of a node; uuid.Nil for what is no one site's
	By       Actor
	Checksum string // SHA-256 of what the entity says now
}

// NoteWrite makes the version of an entity grow, in the transaction that writes the entity. A node that moves takes
// its version along to the new home.
func NoteWrite(ctx context.Context, tx *ent.Tx, w Written) error {
	writer := "central"
	if w.By.agent() {
		writer = w.By.Site.String()
	}
	kind, at := syncstate.EntityType(w.Entity), now()
	n, err := tx.SyncState.Update().Where(syncstate.EntityTypeEQ(kind), syncstate.EntityID(w.ID)).
		AddVersion(1).SetSiteID(w.Site).SetLastModified(at).SetLastModifiedBy(writer).SetChecksum(w.Checksum).Save(ctx)
	if err == nil && n == 0 {
		err = tx.SyncState.Create().SetEntityType(kind).SetEntityID(w.ID).
			SetSiteID(w.Site).SetLastModified(at).SetLastModifiedBy(writer).SetChecksum(w.Checksum).Exec(ctx)
	}
	if err != nil {
		return fmt.Errorf("note a write to %s %s: %w", w.Entity, w.ID, err)
	}
	return nil
}

// NoteDelete forgets the version of an entity that is deleted, in the transaction that deletes it.
func NoteDelete(ctx context.Context, tx *ent.Tx, entity string, id uuid.UUID) error {
	_, err := tx.SyncState.Delete().
		Where(syncstate.EntityTypeEQ(syncstate.EntityType(entity)), syncstate.EntityID(id)).Exec(ctx)
	if err != nil {
		return fmt.Errorf("note the end of %s %s: %w", entity, id, err)
	}
	return nil
}

// noteNode is NoteWrite of a node whose interfaces were loaded.
func noteNode(ctx context.Context, tx *ent.Tx, by Actor, row *ent.Node) error {
	said := struct {
		NodeSpec
		State string
	}{nodeSpec(row), string(row.State)}
	w := Written{Entity: NodeEntity, ID: row.ID, By: by, Checksum: checksum(said)}
	if row.HomeSiteID != nil {
		w.Site = *row.HomeSiteID
	}
	return NoteWrite(ctx, tx, w)
}

// checksum returns the SHA-256 of v as JSON, in hexadecimal.
func checksum(v any) string {
	text, err := json.Marshal(v)
	if err != nil { // of texts, numbers and maps of them
		panic(err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
