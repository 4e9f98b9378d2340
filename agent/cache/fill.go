package cache

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// errParked ends a fill that nobody needs at the moment: its readers wanted parts of it, got them and
// left, and none ever wanted it from the start.
var errParked = errors.New("parked")

// errPurged ends a fill that was purged while it ran.
var errPurged = fmt.Errorf("%w: it was purged", ErrNotStored)

// errNoRanges is what a range of an origin that knows none ends with.
var errNoRanges = errors.New("origin serves no ranges")

// withheld is how many bytes at the end of an object are kept from its readers until its digest is
// checked, where no chunk digests are known that vouch for them.
const withheld = 64 << 10

// fillID is what one transfer serves: a version of a key, or whatever an origin has for a key.
type fillID struct {
	key    Key
	digest Digest // of nothing for an opaque object
	opaque bool
}

// fill brings one version of one key from its source to the disk. It belongs to the store, whose
// context it runs under, and is handed round as a handle: its readers share nothing but the part
// file and wait for wake. Its streams bring the bytes: one from the front, which goes on whether anyone
// reads or not, and one for each range that is wanted further ahead than is cheap to wait for.
type fill struct {
	store *Store
	id    fillID
	path  string // where it will be published; the fill holds the name
	began uint64 // grows with every fill

	ready     chan struct{}   // closed when part can be opened
	done      chan struct{}   // closed when the fill is over for everybody
	over      chan struct{}   // closed when its streams have nothing more to do, for result
	partName  string          // set under Store.mu, before ready; "": it has none yet
	part      part            // these are set before ready
	ctx       context.Context // the streams'; ends when over is closed
	cancel    context.CancelFunc
	source    Source
	origin    Origin  // of an opaque object
	asked     segment // of origin, first
	known     string  // the version that a part file is of; "": there is none
	continues bool    // asked is where that part file ends, and not what anybody wants
	room      int64   // what an object of unknown size may grow to without asking; the front's
	streams   sync.WaitGroup
	resumes   *journal // what an earlier fill has left; nil: nothing
	reserved  int64    // bytes promised to it; guarded by Store.mu

	due     chan struct{}         // asks for a journal
	jotDue  chan struct{}         // asks for a jot
	refused bool                  // its origin gave nothing to store; run's own
	relay   atomic.Pointer[relay] // what it has become; nil: nothing but a fill
	purged  atomic.Bool           // it is for its readers alone; set under Store.mu

	noting  sync.Mutex // held while a journal is written; taken before mu
	jotting sync.Mutex // held while a jot is

	hashing sync.Mutex // guards the two; taken before mu
	whole   hash.Hash
	hashed  int64 // bytes from the start that are in whole

	mu       sync.Mutex
	obj      Object // Size is -1 while it is not known
	meta     []byte
	strong   bool     // an opaque object can be resumed
	first    *Arrival // the first answer of its origin, until a stream takes it
	ranges   bool     // the source can be asked for ranges
	vouched  bool     // what is in have is verified: by chunks, or by the whole digest
	have     segments // on disk and readable
	fresh    int64    // bytes since a journal was asked for
	unjotted int64    // and since a jot was
	unproven segments // on disk as a journal says, chunk digests not checked yet
	running  map[*stream]struct{}
	front    *stream // nil: not begun
	readers  map[*Reader]struct{}
	begun    bool      // what was asked for at first is under way
	users    int       // readers, and those who are about to become one
	waiting  int       // readers that wait for bytes
	waited   time.Time // when one last did
	result   error
	settled  bool          // over is closed
	err      error         // why it is done; nil if published, or while it runs
	wake     chan struct{} // closed and replaced at every change of the above
	woken    time.Time     // when it was last, because bytes came
	late     bool          // bytes came that nobody has been woken for; a timer will see to it
}

func (s *Store) newFill(id fillID, obj Object, src Source) *fill {
	return &fill{
		store: s, id: id, obj: obj, source: src, ranges: true, vouched: len(obj.Chunks) > 0,
		ready: make(chan struct{}), done: make(chan struct{}), over: make(chan struct{}), due: make(chan struct{}, 1), jotDue: make(chan struct{}, 1), wake: make(chan struct{}),
		whole: sha256.New(), running: map[*stream]struct{}{}, readers: map[*Reader]struct{}{},
	}
}

