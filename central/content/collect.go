package content

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/blob"
	entcontent "github.com/pureboot/pureboot/ent/content"
	"github.com/pureboot/pureboot/ent/uploadsession"
)

const (
	collectEvery = 24 * time.Hour
	keepRemoved  = 30 * 24 * time.Hour // the last version of a name that was removed, for rollback
	keepStrays   = 7 * 24 * time.Hour  // blobs without a row: a few after crashes, all with a wrong database
	keepUnnamed  = 24 * time.Hour      // what no row names any more: a copy of the database may, that was made before
	collectBatch = 100                 // blobs that are deleted while nobody can name one
)

// Collection is what one run of the garbage collection did.
type Collection struct {
	At      time.Time `json:"at"`
	Seconds float64   `json:"seconds"`
	Blobs   int       `json:"blobs" doc:"Deleted"`
	Bytes   int64     `json:"bytes" doc:"Given back to the disk by them"`
	Strays  int       `json:"strays" doc:"Blobs that the database does not know: put aside, and deleted a week later"`
	Uploads int       `json:"uploads" doc:"Deleted files of uploads that were cut off by the end of a process, or expired"`
	Error   string    `json:"error,omitempty" doc:"Why it stopped early; the next run goes on"`
}

// collecting is what is known of the garbage collection.
type collecting struct {
	sync.Mutex
	last *Collection
}

