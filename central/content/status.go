package content

import (
	"context"
	"fmt"

	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/blob"
	entcontent "github.com/pureboot/pureboot/ent/content"
)

// Status is how the repository is.
type Status struct {
	Files      int         `json:"files"`
	Blobs      int         `json:"blobs" doc:"Different contents, previous versions among them"`
	Bytes      int64       `json:"bytes" doc:"Of all blobs"`
	FreeBytes  int64       `json:"free_bytes" doc:"Left on the disk"`
	Uploads    int         `json:"uploads" doc:"Sessions that wait for bytes"`
	Collection *Collection `json:"collection" doc:"Last run of the garbage collection; null before the first"`
}

// Status returns how the repository is.
func (r *Repository) Status(ctx context.Context) (Status, error) {
	var s Status
	err := r.st.View(ctx, func(tx *ent.Tx) (err error) {
		if s.Files, err = tx.Content.Query().Where(entcontent.BlobIDNotNil()).Count(ctx); err != nil {
			return err
		}
		if s.Uploads, err = tx.UploadSession.Query().Count(ctx); err != nil {
			return err
		}
		var sum []struct {
			Blobs int
			Bytes *int64
		}
		err = tx.Blob.Query().Aggregate(ent.As(ent.Count(), "blobs"), ent.As(ent.Sum(blob.FieldSize), "bytes")).Scan(ctx, &sum)
		if err == nil && len(sum) == 1 && sum[0].Bytes != nil {
			s.Blobs, s.Bytes = sum[0].Blobs, *sum[0].Bytes
		}
		return err
	})
	if err != nil {
		return Status{}, fmt.Errorf("content status: %w", err)
	}
	if s.FreeBytes, err = r.free(); err != nil {
		return Status{}, err
	}
	r.state.Lock()
	defer r.state.Unlock()
	s.Collection = r.state.last
	return s, nil
}
