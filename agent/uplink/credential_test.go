package uplink

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/wire"
)

// rotator is central as far as credentials go.
type rotator struct {
	mu      sync.Mutex
	known   lifecycle.Credential
	refusal string // type of the problem that everybody is refused with
	boots   map[string]int
	beats   int
	lose    int // so many answers are lost from now on
	denied  int
}

func (c *rotator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	secret := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer pba_"+siteID+"_")
	after, ok := c.known.Use(hashOf(secret))
	switch {
	case !ok:
		c.denied++
		refusal(w, 401, "a valid token is needed")
		return
	case c.refusal != "":
		w.Header().Set("Content-Type", wire.MediaTypeProblem)
		w.WriteHeader(map[string]int{wire.ProblemFenced: 403, wire.ProblemRevoked: 401}[c.refusal])
		json.NewEncoder(w).Encode(wire.Problem{Type: c.refusal, Detail: "so it is"})
		return
	}
	c.known = after
	var beat wire.Heartbeat
	if r.URL.Path == wire.PathHeartbeat {
		c.beats++
		json.NewDecoder(r.Body).Decode(&beat)
		c.boots[beat.BootID+r.Header.Get(wire.HeaderBoot)]++
	}
	if beat.Next != nil {
		c.known = c.known.Announce(beat.Next.Rotation, beat.Next.SHA256)
	}
	if c.lose > 0 {
		c.lose--
		panic(http.ErrAbortHandler)
	}
	var a wire.HeartbeatAnswer
	if c.known.Rotation != "" {
		a.Rotation = &wire.Rotation{ID: c.known.Rotation, Accepted: c.known.Next}
	}
	answer(w, a)
}

func (c *rotator) change(f func(c *rotator)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c)
}

// enrolled is an agent with a state folder and the central that it is of.
type enrolled struct {
	central *rotator
	ca      *authority
	url     string
	state   string
	*Client
}

func newEnrolled(t *testing.T) *enrolled {
	e := &enrolled{central: &rotator{boots: map[string]int{}}, ca: newAuthority(t), state: t.TempDir()}
	e.url = serve(t, e.ca.issue(t, forLoopback(), e.ca.cert), e.central.ServeHTTP).URL
	e.central.known.Current = hashOf("s3cret")
	id := Identity{CentralURL: e.url, CA: e.ca.pem(), SiteID: siteID, SiteName: "berlin", Secret: "s3cret"}
	if err := writeJSON(filepath.Join(e.state, identityFile), id); err != nil {
		t.Fatal(err)
	}
	e.restart(t)
	return e
}

