package agent

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pureboot/pureboot/agent/uplink"
	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

// faults are those of a bad line.
var faults = map[string]fault{
	"latency":    {delay: 20 * time.Millisecond},
	"slow":       {delay: time.Millisecond, piece: 200},
	"lost":       {refuse: true},
	"half open":  {mute: true},
	"black hole": {hole: true},
	"cut":        {cutAt: 2500}, // amid the first answer
}

// stories are what central and an agent do with each other while something is wrong with the line.
var stories = map[string]func(*testing.T, *outpost, fault){
	"all that is ordered": allThatIsOrdered,
	"a copy":              aCopyIsFenced,
	"revoked":             revokedAndEnrolledAgain,
}

// TestThePairOverABadLine has one central and the agents of many sites, all of them the programs themselves. Whatever a
// line does, machines get an answer meanwhile; once it is well again everything ends as it would have, and nothing of
// the trouble is left in use.
func TestThePairOverABadLine(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts the programs")
	}
	t.Parallel()
	bin := buildPrograms(t)
	h := startHeadquarters(t, bin)
	h.put(t, "bootloaders/ipxe.efi", noise(100_000))
	before := h.uses(t)
	var all sync.WaitGroup // they wait more than they work: more at once than there are processors
	n := 0
	for _, story := range slices.Sorted(maps.Keys(stories)) {
		for _, name := range slices.Sorted(maps.Keys(faults)) {
			n++
			site := n
			all.Go(func() {
				t.Run(story+"/"+name, func(t *testing.T) { stories[story](t, h.newOutpost(t, site), faults[name]) })
			})
		}
	}
	all.Go(func() { t.Run("central is killed", func(t *testing.T) { centralIsKilled(t, bin) }) })
	all.Wait()
	await(t, "central has no more in use than before", glance, func() bool { return !h.uses(t).above(before) })
	h.stop(t)
}

// allThatIsOrdered while something is wrong with the line is done, from the enrolment on.
func allThatIsOrdered(t *testing.T, o *outpost, f fault) {
	o.enrolOver(t, f)
	o.open(t)
	before := o.uses(t)
	o.line.befall(f)
	hits := o.line.hits.Load()
	all := o.orderAll(t)
	o.meets(t, hits)
	o.script(t)
	if !o.has(o.body) && !o.has(all.body) {
		t.Error("a machine does not get a file that is here")
	}
	if !f.bearable() {
		o.line.heal()
	}
	o.carriesOut(t, all)
	await(t, "the agent has no more in use than before", glance, func() bool { return !o.uses(t).above(before) })
	o.agent.stop(t)
}

// enrolOver enrols the agent while something is wrong with the line.
func (o *outpost) enrolOver(t *testing.T, f fault) {
	t.Helper()
	token := o.token(t)
	if f.cutAt > 0 {
		o.enrolCut(t, token)
		return
	}
	o.line.worsen(f)
	hits := o.line.hits.Load()
	enrolled := make(chan error, 1)
	go func() { enrolled <- o.init(t, token) }()
	o.meets(t, hits)
	if f.bearable() {
		if err := <-enrolled; err != nil {
			t.Fatal(err)
		}
		return
	}
	o.line.heal()
	if err := <-enrolled; err != nil { // and the same token is good for another try
		if err := o.init(t, token); err != nil {
			t.Fatal(err)
		}
	}
}

// enrolCut has the connection cut at one place of the exchange after the other, until there is none left.
func (o *outpost) enrolCut(t *testing.T, token string) {
	t.Helper()
	answers := 0                  // that were lost
	for at := 1000; ; at += 100 { // of which the answer is some hundreds
		o.line.set(fault{cutAt: at})
		err := o.init(t, token)
		if err == nil {
			break
		}
		if at > 10_000 {
			t.Fatal(err)
		}
		if o.state(t) == store.CredentialValid {
			answers++
		}
	}
	if answers == 0 {
		t.Error("no answer was lost")
	}
	o.line.heal()
}

// orders are what an operator wants of a site, all at once.
type orders struct {
	body         []byte // of the file
	secret       string // that is to be replaced
	sync, verify int    // commands
}

func (o *outpost) orderAll(t *testing.T) (all orders) {
	t.Helper()
	all.secret = o.secret(t)
	o.onSite(t, 200, "PATCH", "", `{"cache_max_size_gb":3}`)
	o.call(t, 200, "PATCH", "/api/v1/nodes/"+o.node+"/state", `{"state":"retired"}`)
	all.body = o.put(t, o.file, noise(70_001))
	o.onSite(t, 202, "POST", "/agent-credential/rotate", "")
	all.sync = o.order(t, `{"command":"sync"}`)
	all.verify = o.order(t, `{"command":"invalidate","params":{"scope":"content","glob":"images/**"}}`)
	return all
}

