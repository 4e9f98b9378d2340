package node

import (
	"testing"

	"github.com/pureboot/pureboot/central/wire"
)

func TestEpochSurvivesRestart(t *testing.T) {
	dir := t.TempDir()
	s := at(t, dir, nil)
	if e, err := s.Epoch(t.Context()); err != nil || e != (wire.Epoch{}) {
		t.Fatalf("at first: %v, %v", e, err)
	}
	for _, n := range []int64{7, 8} {
		if err := s.SetEpoch(t.Context(), wire.Epoch{Stream: "s", N: n}); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	if e, err := at(t, dir, nil).Epoch(t.Context()); err != nil || e != (wire.Epoch{Stream: "s", N: 8}) {
		t.Errorf("%v, %v", e, err)
	}
}

func TestDamagedEpochIsAnError(t *testing.T) {
	s := at(t, t.TempDir(), nil)
	if _, err := s.write.Exec("INSERT INTO cursors (name, epoch) VALUES ('nodes', 'garbage')"); err != nil {
		t.Fatal(err)
	}
	if e, err := s.Epoch(t.Context()); err == nil || e != (wire.Epoch{}) {
		t.Errorf("%v, %v", e, err)
	}
	if err := s.SetEpoch(t.Context(), wire.Epoch{Stream: "s", N: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Epoch(t.Context()); err != nil {
		t.Errorf("not mended: %v", err)
	}
}
