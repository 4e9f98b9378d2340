package store

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/agent"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// agents makes sites with agents that were enrolled before noon.
func agents(t *testing.T, s *Store, n int) []uuid.UUID {
	t.Helper()
	sites := make([]uuid.UUID, n)
	err := s.Write(t.Context(), func(tx *ent.Tx) error {
		for i := range sites {
			name := fmt.Sprintf("site-%04d", i)
			sites[i] = tx.DeviceGroup.Create().SetName(name).SetPath(name).SetIsSite(true).SaveX(t.Context()).ID
			tx.Agent.Create().SetSiteID(sites[i]).SetCredentialHash("a").SetJoinTokenHash("b").SetEnrolledAt(noon.Add(-time.Hour)).ExecX(t.Context())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sites
}

func heard(t *testing.T, site uuid.UUID, boot string, seq int64, at time.Duration, status string) Beat {
	t.Helper()
	b, err := NewBeat(site, noon.Add(at), wire.Heartbeat{
		Hello:  wire.Hello{ProtocolVersion: 3, Capabilities: []string{"x", "ü"}, AgentVersion: "1.2"},
		BootID: boot, Seq: seq, CacheEntries: int(seq),
	})
	if err != nil {
		t.Fatal(err)
	}
	b.Interval, b.Status, b.Reason = 60, status, "because"
	return b
}

func keep(t *testing.T, s *Store, beats ...Beat) {
	t.Helper()
	if err := s.KeepBeats(t.Context(), beats); err != nil {
		t.Fatal(err)
	}
}

func statuses(t *testing.T, s *Store, site uuid.UUID) string {
	t.Helper()
	page, err := s.StatusChanges(t.Context(), site, Paging{})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, c := range slices.Backward(page.Items) {
		all = append(all, fmt.Sprintf("%s>%s@%v", c.From, c.To, c.At.Sub(noon)))
	}
	return strings.Join(all, " ")
}

func TestBeatsAreKept(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		s := open(t, o)
		sites := agents(t, s, perKeep+50)
		var beats []Beat
		for i, site := range sites {
			beats = append(beats, heard(t, site, "boot", int64(i), time.Duration(i)*time.Millisecond, "online"))
		}
		keep(t, s, beats...)
		for i, row := range s.Read().Agent.Query().Order(ent.Asc(agent.FieldSeq)).AllX(t.Context()) {
			a := agentRecord(row)
			if row.SiteID != sites[i] || row.BootID != "boot" || row.Status != "online" || !a.LastSeen.Equal(noon.Add(time.Duration(i)*time.Millisecond)) ||
				a.HeartbeatInterval != 60 || a.Heartbeat == nil || a.Heartbeat.CacheEntries != i || a.AgentVersion != "1.2" || a.ProtocolVersion != 3 ||
				!slices.Equal(a.Capabilities, []string{"x", "ü"}) || !row.UpdatedAt.Equal(*a.LastSeen) {
				t.Fatalf("agent %d: %+v", i, row)
			}
		}
	})
}

// TestTheNewestBeatWins: whoever writes first, and whatever the clocks of several centrals say.
func TestTheNewestBeatWins(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		s := open(t, o)
		for name, c := range map[string]struct {
			first, second func(uuid.UUID) Beat
			want          int64
		}{
			"later":                          {of(t, "a", 1, 0), of(t, "a", 2, time.Second), 2},
			"earlier":                        {of(t, "a", 2, time.Second), of(t, "a", 1, 0), 2},
			"heard by a clock that is ahead": {of(t, "a", 1, time.Minute), of(t, "a", 2, time.Second), 2},
			"the same again":                 {of(t, "a", 2, 0), of(t, "a", 2, 0), 2},
			"of its next life":               {of(t, "a", 9, 0), of(t, "b", 1, time.Second), 1},
			"of the life before":             {of(t, "b", 1, time.Second), of(t, "a", 9, 0), 1},
			"of no life":                     {of(t, "", 5, 0), of(t, "", 4, time.Second), 4},
			"from before its enrolment":      {of(t, "a", 1, 0), of(t, "b", 7, -2*time.Hour), 1},
			"once a wrong clock is right":    {of(t, "a", 9, 365*24*time.Hour), of(t, "b", 1, 0), 1},
			"enrolled by a wrong clock":      {of(t, "a", 1, -365*24*time.Hour), of(t, "a", 2, -364*24*time.Hour), 2},
		} {
			site := s.addAgent(t, name)
			keep(t, s, c.first(site))
			keep(t, s, c.second(site))
			if row := s.Read().Agent.Query().Where(agent.SiteID(site)).OnlyX(t.Context()); row.Seq != c.want {
				t.Errorf("%s: seq %d, want %d", name, row.Seq, c.want)
			}
		}
	})
}