// carriesOut waits until all of it is done, and both know.
func (o *outpost) carriesOut(t *testing.T, all orders) {
	t.Helper()
	await(t, "the new version is served", glance, func() bool { return o.has(all.body) })
	await(t, "the node's state is known", glance, func() bool { return strings.Contains(o.script(t), "retired") })
	o.becomes(t, all.sync, "succeeded success")
	o.becomes(t, all.verify, "succeeded 1 files verified")
	await(t, "the rotation is over", glance, func() bool { return o.state(t) == store.CredentialValid })
	if o.secret(t) == all.secret {
		t.Error("the agent uses the old credential")
	}
	o.inStep(t)
	if s := o.status(t); s.Settings.CacheMaxSizeGB != 3 || s.LastSyncResult != wire.SyncSuccess || s.PendingSyncItems != 0 {
		t.Errorf("the status says %+v", s)
	}
}

// aCopyIsFenced: of two agents with one credential it is the first that goes on, however they are heard, and a new
// credential rids it of the other.
func aCopyIsFenced(t *testing.T, o *outpost, f fault) {
	o.enrol(t)
	o.open(t)
	twin, secret := *o, o.secret(t)
	twin.furnish(t)
	id, err := os.ReadFile(filepath.Join(o.cfg.StateDir(), "identity.json"))
	if err == nil {
		err = os.MkdirAll(twin.cfg.StateDir(), 0o700)
	}
	if err == nil {
		text := strings.ReplaceAll(string(id), o.line.url(), twin.line.url())
		err = os.WriteFile(filepath.Join(twin.cfg.StateDir(), "identity.json"), []byte(text), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	o.line.befall(f)
	twin.line.befall(f)
	hits := o.line.hits.Load()
	twin.start(t)
	o.meets(t, hits)
	twin.meets(t, 0)
	if !f.bearable() {
		o.line.heal()
		twin.line.heal()
	}
	await(t, "central finds out", glance, func() bool { return o.state(t) == store.CredentialFenced })
	twin.wantRefused(t, uplink.RefusedFenced)
	twin.script(t)
	o.onSite(t, 202, "POST", "/agent-credential/rotate", "")
	await(t, "the fence is gone", glance, func() bool { return o.state(t) == store.CredentialValid })
	if o.secret(t) == secret || o.status(t).Refused != nil || twin.status(t).Refused == nil {
		t.Error("the agent uses the old credential, or the wrong one of the two is served")
	}
	twin.agent.stop(t)
	o.agent.stop(t)
}

// revokedAndEnrolledAgain: central refuses it from the next request on, and machines boot all the same.
func revokedAndEnrolledAgain(t *testing.T, o *outpost, f fault) {
	o.enrol(t)
	o.open(t)
	o.line.befall(f)
	hits := o.line.hits.Load()
	o.onSite(t, 200, "POST", "/agent-credential/revoke", "")
	o.meets(t, hits)
	o.wantScript(t, "discovered")
	if !f.bearable() {
		o.line.heal()
	}
	o.wantRefused(t, uplink.RefusedRevoked)
	o.wantScript(t, "discovered")
	o.wantFile(t, o.body)
	if got := o.state(t); got != store.CredentialRevoked {
		t.Errorf("central says %s", got)
	}
	o.agent.stop(t)
	o.enrol(t, "--replace")
	o.open(t)
	o.agent.stop(t)
}

// centralIsKilled again and again, and begins anew at another address: what it has answered it knows, and what was under
// way goes on.
func centralIsKilled(t *testing.T, bin string) {
	h := startHeadquarters(t, bin)
	o := h.newOutpost(t, 99)
	again := func() {
		h.again(t)
		o.url = h.url
		o.line.move(h.at["https"])
	}
	token := o.token(t)
	h.kill()
	again()
	if err := o.init(t, token); err != nil {
		t.Fatal(err)
	}
	h.kill()
	again()
	o.open(t)

	const size = 1_500_000
	o.put(t, "bootloaders/ipxe.efi", noise(size))
	o.line.worsen(fault{delay: 4 * time.Millisecond, piece: 4 << 10}) // 1 MB/s
	all := o.orderAll(t)
	fetched := func(bytes int64) func() bool {
		return func() bool {
			s := o.status(t)
			return s.Sync != nil && s.Sync.BytesDone >= bytes || s.LastSyncAt != nil
		}
	}
	await(t, "the sync has begun", glance, fetched(size/4))
	hits := o.line.hits.Load()
	h.kill()
	o.meets(t, hits)
	o.script(t)
	if !o.has(o.body) && !o.has(all.body) {
		t.Error("a machine does not get a file that is here")
	}
	again()
	await(t, "the sync has gone on", glance, fetched(size/2))
	h.kill()
	o.agent.kill()
	again()
	o.start(t)
	o.carriesOut(t, all)
	o.agent.stop(t)
	h.stop(t)
}