// Run collects garbage: now, each day, and when something was purged. It returns when ctx ends.
func (r *Repository) Run(ctx context.Context) error {
	daily := time.NewTicker(collectEvery)
	defer daily.Stop()
	for {
		if _, err := r.Collect(ctx); err != nil && ctx.Err() == nil {
			r.log.Error("garbage was not collected", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-daily.C:
		case <-r.wake:
		}
	}
}

// collectSoon lets Run collect without waiting for the day to end.
func (r *Repository) collectSoon() {
	select {
	case r.wake <- struct{}{}:
	default: // it will anyway
	}
}

// Collect deletes what nobody can ask for again: the last versions of names that were removed long ago, blobs that no
// row has named for a day, and what uploads left behind that were cut off. A download that is under
// way reads on from its open file. It may be cut off at any moment, and run beside anything.
func (r *Repository) Collect(ctx context.Context) (Collection, error) {
	c := Collection{At: now()}
	err := r.collect(ctx, &c)
	c.Seconds = time.Since(c.At).Seconds()
	if err != nil {
		c.Error = err.Error()
	}
	r.state.Lock()
	r.state.last = &c
	r.state.Unlock()
	if c.Strays > 0 {
		r.log.Warn("blobs that the database does not know were put aside", "blobs", c.Strays, "folder", "lost")
	}
	if c.Blobs+c.Uploads > 0 {
		r.log.Info("collected garbage", "blobs", c.Blobs, "bytes", c.Bytes, "uploads", c.Uploads, "took", time.Since(c.At))
	}
	return c, err
}

func (r *Repository) collect(ctx context.Context, c *Collection) error {
	steps := []func(context.Context, *Collection) error{r.forgetRemoved, r.deleteUnnamed, r.asideStrays, r.deleteLost, r.sweep}
	for _, step := range steps {
		if err := step(ctx, c); err != nil {
			return fmt.Errorf("collect garbage: %w", err)
		}
	}
	return nil
}

// forgetRemoved lets go of the last versions of names that were removed long ago.
func (r *Repository) forgetRemoved(ctx context.Context, _ *Collection) error {
	return r.st.Write(ctx, func(tx *ent.Tx) error {
		return tx.Content.Update().ClearPreviousBlobID().ClearPreviousModified().Where(
			entcontent.BlobIDIsNil(), entcontent.PreviousBlobIDNotNil(), entcontent.ModifiedLT(now().Add(-keepRemoved)),
		).Exec(ctx)
	})
}

// letGo notes that a name no longer refers to blobs, those that are not nil. at is now, or long ago for what may be
// deleted at once.
func letGo(ctx context.Context, tx *ent.Tx, at time.Time, ids ...*uuid.UUID) error {
	for _, id := range ids {
		if id == nil {
			continue
		}
		if err := tx.Blob.UpdateOneID(*id).SetUsedAt(at).Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}

// deleteUnnamed deletes the blobs whose rows no name has referred to for a day, a batch at a time.
func (r *Repository) deleteUnnamed(ctx context.Context, c *Collection) error {
	for {
		n, err := r.deleteBatch(ctx, c)
		if err != nil || n < collectBatch {
			return err
		}
	}
}

// deleteBatch deletes rows first and then files: what is left by an end between is a stray, and no row ever names
// bytes that are gone.
func (r *Repository) deleteBatch(ctx context.Context, c *Collection) (int, error) {
	release, err := guard{r}.alone(ctx)
	if err != nil {
		return 0, err
	}
	defer release()
	var rows []*ent.Blob
	err = r.st.Write(ctx, func(tx *ent.Tx) (err error) {
		old := blob.UsedAtLT(now().Add(-keepUnnamed))
		rows, err = tx.Blob.Query().Where(old, blob.Not(blob.HasCurrent()), blob.Not(blob.HasPrevious())).
			Limit(collectBatch).Select(blob.FieldID, blob.FieldSha256, blob.FieldSize).All(ctx)
		if err != nil || len(rows) == 0 {
			return err
		}
		ids := make([]uuid.UUID, len(rows))
		for i, row := range rows {
			ids[i] = row.ID
		}
		_, err = tx.Blob.Delete().Where(blob.IDIn(ids...)).Exec(ctx)
		return err
	})
	if err != nil {
		return 0, err
	}
	for _, row := range rows {
		if err := r.root.Remove(blobFile(row.Sha256)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, err
		}
		c.Blobs++
		c.Bytes += row.Size
	}
	return len(rows), nil
}

// sweep deletes what uploads left behind that were cut off by the end of their process, and sessions that nobody
// continued.
func (r *Repository) sweep(ctx context.Context, c *Collection) error {
	release, err := guard{r}.alone(ctx)
	if err != nil {
		return err
	}
	defer release()
	abandoned, err := r.abandoned(ctx)
	if err != nil {
		return err
	}
	for _, name := range abandoned {
		gone, err := r.removeIdle(name)
		if err != nil {
			return err
		}
		if gone {
			c.Uploads++
		}
	}
	return nil
}

// abandoned ends the sessions that have expired, and returns the files that belong to no session.
func (r *Repository) abandoned(ctx context.Context) ([]string, error) {
	err := r.st.Write(ctx, func(tx *ent.Tx) error {
		_, err := tx.UploadSession.Delete().Where(uploadsession.ExpiresAtLT(now())).Exec(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	parts, err := r.readDir("uploads") // before the rows, which come before their files
	if err != nil {
		return nil, err
	}
	ids, err := r.st.Read().UploadSession.Query().IDs(ctx)
	if err != nil {
		return nil, err
	}
	open := map[string]bool{}
	for _, id := range ids {
		open[partFile(id)] = true
	}
	var list []string
	for _, f := range parts {
		if name := path.Join("uploads", f.Name()); !open[name] {
			list = append(list, name)
		}
	}
	tmp, err := r.readDir("tmp")
	for _, f := range tmp {
		list = append(list, path.Join("tmp", f.Name()))
	}
	return list, err
}

// removeIdle deletes a file, unless whoever writes to it has it locked, and says whether it did.
func (r *Repository) removeIdle(name string) (bool, error) {
	f, err := r.root.OpenFile(name, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	defer f.Close()
	switch err := flock(f, syscall.LOCK_EX); {
	case errors.Is(err, errLocked):
		return false, nil
	case err != nil:
		return false, err
	}
	if err := r.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	return true, nil
}

func (r *Repository) readDir(name string) ([]fs.DirEntry, error) {
	dir, err := r.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return dir.ReadDir(-1)
}
