package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/node"
	"github.com/pureboot/pureboot/ent/syncconflict"
)

// maxMerged bounds what an administrator says that a node shall be, in bytes of JSON.
const maxMerged = 64 << 10

// Resolution is an administrator's choice.
type Resolution struct {
	Resolution string         // accepted_central, accepted_site or merged
	Merged     map[string]any // of merged alone: the fields of the node that shall be, as in a merge patch

	// Patch returns the edit that a merge patch of a node is, checked like any other. It may be nil where nothing is
	// written.
	Patch func(patch map[string]any) func(NodeSpec) (NodeSpec, error)
}

// resolvable is how the choices write: where what they write stands, for those who are told that it is wrong.
var resolvable = map[syncconflict.Resolution]string{
	syncconflict.ResolutionAcceptedCentral: "",
	syncconflict.ResolutionAcceptedSite:    "site_state.",
	syncconflict.ResolutionMerged:          "body.merged_state.",
}

// ResolveConflict closes a conflict and writes what was chosen to the node, in one transaction: nothing for central's
// state, the fields in conflict for the site's, all that is given for a merged one. The state of a node follows the
// rules of any other change. Who owns a node is not decided here but by a claim, and nothing is deleted. A conflict
// that was resolved before is a *Conflict. An ifVersion other than 0 must be the node's, else the error is ErrVersion.
func (s *Store) ResolveConflict(ctx context.Context, by Actor, id uuid.UUID, ifVersion int64, r Resolution) (SyncConflict, error) {
	merged, err := r.check()
	if err != nil {
		return SyncConflict{}, err
	}
	var resolved SyncConflict
	err = s.Write(ctx, func(tx *ent.Tx) error {
		before, err := readConflict(ctx, tx, id)
		if err != nil {
			return err
		}
		if before.ResolvedAt != nil {
			return &Conflict{Message: fmt.Sprintf("it was resolved at %s by %s, which is final", before.ResolvedAt.Format(time.RFC3339), before.ResolvedBy)}
		}
		if ifVersion != 0 && ifVersion != before.NodeVersion {
			return ErrVersion
		}
		update := tx.SyncConflict.UpdateOneID(id).SetResolvedAt(now()).
			SetResolution(syncconflict.Resolution(r.Resolution)).SetResolvedBy(clean(by.Name, 200))
		if len(merged) > 0 {
			update.SetMergedState(merged)
		}
		row, err := update.Save(ctx)
		if err != nil {
			return fmt.Errorf("resolve a conflict: %w", err)
		}
		resolved = conflictRecord(row)
		if err := r.write(ctx, tx, by, before); err != nil {
			return err
		}
		return Audit(ctx, tx, by, Act{Action: "conflict.resolve", Subject: "conflict/" + id.String(), Before: before, After: resolved})
	})
	return resolved, err
}

// check returns what is kept of a merged state, as JSON.
func (r Resolution) check() (merged []byte, err error) {
	var f faults
	if _, known := resolvable[syncconflict.Resolution(r.Resolution)]; !known {
		f.add("resolution", clean(r.Resolution, maxName), "want accepted_central, accepted_site or merged")
	}
	switch is := r.Resolution == string(syncconflict.ResolutionMerged); {
	case is && len(r.Merged) == 0:
		f.add("merged_state", nil, "is what merged needs: the fields of the node that shall be")
	case !is && r.Merged != nil:
		f.add("merged_state", nil, "goes with merged alone")
	case is:
		if merged, err = json.Marshal(r.Merged); err != nil {
			return nil, fmt.Errorf("resolve a conflict: %w", err)
		}
		if len(merged) > maxMerged {
			f.add("merged_state", nil, "longer than %d bytes", maxMerged)
		}
	}
	return merged, f.err()
}

// write writes what was chosen to the node.
func (r Resolution) write(ctx context.Context, tx *ent.Tx, by Actor, c SyncConflict) error {
	patch := r.Merged
	switch syncconflict.Resolution(r.Resolution) {
	case syncconflict.ResolutionAcceptedCentral:
		return nil
	case syncconflict.ResolutionAcceptedSite:
		var err error
		if patch, err = c.ofSite(); err != nil {
			return err
		}
	}
	if c.EntityType != NodeEntity {
		return &Conflict{Message: "only central writes a " + c.EntityType + ": accept its state, and change it there"}
	}
	row, err := tx.Node.Query().Where(node.ID(c.EntityID)).WithInterfaces(inOrder).Only(ctx)
	if ent.IsNotFound(err) {
		return &Conflict{Message: "the node is deleted: accept central's state"}
	} else if err != nil {
		return err
	}
	return at(resolvable[syncconflict.Resolution(r.Resolution)], r.patch(ctx, tx, by, row, patch, "conflict "+c.ID.String()))
}

// patch writes a merge patch, in which the state may be beside what a node says otherwise, to a node whose interfaces
// were loaded.
func (r Resolution) patch(ctx context.Context, tx *ent.Tx, by Actor, row *ent.Node, patch map[string]any, why string) error {
	fields := make(map[string]any, len(patch))
	var f faults
	state := ""
	for name, value := range patch {
		is, isText := value.(string)
		switch {
		case name == "home_site_id" && is == text(row.HomeSiteID): // as it is
		case name == "home_site_id":
			f.add(name, value, "a node moves to another site by a migration alone")
		case name == "state" && !isText:
			f.add(name, value, "want a state")
		case name == "state":
			state = is
		default:
			fields[name] = value
		}
	}
	if err := f.err(); err != nil {
		return err
	}
	if len(fields) > 0 {
		if _, err := updateNode(ctx, tx, by, row, r.Patch(fields)); err != nil {
			return err
		}
	}
	if state == "" || state == string(row.State) {
		return nil
	}
	_, err := changeState(ctx, tx, by, row.ID, 0, wire.StateChange{State: state, Comment: why})
	return err
}

// ofSite returns the fields in conflict as the site has them; what it has not is null.
func (c *SyncConflict) ofSite() (map[string]any, error) {
	there := map[string]any{}
	decoder := json.NewDecoder(bytes.NewReader(c.SiteState))
	if err := decoder.Decode(&there); err != nil {
		return nil, &Conflict{Message: "the site's state is not known: merge it by hand", cause: err}
	}
	patch := make(map[string]any, len(c.Fields))
	for _, field := range c.Fields {
		patch[field] = there[field]
	}
	return patch, nil
}

// at moves the faults of a node's fields to where the fields stand.
func at(place string, err error) error {
	invalid, ok := errors.AsType[*Invalid](err)
	if !ok {
		return err
	}
	moved := &Invalid{Fields: slices.Clone(invalid.Fields)}
	for i, f := range moved.Fields {
		moved.Fields[i].Location = place + strings.TrimPrefix(f.Location, "body.")
	}
	return moved
}
