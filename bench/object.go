package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/central/wire"
)

// spec is what an object at the origin is and how it misbehaves. The zero value of a fault is none.
type spec struct {
	name string
	size int64 // bytes

	central  bool   // asked for as content of a central, not as an upstream's
	category string // of a central's content; empty: images
	tag      string // that the origin gives an upstream's object

	cuts        []int64 // offsets at which whoever sends hangs up; each once
	changes     bool    // the first cut brings a new version
	ignoreRange bool    // a range is answered with all of it
	wrongRange  bool    // a range is answered with another one, which the headers admit
	noValidator bool    // neither ETag nor Last-Modified
	noLength    bool    // chunked
	extra       int64   // bytes that are announced and never sent
	flipAt      int64   // offset of a byte that is sent wrong, if it is not 0,
	flips       int64   // so many times

	watched span // whose bytes are counted apart
}

// object is an object at the origin, and what was asked of it.
type object struct {
	spec
	published int // its place in the origin's history
	flipped   atomic.Int64

	mu       sync.Mutex
	versions []*version
	cutsLeft []int64
	log      []string // of requests, to be read when a row went wrong

	gets      atomic.Int64 // of the bytes
	heads     atomic.Int64
	questions atomic.Int64 // what it is made of, which only agents of a central ask
	sent      atomic.Int64 // bytes of all bodies
	sending   atomic.Int64 // bodies under way
	sentOf    atomic.Int64 // bytes of what is watched
}

type version struct {
	text     text
	n        int
	modified time.Time
	describe func() wire.Chunks // without the epoch
}

func newObject(s spec) *object {
	o := &object{spec: s, cutsLeft: slices.Clone(s.cuts)}
	o.renew()
	return o
}

// renew makes the next version. mu is held, or the object is nobody else's yet.
func (o *object) renew() {
	v := &version{n: len(o.versions), text: textOf(o.name, len(o.versions))}
	v.modified = time.Date(2025, 1, 1, 0, v.n, 0, 0, time.UTC)
	v.describe = sync.OnceValue(func() wire.Chunks { return describe(o.spec, v) })
	o.versions = append(o.versions, v)
}

// describe says what central would say of a version.
func describe(s spec, v *version) wire.Chunks {
	c := wire.Chunks{ChunkSize: wire.ChunkSize, Chunks: []string{}}
	obj, err := cache.Describe(v.text.reader(s.size))
	if err != nil {
		panic(err) // noise can always be read
	}
	for _, d := range obj.Chunks {
		c.Chunks = append(c.Chunks, d.String())
	}
	c.File = wire.File{
		Category: cmp.Or(s.category, wire.Images), Path: s.name, Size: s.size, SHA256: obj.SHA256.String(), Modified: v.modified,
	}
	return c
}

// etag is the version's strong validator.
func (o *object) etag(v *version) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s#%d", o.name, v.n))
	return `"` + hex.EncodeToString(sum[:8]) + `"`
}

func (o *object) current() *version {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.versions[len(o.versions)-1]
}

// texts returns what the object was so far.
func (o *object) texts() (all []text) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, v := range o.versions {
		all = append(all, v.text)
	}
	return all
}

// nextCut returns the first cut between two offsets, or -1.
func (o *object) nextCut(from, to int64) int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range o.cutsLeft {
		if from < c && c < to {
			return c
		}
	}
	return -1
}

// takeCut reports whether the cut is this sender's. changed says that it brought a new version.
func (o *object) takeCut(at int64) (taken, changed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	i := slices.Index(o.cutsLeft, at)
	if i < 0 {
		return false, false
	}
	o.cutsLeft = slices.Delete(o.cutsLeft, i, i+1)
	if changed = o.changes && len(o.versions) == 1; changed {
		o.renew()
	}
	return true, changed
}

func (o *object) note(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.log = append(o.log, fmt.Sprintf(format, args...))
}

// ratio returns the bytes sent as a multiple of the size.
func (o *object) ratio() float64 { return float64(o.sent.Load()) / float64(o.size) }
