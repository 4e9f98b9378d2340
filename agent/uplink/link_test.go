package uplink

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestLink(t *testing.T) {
	for calls, online := range map[string]bool{ // - failed, + worked
		"":          true,
		"-":         true,
		"--":        true,
		"---":       false,
		"-----":     false,
		"--+--":     true, // in a row
		"--+---":    false,
		"---+":      false,
		"---+-+":    false, // in a row
		"---++":     true,
		"---+++":    true,
		"-----++":   true,
		"---++--":   true,
		"---++---":  false,
		"+++++---":  false,
		"---++---+": false,
	} {
		link := new(Link)
		for _, c := range calls {
			if c == '-' {
				link.failed()
			} else {
				link.worked()
			}
		}
		if link.Online() != online {
			t.Errorf("after %q online is %v", calls, link.Online())
		}
	}
}

func TestOfflineFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := new(Link)
		if link.LastOffline() != 0 {
			t.Error("was offline before anything was")
		}
		for range failuresToOffline {
			time.Sleep(time.Minute)
			link.failed()
		}
		if link.OfflineFor() <= 0 {
			t.Error("offline, but for no time")
		}
		time.Sleep(time.Hour)
		link.failed() // which begins nothing anew
		link.worked()
		const since = time.Hour + 2*time.Minute // when the first call failed
		if d := link.OfflineFor(); d != since || link.LastOffline() != since {
			t.Errorf("offline for %v", d)
		}
		time.Sleep(time.Minute)
		link.worked()
		if d := link.OfflineFor(); d != 0 {
			t.Errorf("online, but offline for %v", d)
		}
		time.Sleep(time.Hour)
		link.failed() // which is nothing by itself
		link.worked()
		if d := link.LastOffline(); d != since+time.Minute {
			t.Errorf("the last time it was offline for %v", d)
		}
	})
}

func TestLinkIsSafeForConcurrentUse(t *testing.T) {
	link := new(Link)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				link.failed()
				link.Online()
				link.worked()
			}
		})
	}
	wg.Wait()
	link.worked()
	link.worked()
	if !link.Online() {
		t.Error("offline after two successes in a row")
	}
}
