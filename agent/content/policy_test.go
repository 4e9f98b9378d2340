package content

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/central/wire"
)

func TestEachPolicyWantsWhatTheOneBeforeItDoes(t *testing.T) {
	list, err := newNeeded(wire.Needed{Names: []string{"images/a/linux", "templates/a.cfg"}, Globs: []string{"images/b/*/initrd"}})
	if err != nil {
		t.Fatal(err)
	}
	assigned := map[cache.Key]bool{"images/assigned": true, "images/a/linux": true}
	keys := []cache.Key{
		"bootloaders/snponly.efi", "images/a/linux", "images/assigned", "images/b/arm64/initrd", "images/b/linux", "images/c/d/e",
		"scripts/late.sh", "templates/a.cfg", "templates/b.cfg",
	}
	minimal := []cache.Key{"bootloaders/snponly.efi", "images/a/linux", "images/b/arm64/initrd", "templates/a.cfg"}
	for _, tt := range []struct {
		policy string
		want   []cache.Key
	}{
		{wire.PolicyMinimal, minimal},
		{wire.PolicyAssigned, append(minimal, "images/assigned")},
		{wire.PolicyPattern, append(minimal, "images/assigned", "images/c/d/e", "templates/b.cfg")},
		{wire.PolicyMirror, keys},
	} {
		p, err := NewPolicy(tt.policy, []string{"images/c/**", "templates/{b,c}.cfg"})
		if err != nil {
			t.Fatal(err)
		}
		var got []cache.Key
		for _, key := range keys {
			if p.reason(key, assigned[key], list) != Unwanted {
				got = append(got, key)
			}
		}
		slices.Sort(tt.want)
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s wants %v, not %v", tt.policy, got, tt.want)
		}
	}
	mirror, err := NewPolicy(wire.PolicyMirror, nil)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[cache.Key]Reason{
		"bootloaders/snponly.efi": ForLoading, "images/a/linux": ForWorkflow, "images/assigned": ForAssignment, "scripts/late.sh": ForMirror,
	} {
		if got := mirror.reason(key, assigned[key], list); got != want {
			t.Errorf("%s is wanted for reason %d, not %d", key, got, want)
		}
	}
	if mirror.reason("images/x", false, nil) != ForMirror {
		t.Error("without a list from central nothing is wanted")
	}
}

func TestWhatIsNoPolicy(t *testing.T) {
	for _, tt := range []struct {
		name     string
		patterns []string
		says     string
	}{
		{"", nil, "want one of minimal, assigned, pattern, mirror"},
		{"all", nil, `policy "all"`},
		{wire.PolicyPattern, []string{"images/["}, `pattern "images/["`},
		{wire.PolicyPattern, []string{""}, "want 1 to 512 bytes"},
		{wire.PolicyPattern, []string{strings.Repeat("{a,b}", 20)}, "too many patterns"},
		{wire.PolicyPattern, make([]string, 1001), "more than 1000"},
		{"all", []string{"a{"}, "other half"},
	} {
		if _, err := NewPolicy(tt.name, tt.patterns); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%q, %d patterns: %v, want %s", tt.name, len(tt.patterns), err, tt.says)
		}
	}
}

// TestAPatternCostsNoLongTime holds the worst that is taken against a name made for it.
func TestAPatternCostsNoLongTime(t *testing.T) {
	g, err := ParseGlob("images/" + strings.Repeat("{a,a,a,a}", 5) + "/**/x")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan bool)
	go func() {
		for range 10 {
			g.Match("images/aaaaa/" + strings.Repeat("a/", 200) + "y")
		}
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Error("ten names take longer than 20 s")
	}
}