// TestWhatIsNotWrittenYetIsShown, if it is newer than what is: by the clock, unless that was wrong before.
func TestWhatIsNotWrittenYetIsShown(t *testing.T) {
	for name, c := range map[string]struct {
		known, heard time.Duration
		shown        bool
	}{
		"later":                       {0, time.Second, true},
		"earlier":                     {time.Second, 0, false},
		"the same":                    {0, 0, false},
		"once a wrong clock is right": {365 * 24 * time.Hour, 0, true},
	} {
		seen := noon.Add(c.known)
		a := Agent{EnrolledAt: noon.Add(-time.Hour), LastSeen: &seen}
		a.Hear(heard(t, uuid.New(), "a", 7, c.heard, "online"))
		if shown := a.Heartbeat != nil && a.LastSeen.Equal(noon.Add(c.heard)); shown != c.shown {
			t.Errorf("%s: shown %v", name, shown)
		}
	}
}

func of(t *testing.T, boot string, seq int64, at time.Duration) func(uuid.UUID) Beat {
	return func(site uuid.UUID) Beat { return heard(t, site, boot, seq, at, "online") }
}

func (s *Store) addAgent(t *testing.T, name string) uuid.UUID {
	t.Helper()
	var id uuid.UUID
	err := s.Write(t.Context(), func(tx *ent.Tx) error {
		id = tx.DeviceGroup.Create().SetName(name).SetPath(name).SetIsSite(true).SaveX(t.Context()).ID
		return tx.Agent.Create().SetSiteID(id).SetCredentialHash("a").SetJoinTokenHash("b").SetEnrolledAt(noon.Add(-time.Hour)).Exec(t.Context())
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestABeatOfNobodyIsNotKept(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		s := open(t, o)
		site := agents(t, s, 1)[0]
		keep(t, s, heard(t, uuid.New(), "a", 1, 0, "online"), heard(t, site, "a", 1, 0, "online"))
		if n := s.Read().Agent.Query().CountX(t.Context()); n != 1 {
			t.Errorf("%d agents", n)
		}
		if got := statuses(t, s, site); got != ">online@0s" {
			t.Error(got)
		}
	})
}

func TestWhatAnAgentReportsIsBounded(t *testing.T) {
	h := wire.Heartbeat{BootID: strings.Repeat("b", 1000) + "\n", Services: map[string]string{}}
	for i := range 1000 {
		h.Services[fmt.Sprint(i, strings.Repeat("n", 200))] = strings.Repeat("\x00x", 1000)
	}
	b, err := NewBeat(uuid.New(), noon, h)
	if err != nil || len(b.Report.Services) != maxServices || len(b.Report.BootID) != 64 || len(b.text) > maxReport {
		t.Errorf("%d services, %d bytes, %v", len(b.Report.Services), len(b.text), err)
	}
	for range 1000 {
		h.Results = append(h.Results, wire.CommandResult{Result: strings.Repeat("r", 4096)})
	}
	if b, err = NewBeat(uuid.New(), noon, h); err != nil || b.Report.Results != nil || len(b.Report.Services) != maxServices {
		t.Errorf("with results: %d bytes, %v", len(b.text), err)
	}
	h.Config, h.CacheEntries = &wire.ConfigReport{Reason: strings.Repeat("r", maxReport)}, 7
	if b, err = NewBeat(uuid.New(), noon, h); err != nil || len(b.text) > 4<<10 || b.Report.CacheEntries != 7 {
		t.Errorf("with too much: %d bytes, %v", len(b.text), err)
	}
}

// TestManyCentralsKeepBeats: of the same agents at the same time, in no order.
func TestManyCentralsKeepBeats(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		first := open(t, o)
		centrals := []*Store{first, first}
		if o.DSN != "" {
			centrals[1] = open(t, o)
		}
		sites := agents(t, first, 40)
		errs := make(chan error, 4)
		for w := range 4 {
			go func() {
				var err error
				for round := range 10 {
					var beats []Beat
					for i := range sites {
						site := sites[(i*(2*w+1)+w)%len(sites)]
						beats = append(beats, heard(t, site, "a", int64(round*4+w), time.Duration(round)*time.Second, []string{"online", "degraded"}[round%2]))
					}
					if err = centrals[w%2].KeepBeats(t.Context(), beats); err != nil {
						break
					}
					if _, err = centrals[w%2].NoteSilence(t.Context(), noon.Add(time.Hour), []Silence{{"offline", 5}}); err != nil {
						break
					}
				}
				errs <- err
			}()
		}
		for range 4 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		for _, row := range first.Read().Agent.Query().AllX(t.Context()) {
			if row.Seq != 39 {
				t.Errorf("seq %d", row.Seq)
			}
			// The log has no gap: each change begins where the one before it ended.
			last := ""
			for c := range strings.FieldsSeq(statuses(t, first, row.SiteID)) {
				from, to, _ := strings.Cut(c, ">")
				to, _, _ = strings.Cut(to, "@")
				if from != last || to == from {
					t.Fatalf("after %q comes %s", last, c)
				}
				last = to
			}
			if last != row.Status {
				t.Errorf("the log ends with %s, the agent is %s", last, row.Status)
			}
		}
	})
}

