package node

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/pureboot/pureboot/central/wire"
)

func TestListOfCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boots := []wire.Boot{machine(1), machine(2), machine(3)}
		boots[1].Node.GroupID, boots[1].Node.State = "g", "active"
		boots[2].Node.GroupID = "g"
		s := ticking(t, t.TempDir(), newCentral(boots...))
		if at, err := s.Oldest(t.Context()); err != nil || !at.IsZero() {
			t.Errorf("the oldest of nothing is of %v, %v", at, err)
		}
		began := time.Now()
		for _, b := range boots {
			s.mustFind(t, b.Node.MACAddress)
			time.Sleep(2 * time.Minute)
		}
		if at, err := s.Oldest(t.Context()); err != nil || !at.Equal(began.Truncate(time.Millisecond)) {
			t.Errorf("the oldest is of %v, %v", at, err)
		}
		for _, tt := range []struct {
			filter Filter
			want   []int // of machines
		}{
			{Filter{}, []int{1, 2, 3}},
			{Filter{Limit: 2}, []int{1, 2}},
			{Filter{Limit: 2, After: boots[1].Node.ID}, []int{3}},
			{Filter{GroupID: "g"}, []int{2, 3}},
			{Filter{GroupID: "g", State: "active"}, []int{2}},
			{Filter{State: "none"}, nil},
		} {
			got, err := s.List(t.Context(), tt.filter)
			if err != nil || len(got) != len(tt.want) {
				t.Errorf("%+v: %d nodes, %v; want %v", tt.filter, len(got), err, tt.want)
				continue
			}
			for i, rec := range got {
				want := boots[tt.want[i]-1].Node
				source := Fresh
				if time.Since(rec.FetchedAt) >= 5*time.Minute {
					source = Stale
				}
				if rec.Node.ID != want.ID || rec.Workflow == nil || rec.Source != source {
					t.Errorf("%+v: node %d is %s from %q", tt.filter, i, rec.Node.ID, rec.Source)
				}
			}
		}
	})
}