func (e *enrolled) restart(t *testing.T) {
	t.Helper()
	id, err := LoadIdentity(e.state)
	if err == nil {
		e.Client, err = NewClient(id, ClientOptions{State: e.state, Log: slog.New(slog.DiscardHandler)})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
}

func (e *enrolled) beat(t *testing.T) wire.HeartbeatAnswer {
	t.Helper()
	a, err := e.Heartbeat(t.Context(), wire.Heartbeat{})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestARotation(t *testing.T) {
	e := newEnrolled(t)
	e.beat(t)
	e.central.known = e.central.known.Rotate("r1")
	if a := e.beat(t); a.NextIn != 1 {
		t.Errorf("the next heartbeat, which announces it, comes in %d s", a.NextIn)
	}
	kept, err := LoadIdentity(e.state)
	if err != nil || kept.Secret != "s3cret" || len(kept.OtherSecret) != 43 || kept.Rotation != "r1" {
		t.Fatalf("kept %+v, %v", kept, err)
	}
	e.restart(t) // what was kept is gone on with
	e.central.lose = 1
	if _, err := e.Heartbeat(t.Context(), wire.Heartbeat{}); err == nil {
		t.Fatal("an answer that was lost")
	}
	e.beat(t)
	if e.central.known.Next != hashOf(kept.OtherSecret) || e.central.known.Current != hashOf("s3cret") {
		t.Errorf("central knows %+v", e.central.known)
	}
	e.beat(t)
	if want := (lifecycle.Credential{Current: hashOf(kept.OtherSecret)}); e.central.known != want || e.central.denied != 0 {
		t.Errorf("central knows %+v, %d were refused", e.central.known, e.central.denied)
	}
	now, err := LoadIdentity(e.state)
	if err != nil || now.Secret != kept.OtherSecret || now.OtherSecret != "s3cret" || now.Rotation != "" {
		t.Errorf("kept %+v, %v", now, err)
	}
	if info, err := os.Stat(filepath.Join(e.state, identityFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}

	// Central comes back from a backup of before, and then as it was.
	for _, secret := range []string{"s3cret", kept.OtherSecret} {
		e.central.known.Current = hashOf(secret)
		e.central.denied = 0
		e.beat(t)
		e.restart(t)
		e.beat(t)
		if e.central.denied > 2 {
			t.Errorf("%d were refused", e.central.denied)
		}
	}
	if len(e.central.boots) != 4 {
		t.Errorf("processes %v", e.central.boots)
	}
	for boot := range e.central.boots {
		if half := len(boot) / 2; half < 16 || boot[:half] != boot[half:] {
			t.Errorf("the report and the header name %s", boot)
		}
	}
}

// TestACredentialThatCannotBeKept is not used: a crash would lose it.
func TestACredentialThatCannotBeKept(t *testing.T) {
	e := newEnrolled(t)
	e.central.known = e.central.known.Rotate("r1")
	if err := os.RemoveAll(e.state); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		e.beat(t)
	}
	if e.central.known.Next != "" {
		t.Errorf("announced: %+v", e.central.known)
	}
	if err := os.Mkdir(e.state, 0o700); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		e.beat(t)
	}
	if kept, err := LoadIdentity(e.state); err != nil || e.central.known != (lifecycle.Credential{Current: hashOf(kept.Secret)}) {
		t.Errorf("central knows %+v, kept %v", e.central.known, err)
	}
}

// TestManyRequestsWhileACredentialChanges: none of them fails for it.
func TestManyRequestsWhileACredentialChanges(t *testing.T) {
	e := newEnrolled(t)
	e.central.known = e.central.known.Rotate("r1")
	done := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(done)
	for range 8 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if _, err := e.Manifest(t.Context(), wire.ManifestQuery{}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for round := range 6 {
		for range 4 {
			e.beat(t)
		}
		kept, err := LoadIdentity(e.state)
		if err != nil {
			t.Fatal(err)
		}
		e.central.change(func(c *rotator) {
			if round%2 == 1 { // central comes back from a backup of before the last rotation
				c.known = lifecycle.Credential{Current: hashOf(kept.OtherSecret)}
			}
			c.known = c.known.Rotate(fmt.Sprint("round", round))
		})
	}
}

func TestWhatCentralThinksOfTheAgent(t *testing.T) {
	e := newEnrolled(t)
	want := func(why string) {
		t.Helper()
		if s := e.Standing(); s.Refused != why || (why != "") == s.Since.IsZero() || (why != "") == (s.Detail == "") {
			t.Errorf("refused for %+v, want %q", s, why)
		}
	}
	want("")
	for _, c := range []struct{ kind, why string }{{wire.ProblemFenced, RefusedFenced}, {wire.ProblemRevoked, RefusedRevoked}} {
		e.central.refusal = c.kind
		for range 4 {
			if _, err := e.Heartbeat(t.Context(), wire.Heartbeat{}); err == nil {
				t.Error("a refusal passes for an answer")
			}
		}
		want(c.why)
		if !e.Online() {
			t.Error("a central that refuses is a central that is there")
		}
		e.central.refusal = ""
		e.beat(t)
		want("")
	}
	e.central.known.Current = hashOf("somebody's")
	if _, err := e.Heartbeat(t.Context(), wire.Heartbeat{}); err == nil {
		t.Error("a refusal passes for an answer")
	}
	want(RefusedUnknown)
	if e.central.denied != 1 {
		t.Errorf("an agent that has one secret tried %d", e.central.denied)
	}
	e.central.known.Current = hashOf("s3cret")
	e.beat(t)
	want("")
}
