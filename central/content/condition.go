package content

import (
	"context"
	"fmt"
	"strings"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/ent"
)

// Condition is what must be true of a name before it is written (RFC 9110, section 13.1), each part the value of the
// header of that name. What is empty demands nothing.
type Condition struct{ IfMatch, IfNoneMatch string }

// ETag is the strong validator of the bytes with a digest, in hexadecimal.
func ETag(digest string) string { return `"` + digest + `"` }

// check says store.ErrVersion if the condition does not hold of a row, which is nil for a name that never was.
func (c Condition) check(row *ent.Content) error {
	etag := ""
	if row != nil && row.Edges.Blob != nil {
		etag = ETag(row.Edges.Blob.Sha256)
	}
	if c.IfMatch != "" && !lists(c.IfMatch, etag) || c.IfNoneMatch != "" && lists(c.IfNoneMatch, etag) {
		return store.ErrVersion
	}
	return nil
}

// lists says whether a list of ETags holds that of a file; there is no file if it is empty. Our ETags are strong and
// hold no comma, so a weak one is that of something else.
func lists(list, etag string) bool {
	if strings.TrimSpace(list) == "*" {
		return etag != ""
	}
	for one := range strings.SplitSeq(list, ",") {
		if one = strings.TrimSpace(one); one == etag && etag != "" {
			return true
		}
	}
	return false
}

// expect checks a condition before the bytes come. It is checked again in the transaction that needs it.
func (r *Repository) expect(ctx context.Context, category, path string, when Condition) error {
	if when == (Condition{}) {
		return nil
	}
	row, err := r.st.Read().Content.Query().Where(named(category, path)).WithBlob(brief).Only(ctx)
	if err != nil && !ent.IsNotFound(err) {
		return fmt.Errorf("look up %.600s: %w", category+"/"+path, err)
	}
	return when.check(row)
}