func TestSilenceIsNoted(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		s := open(t, o)
		sites := agents(t, s, 4)
		quick := heard(t, sites[1], "a", 1, 0, "degraded")
		quick.Interval = 10
		keep(t, s, heard(t, sites[0], "a", 1, 0, "online"), quick, heard(t, sites[2], "a", 1, 4*time.Minute, "online"))
		rules := []Silence{{"offline", 5}, {"degraded", 2}}
		note := func(at time.Duration, want int) {
			t.Helper()
			if n, err := s.NoteSilence(t.Context(), noon.Add(at), rules); n != want || err != nil {
				t.Errorf("at %v: %d noted, %v, want %d", at, n, err, want)
			}
		}
		note(49*time.Second, 0)
		note(50*time.Second, 1)
		note(2*time.Minute-1, 0)
		note(2*time.Minute+3*time.Second, 1)
		note(2*time.Minute+13*time.Second, 0)
		note(6*time.Minute, 2) // of one it is the first, of the other the second
		keep(t, s, heard(t, sites[0], "a", 2, 7*time.Minute, "online"))
		note(time.Hour, 2)
		for i, want := range []string{
			">online@0s online>degraded@2m0s degraded>offline@5m0s offline>online@7m0s online>offline@12m0s",
			">degraded@0s degraded>offline@50s",
			">online@4m0s online>degraded@6m0s degraded>offline@9m0s",
			"",
		} {
			if got := statuses(t, s, sites[i]); got != want {
				t.Errorf("site %d: %s, want %s", i, got, want)
			}
		}
	})
}

func TestTheLogOfAnAgentIsBounded(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		s := open(t, o)
		sites := agents(t, s, 2)
		keep(t, s, heard(t, sites[1], "a", 1, 0, "online"))
		err := s.Write(t.Context(), func(tx *ent.Tx) error {
			var some []statusChange
			for i := range maxStatusChanges + 20 {
				some = append(some, statusChange{sites[0], "online", "degraded", "", noon.Add(time.Duration(i))})
			}
			return s.noteChanges(t.Context(), tx, some)
		})
		if err != nil {
			t.Fatal(err)
		}
		keep(t, s, heard(t, sites[0], "a", 1, time.Minute, "online"))
		page, err := s.StatusChanges(t.Context(), sites[0], Paging{Limit: 1})
		if err != nil || page.Total != maxStatusChanges || page.Items[0].To != "online" || page.NextCursor == "" {
			t.Errorf("%+v, %v", page, err)
		}
		if got := statuses(t, s, sites[1]); got != ">online@0s" {
			t.Errorf("of the other: %s", got)
		}
		if _, err := s.StatusChanges(t.Context(), uuid.New(), Paging{}); err != ErrNotFound {
			t.Errorf("of no site: %v", err)
		}
	})
}
