package content

import (
	"context"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"time"

	"github.com/pureboot/pureboot/ent/blob"
)

// asideStrays puts files of blobs that have no row into lost/: a process leaves such that ends between the two. That
// is rare; if there are many, central was started with another database, and whoever notices that within a week has
// lost nothing: what a row names is taken back.
func (r *Repository) asideStrays(ctx context.Context, c *Collection) error {
	dirs, err := r.readDir("blobs")
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		files, err := r.readDir("blobs/" + dir.Name())
		if err != nil {
			return err
		}
		// First without the guard, since there is hardly ever one.
		if files, err = r.strays(ctx, files); err != nil {
			return err
		}
		err = r.eachStray(ctx, files, func(digest string) error {
			if err := r.root.Chtimes(blobFile(digest), time.Time{}, time.Now()); err != nil {
				return err
			}
			c.Strays++
			return r.root.Rename(blobFile(digest), lostFile(digest))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// deleteLost deletes what was put aside a week ago.
func (r *Repository) deleteLost(ctx context.Context, c *Collection) error {
	files, err := r.readDir("lost")
	if err != nil {
		return err
	}
	strays, err := r.strays(ctx, files)
	if err != nil {
		return err
	}
	for _, f := range files {
		// What has a row by now belongs in its place, if it has not come there again.
		if named := !slices.Contains(strays, f); named && r.takeBack(f.Name()) {
			r.log.Info("a blob that had been put aside was taken back", "sha256", f.Name())
		}
	}
	return r.eachStray(ctx, files, func(digest string) error {
		info, err := r.root.Stat(lostFile(digest))
		if err != nil || time.Since(info.ModTime()) < keepStrays {
			return err
		}
		c.Blobs++
		c.Bytes += info.Size()
		return r.root.Remove(lostFile(digest))
	})
}

// eachStray calls fn for those of some files that are blobs without a row, while nobody can name one.
func (r *Repository) eachStray(ctx context.Context, files []fs.DirEntry, fn func(digest string) error) error {
	for len(files) > 0 {
		n := min(len(files), collectBatch)
		if err := r.straysAlone(ctx, files[:n], fn); err != nil {
			return err
		}
		files = files[n:]
	}
	return nil
}

func (r *Repository) straysAlone(ctx context.Context, files []fs.DirEntry, fn func(digest string) error) error {
	release, err := guard{r}.alone(ctx)
	if err != nil {
		return err
	}
	defer release()
	if files, err = r.strays(ctx, files); err != nil {
		return err
	}
	for _, f := range files {
		if err := fn(f.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// strays returns which of some files are named as blobs are, and have no row. What is named otherwise is not ours.
func (r *Repository) strays(ctx context.Context, files []fs.DirEntry) ([]fs.DirEntry, error) {
	var list []fs.DirEntry
	for len(files) > 0 {
		n := min(len(files), collectBatch)
		found := map[string]fs.DirEntry{}
		var digests []string
		for _, f := range files[:n] {
			if sum, err := hex.DecodeString(f.Name()); err == nil && len(sum) == 32 && f.Type().IsRegular() {
				found[f.Name()] = f
				digests = append(digests, f.Name())
			}
		}
		known, err := r.st.Read().Blob.Query().Where(blob.Sha256In(digests...)).Select(blob.FieldSha256).Strings(ctx)
		if err != nil {
			return nil, err
		}
		for _, digest := range known {
			delete(found, digest)
		}
		for _, f := range found {
			list = append(list, f)
		}
		files = files[n:]
	}
	return list, nil
}

// takeBack brings a blob back that was put aside, and says whether it did. One that is in its place again is deleted
// where it was put aside.
func (r *Repository) takeBack(digest string) bool {
	if len(digest) != 64 {
		return false
	}
	if _, err := r.root.Stat(blobFile(digest)); err == nil {
		_ = r.root.Remove(lostFile(digest)) // or the next time
		return false
	}
	return r.root.Rename(lostFile(digest), blobFile(digest)) == nil
}

// openBlob opens the bytes with a digest.
func (r *Repository) openBlob(digest string) (*os.File, error) {
	f, err := r.root.Open(blobFile(digest))
	if errors.Is(err, fs.ErrNotExist) && r.takeBack(digest) {
		return r.root.Open(blobFile(digest))
	}
	return f, err
}

func lostFile(digest string) string { return path.Join("lost", digest) }