// object is what is known of the object by now.
func (f *fill) object() Object {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.obj
}

func (f *fill) verified() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.have.bytes() + f.unproven.bytes()
}

// isWhole reports whether all of it can be read.
func (f *fill) isWhole() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.complete()
}

// complete reports whether all of it is readable. mu is held.
func (f *fill) complete() bool {
	return f.obj.Size >= 0 && f.vouched && f.have.covers(segment{0, f.obj.Size})
}

// servable returns the end of what can be read at offset: offset if that is nothing. mu is held.
func (f *fill) servable(offset int64) int64 {
	end := f.have.from(offset)
	if f.vouched || f.obj.SHA256 == (Digest{}) {
		return end
	}
	limit := f.obj.Size
	if limit < 0 {
		limit = f.have.from(0)
		if r := f.relay.Load(); r != nil {
			limit = r.end()
		}
	}
	return max(offset, min(end, limit-withheld))
}

// wait blocks until the byte at r's offset can be read from the part file, and returns the end of
// what can. It is io.EOF that ends an object whose size was not known.
func (f *fill) wait(r *Reader) (end int64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r.at = r.offset
	f.waiting++
	defer func() { f.waiting-- }()
	for {
		if relay := f.relay.Load(); relay != nil && r.offset >= relay.from {
			if end, err := f.relayable(relay, r.offset); err != nil || end > r.offset {
				return end, err
			}
		}
		switch end := f.servable(r.offset); {
		case end > r.offset:
			return end, nil
		case f.complete() && r.offset >= f.obj.Size:
			return r.offset, io.EOF
		case f.err != nil:
			return 0, f.err
		}
		f.demand(r)
		wake := f.wake
		f.waited = time.Now()
		f.mu.Unlock()
		select {
		case <-r.ctx.Done():
			f.mu.Lock()
			return 0, context.Cause(r.ctx)
		case <-wake:
		}
		f.mu.Lock()
		f.waited = time.Now()
	}
}

// changed wakes all who wait. mu is held.
func (f *fill) changed() {
	f.late = false
	close(f.wake)
	f.wake = make(chan struct{})
}

// A herd is woken for many bytes at once rather than for each few that come: waking and serving one reader takes tens
// of microseconds, whatever it gets, and those who have only just come do not get their first bytes meanwhile. The pause
// grows with how many there are, so that a few hardly notice.
const (
	pausePerReader = 100 * time.Microsecond
	maxPause       = 20 * time.Millisecond
)

// arrived wakes those who wait for bytes, at once or, if that was only just done, when the pause is over. mu is held.
func (f *fill) arrived() {
	if f.late {
		return
	}
	now := time.Now()
	pause := f.woken.Add(min(time.Duration(f.users)*pausePerReader, maxPause)).Sub(now)
	if pause <= 0 {
		f.woken = now
		f.changed()
		return
	}
	f.late = true
	time.AfterFunc(pause, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.late { // nobody was woken for another reason
			f.woken = time.Now()
			f.changed()
		}
	})
}

// settle ends the work of the streams, the first caller's reason being the one that counts.
func (f *fill) settle(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settleLocked(err)
}

func (f *fill) settleLocked(err error) {
	if f.settled {
		return
	}
	f.settled, f.result = true, err
	close(f.over)
	f.changed()
}

func (f *fill) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
	f.changed()
	close(f.done)
}

// enter announces a user, unless the fill is parked already.
func (f *fill) enter() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.settled && errors.Is(f.result, errParked) {
		return false
	}
	f.users++
	return true
}

// follow makes a user a reader.
func (f *fill) follow(r *Reader) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readers[r] = struct{}{}
}

// leave takes a user back; r may be nil.
func (f *fill) leave(r *Reader) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.readers, r)
	f.users--
	if f.relay.Load() != nil {
		f.changed() // it may have been the slowest
	}
	f.park()
}

// park ends the fill if nobody is there who could ever need it to go on. mu is held.
func (f *fill) park() {
	if f.begun && f.users == 0 && f.front == nil && len(f.running) == 0 {
		f.settleLocked(errParked)
	}
}
