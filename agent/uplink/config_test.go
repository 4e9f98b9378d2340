package uplink

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pureboot/pureboot/central/wire"
)

// rooms work by whatever settings they get, but for a cache of less than 1 GB.
type rooms struct {
	size    int
	applied int
}

func (r *rooms) apply(c wire.SiteConfig) error {
	if c.CacheMaxSizeGB < 1 {
		return errors.New("cache.max_size_gb: too small")
	}
	r.size = c.CacheMaxSizeGB
	r.applied++
	return nil
}

// settled is a Config in its folder, and how it is used.
type settled struct {
	*Config
	rooms
	t    *testing.T
	opt  ConfigOptions
	soon int
}

func settle(t *testing.T) *settled {
	s := &settled{t: t}
	s.opt = ConfigOptions{
		Dir: t.TempDir(), Local: wire.SiteConfig{CacheMaxSizeGB: 50}, Apply: s.apply, Pinned: []string{"cache_policy"},
		Soon: func() { s.soon++ }, Log: slog.New(slog.DiscardHandler),
	}
	s.open()
	return s
}

// open is a start of the agent, also a second one.
func (s *settled) open() {
	s.t.Helper()
	if s.Config != nil {
		s.Close()
	}
	var err error
	if s.Config, err = OpenConfig(s.opt); err != nil {
		s.t.Fatal(err)
	}
}

// beat is a heartbeat that is answered with settings; of generation "": none.
func (s *settled) beat(generation string, size int) error {
	s.Tell()
	if generation == "" {
		return s.Answered(nil)
	}
	return s.Answered(&wire.SiteConfig{Generation: generation, CacheMaxSizeGB: size})
}

// want says by what the agent works, and what it reports.
func (s *settled) want(size int, generation, offered, state string) {
	s.t.Helper()
	got := s.Report()
	reason := got.Reason
	got.Reason = ""
	if want := (wire.ConfigReport{Generation: generation, Offered: offered, State: state, Pinned: []string{"cache_policy"}}); !reflect.DeepEqual(got, want) {
		s.t.Errorf("reports %+v, want %+v", got, want)
	}
	s.mu.Lock() // which whoever applies holds
	has := s.size
	s.mu.Unlock()
	if has != size {
		s.t.Errorf("the cache has %d GB, want %d", has, size)
	}
	if (reason != "") != (state == wire.ConfigFailed || state == wire.ConfigRolledBack) {
		s.t.Errorf("state %s for the reason %q", state, reason)
	}
}

func TestSettingsThatProveGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := settle(t)
		s.want(50, "", "", "")
		if err := s.beat("a", 7); err != nil {
			t.Error(err)
		}
		s.want(7, "a", "a", wire.ConfigApplied)
		if s.soon != 1 {
			t.Errorf("%d heartbeats were wanted soon, to tell that they are applied", s.soon)
		}
		if err := s.beat("", 0); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		s.want(7, "a", "a", wire.ConfigApplied)
		s.open()
		s.want(7, "a", "a", wire.ConfigApplied)
	})
}

func TestSettingsThatCutTheAgentOffAreRolledBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := settle(t)
		_ = s.beat("a", 7)
		_ = s.beat("", 0)
		_ = s.beat("b", 8)
		s.Tell() // and no answer
		time.Sleep(trialTime - time.Second)
		s.want(8, "b", "b", wire.ConfigApplied)
		time.Sleep(2 * time.Second)
		s.want(7, "a", "b", wire.ConfigRolledBack)

		// An older central sends it all the same.
		applied := s.applied
		for range 10 {
			_ = s.beat("b", 8)
			time.Sleep(time.Minute)
		}
		s.want(7, "a", "b", wire.ConfigRolledBack)
		s.open()
		_ = s.beat("b", 8)
		s.want(7, "a", "b", wire.ConfigRolledBack)
		if s.applied != applied+1 { // by open
			t.Errorf("what failed was applied %d times more", s.applied-applied-1)
		}

		// Somebody insists, and this time it goes well.
		if text, err := s.Update(t.Context(), "b"); err != nil || text != "generation b is applied" {
			t.Errorf("%q, %v", text, err)
		}
		s.want(8, "b", "b", wire.ConfigApplied)
		_ = s.beat("", 0)
		time.Sleep(time.Hour)
		s.want(8, "b", "b", wire.ConfigApplied)
	})
}

func TestTheFirstSettingsAreRolledBackToTheAgentsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := settle(t)
		_ = s.beat("a", 7)
		time.Sleep(trialTime + time.Second)
		s.want(50, "", "a", wire.ConfigRolledBack)
	})
}

// The heartbeat that brings settings was sent before they were in use, and proves nothing of them.
func TestOnlyAHeartbeatThatTellsOfSettingsProvesThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := settle(t)
		_ = s.beat("a", 7)
		_ = s.beat("", 0)
		s.Tell()
		_ = s.Answered(&wire.SiteConfig{Generation: "b", CacheMaxSizeGB: 8})
		_ = s.Answered(nil) // of a heartbeat that had been sent before
		time.Sleep(trialTime + time.Second)
		s.want(7, "a", "b", wire.ConfigRolledBack)
	})
}

func TestSettingsThatFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := settle(t)
		_ = s.beat("a", 7)
		_ = s.beat("", 0)
		if err := s.beat("b", 0); err == nil {
			t.Error("a cache of nothing is taken")
		}
		s.want(7, "a", "b", wire.ConfigFailed)
		if r := s.Report().Reason; r != "cache.max_size_gb: too small" {
			t.Errorf("the reason is %q", r)
		}
		s.open()
		s.want(7, "a", "b", wire.ConfigFailed)
		if _, err := s.Update(t.Context(), ""); err == nil {
			t.Error("a command has it taken")
		}

		// Central takes them back, and wants them again later.
		_ = s.beat("a", 7)
		s.want(7, "a", "a", wire.ConfigApplied)
		_ = s.beat("b", 9)
		s.want(9, "b", "b", wire.ConfigApplied)
	})
}

func TestSettingsThatAreReplacedDuringTheirTrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := settle(t)
		_ = s.beat("a", 7)
		_ = s.beat("", 0)
		_ = s.beat("b", 8)
		time.Sleep(trialTime - time.Second)
		_ = s.Answered(&wire.SiteConfig{Generation: "c", CacheMaxSizeGB: 9})
		time.Sleep(2 * time.Second) // when the time of b would be over
		s.want(9, "c", "c", wire.ConfigApplied)
		time.Sleep(trialTime)
		s.want(7, "a", "c", wire.ConfigRolledBack)

		// Back to what was good before, which needs no proof.
		_ = s.beat("d", 3)
		_ = s.Answered(&wire.SiteConfig{Generation: "a", CacheMaxSizeGB: 7})
		s.want(7, "a", "a", wire.ConfigApplied)
		time.Sleep(trialTime + time.Second)
		s.want(7, "a", "a", wire.ConfigApplied)
	})
}

func TestARestartDuringATrialBeginsWithWhatIsGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := settle(t)
		_ = s.beat("a", 7)
		_ = s.beat("", 0)
		s.Tell()
		_ = s.Answered(&wire.SiteConfig{Generation: "b", CacheMaxSizeGB: 8})
		s.open()
		s.want(7, "a", "a", wire.ConfigApplied)
		time.Sleep(2 * trialTime) // of the trial nothing is left
		s.want(7, "a", "a", wire.ConfigApplied)
	})
}

func TestKeptSettingsThatAreDamaged(t *testing.T) {
	s := settle(t)
	_ = s.beat("a", 7)
	_ = s.beat("", 0)
	file := filepath.Join(s.opt.Dir, configFile)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	for name, damaged := range map[string][]byte{
		"a byte":  bytes.Replace(text, []byte(`"cache_max_size_gb": 7`), []byte(`"cache_max_size_gb": 9`), 1),
		"cut":     text[:len(text)/2],
		"nothing": nil,
		"zeros":   make([]byte, len(text)),
	} {
		var log bytes.Buffer
		s.opt.Log = slog.New(slog.NewTextHandler(&log, nil))
		if bytes.Equal(damaged, text) {
			t.Fatalf("%s: not damaged", name)
		}
		if err := os.WriteFile(file, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		s.open()
		s.want(50, "", "", "")
		if !strings.Contains(log.String(), "settings not readable") {
			t.Errorf("%s: the log says %q", name, log.String())
		}
		_ = s.beat("a", 7)
		s.want(7, "a", "a", wire.ConfigApplied)
		_ = s.beat("", 0)
		s.open()
		s.want(7, "a", "a", wire.ConfigApplied)
	}
}

// The cache must not be cut to the agent's own size on the way to the kept one.
func TestTheKeptSettingsComeFirst(t *testing.T) {
	s := settle(t)
	_ = s.beat("a", 700)
	_ = s.beat("", 0)
	before := s.applied
	s.open()
	if s.applied != before+1 {
		t.Errorf("settings were applied %d times at the start", s.applied-before)
	}
}

func TestKeptSettingsThatFailNow(t *testing.T) {
	s := settle(t)
	_ = s.beat("a", 7)
	_ = s.beat("", 0)
	s.opt.Apply = func(c wire.SiteConfig) error {
		if c.Generation == "a" {
			return errors.New("not any more")
		}
		return s.apply(c)
	}
	s.open()
	s.want(50, "", "a", wire.ConfigFailed)
}

func TestADiskThatTakesNoSettings(t *testing.T) {
	s := settle(t)
	s.opt.Dir = filepath.Join(s.opt.Dir, "none")
	s.open()
	_ = s.beat("a", 7)
	if err := s.beat("", 0); err == nil {
		t.Error("nothing is said of it")
	}
	s.want(7, "a", "a", wire.ConfigApplied)
}

func TestAnUpdateBeforeThereIsAnything(t *testing.T) {
	s := settle(t)
	if _, err := s.Update(context.Background(), "a"); err == nil {
		t.Error("it is said to be done")
	}
	_ = s.beat("b", 7)
	if text, err := s.Update(context.Background(), "a"); err != nil || text != "generation b is applied, which has replaced a" {
		t.Errorf("%q, %v", text, err)
	}
	if s.applied != 2 {
		t.Errorf("what is applied was applied again")
	}
}
