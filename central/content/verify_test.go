package content

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/pureboot/pureboot/central/wire"
)

func TestVerify(t *testing.T) {
	r, ctx := open(t, t.TempDir()), t.Context()
	whole := string(make([]byte, 3*wire.ChunkSize+1))
	f, _ := put(t, r, wire.Images, "a", whole)
	file := filepath.Join(r.root.Name(), blobFile(f.SHA256))
	put(t, r, wire.Images, "empty", "")
	if v, err := r.Verify(ctx, wire.Images, "empty"); err != nil || !v.Whole {
		t.Errorf("an empty file: %+v, %v", v, err)
	}
	flipped := []byte(whole)
	flipped[wire.ChunkSize], flipped[3*wire.ChunkSize] = 1, 1
	for _, c := range []struct {
		name string
		data []byte
		bad  []int
	}{
		{"as it was", []byte(whole), []int{}},
		{"flipped", flipped, []int{1, 3}},
		{"cut", []byte(whole)[:wire.ChunkSize+5], []int{1, 2, 3}},
		{"cut between chunks", []byte(whole)[:3*wire.ChunkSize], []int{3}},
		{"empty", nil, []int{0, 1, 2, 3}},
		{"longer", append([]byte(whole), 0), []int{3}},
		{"longer by more", append([]byte(whole), make([]byte, 2*wire.ChunkSize)...), []int{3}},
	} {
		if err := os.WriteFile(file, c.data, 0o640); err != nil {
			t.Fatal(err)
		}
		v, err := r.Verify(ctx, wire.Images, "a")
		if err != nil || !slices.Equal(v.BadChunks, c.bad) || v.Whole != (len(c.bad) == 0) || v.Whole != (v.Fault == "") || v.SHA256 != f.SHA256 {
			t.Errorf("%s: %+v, %v", c.name, v, err)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if v, err := r.Verify(ctx, wire.Images, "a"); err != nil || v.Whole || v.Fault == "" {
		t.Errorf("lost: %+v, %v", v, err)
	}
	put(t, r, wire.Images, "a", whole)
	if v, err := r.Verify(ctx, wire.Images, "a"); err != nil || !v.Whole {
		t.Errorf("uploaded again: %+v, %v", v, err)
	}
	if _, err := r.Verify(ctx, wire.Images, "b"); !errors.Is(err, ErrNotFound) {
		t.Errorf("none: %v", err)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := r.Verify(canceled, wire.Images, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}
