package node

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Step is what a machine has asked for, and what it got.
type Step struct {
	At       time.Time  `json:"at"` // when it was over; of several like it, the last
	Client   netip.Addr `json:"client"`
	Protocol string     `json:"protocol"` // http or tftp
	Method   string     `json:"method,omitempty"`
	File     string     `json:"file"`             // the path, without its query
	Status   int        `json:"status,omitempty"` // of HTTP; 0: the client left before there was one
	Bytes    int64      `json:"bytes"`            // of bodies
	Tier     string     `json:"tier,omitempty"`   // where it came from: hot, disk, fill, upstream or stale; empty: made for the machine
	Error    string     `json:"error,omitempty"`
	Requests int        `json:"requests"` // like it, in a row

	MAC      string `json:"-"` // that the request names, as lifecycle.ParseMAC has it
	Begins   bool   `json:"-"` // it is what firmware asks for before anything names the machine
	Upstream bool   `json:"-"` // its file is one of an installation's thousands
}

// Bounds of what is remembered.
const (
	maxTraced  = 2048 // addresses
	maxSteps   = 40   // of each
	maxText    = 200  // bytes of a file's name or an error
	shards     = 32
	beginsFor  = 15 * time.Minute // from firmware's first request to one that names the machine
	maxOfShard = maxTraced / shards
)

// Traces remembers the last steps of the machines that boot. They are kept by address, since a file is asked for
// without a name, and told by machine. The zero Traces is ready. It is safe for concurrent use, and addresses do
// not wait for each other.
type Traces struct {
	shards [shards]struct {
		mu sync.Mutex
		of map[netip.Addr]*Trace
	}
}

// Trace is the steps from one address.
type Trace struct {
	client netip.Addr

	mu    sync.Mutex
	steps []Step // a ring once it has maxSteps
	next  int    // of the ring: the oldest, which goes next
	last  time.Time
	gone  bool // it has made room for another
}

// Of returns the trace of an address. Who keeps it asks again when Note says so.
func (t *Traces) Of(client netip.Addr) *Trace {
	client = client.Unmap().WithZone("")
	raw := client.As16()
	shard := &t.shards[(raw[15]^raw[13]<<3)%shards]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if known := shard.of[client]; known != nil {
		return known
	}
	if shard.of == nil {
		shard.of = map[netip.Addr]*Trace{}
	}
	if len(shard.of) >= maxOfShard {
		var oldest *Trace
		for _, other := range shard.of {
			if oldest == nil || other.before(oldest) {
				oldest = other
			}
		}
		oldest.end()
		delete(shard.of, oldest.client)
	}
	made := &Trace{client: client}
	shard.of[client] = made
	return made
}

func (t *Trace) before(other *Trace) bool { return t.since().Before(other.since()) }

func (t *Trace) since() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last
}

func (t *Trace) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.gone, t.steps = true, nil
}

// Note adds a step: to the one before, if it is the same once more. It reports false, and does nothing, if the trace is
// not that of its address any more.
func (t *Trace) Note(s Step) bool {
	s.File, s.Error, s.Requests = clipped(s.File), clipped(s.Error), 1
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gone {
		return false
	}
	t.last = s.At
	if len(t.steps) > 0 {
		if p := &t.steps[(t.next+len(t.steps)-1)%len(t.steps)]; p.like(&s) {
			p.At, p.File, p.Tier = s.At, s.File, s.Tier
			p.Bytes += s.Bytes
			p.Requests++
			return true
		}
	}
	if len(t.steps) < maxSteps {
		t.steps = append(t.steps, s)
		return true
	}
	t.steps[t.next] = s
	t.next = (t.next + 1) % maxSteps
	return true
}

// like is whether s is p once more: a loop that polls, the ranges of an image, the packages of an installation.
func (p *Step) like(s *Step) bool {
	return p.Protocol == s.Protocol && p.Method == s.Method && p.Status == s.Status && p.Error == s.Error && p.MAC == s.MAC &&
		p.Upstream == s.Upstream && (s.Upstream || p.File == s.File && p.Tier == s.Tier)
}

// clipped bounds a text that a stranger made long. A short one is not copied.
func clipped(text string) string {
	if len(text) <= maxText {
		return text
	}
	return string([]byte(text[:maxText])) + "…"
}

// list returns the steps, the oldest first.
func (t *Trace) list() []Step {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append(slices.Clone(t.steps[t.next:]), t.steps[:t.next]...)
}

// ByMAC returns the steps of a machine, the oldest first. A step that names none is of the machine that named itself
// last from its address; but what firmware begins with is of the one that did so next. neighbours says whose
// address it is from which no request named a machine; it may be nil.
func (t *Traces) ByMAC(mac string, neighbours map[netip.Addr]string) []Step {
	var found []Step
	for i := range t.shards {
		shard := &t.shards[i]
		shard.mu.Lock()
		traces := make([]*Trace, 0, len(shard.of))
		for _, trace := range shard.of {
			traces = append(traces, trace)
		}
		shard.mu.Unlock()
		for _, trace := range traces {
			steps := trace.list()
			attribute(steps, neighbours[trace.client])
			for _, s := range steps {
				if s.MAC == mac {
					s.Client = trace.client
					found = append(found, s)
				}
			}
		}
	}
	slices.SortStableFunc(found, func(a, b Step) int { return cmp.Or(a.At.Compare(b.At), a.Client.Compare(b.Client)) })
	return found
}

// attribute names the machine of each step from one address, in their order; neighbour is who has the address now.
func attribute(steps []Step, neighbour string) {
	named := slices.ContainsFunc(steps, func(s Step) bool { return s.MAC != "" })
	next, at := "", time.Time{} // who names itself after the step, and when
	for i := len(steps) - 1; i >= 0; i-- {
		switch s := &steps[i]; {
		case s.MAC != "":
			next, at = s.MAC, s.At
		case !named:
			s.MAC = neighbour
		case s.Begins && next != "" && at.Sub(s.At) < beginsFor:
			s.MAC = next
		}
	}
	last := next // who names itself first
	for i := range steps {
		if steps[i].MAC == "" {
			steps[i].MAC = last
		}
		last = steps[i].MAC
	}
}
