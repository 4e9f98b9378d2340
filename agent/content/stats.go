package content

import (
	"errors"
	"io"
	"io/fs"
	"sync/atomic"
)

// Stats counts since Open.
type Stats struct {
	Hits        int64 `json:"hits"`        // files opened that were here, of the known digest
	Misses      int64 `json:"misses"`      // that began a fill
	Collapsed   int64 `json:"collapsed"`   // that joined one
	Stale       int64 `json:"stale"`       // of an older version, because central did not give the current one
	Passed      int64 `json:"passed"`      // straight from central
	Missing     int64 `json:"missing"`     // that do not exist
	Unavailable int64 `json:"unavailable"` // that could not be opened, for whatever other reason
	Questions   int64 `json:"questions"`   // to central, what a file is made of
	Requests    int64 `json:"requests"`    // to central, for content
	Failures    int64 `json:"failures"`    // of those, that brought none
	Bytes       int64 `json:"bytes"`       // of content received from central
	Copied      int64 `json:"copied"`      // bytes of content that another version had
}

type counters struct {
	hits, misses, collapsed, stale, passed, missing, unavailable atomic.Int64
	questions, requests, failures, bytes, copied                 atomic.Int64
}

// Stats returns a snapshot.
func (f *Files) Stats() Stats {
	c := &f.count
	return Stats{
		Hits: c.hits.Load(), Misses: c.misses.Load(), Collapsed: c.collapsed.Load(), Stale: c.stale.Load(), Passed: c.passed.Load(),
		Missing: c.missing.Load(), Unavailable: c.unavailable.Load(),
		Questions: c.questions.Load(), Requests: c.requests.Load(), Failures: c.failures.Load(), Bytes: c.bytes.Load(), Copied: c.copied.Load(),
	}
}

// opened counts what came of opening a file.
func (c *counters) opened(file *File, err error) {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.missing.Add(1)
	case err != nil:
		c.unavailable.Add(1)
	case file.Status == Hit:
		c.hits.Add(1)
	case file.Status == Miss:
		c.misses.Add(1)
	case file.Status == Collapsed:
		c.collapsed.Add(1)
	case file.Status == Stale:
		c.stale.Add(1)
	default:
		c.passed.Add(1)
	}
}

// received counts a body of central's as it is read.
type received struct {
	io.ReadCloser
	count *counters
	own   *atomic.Int64 // may be nil
	total int64
}

func (r *received) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	before := r.total
	if coded, ok := r.ReadCloser.(interface{ Received() int64 }); ok { // it is decoded as it is read
		r.total = coded.Received()
	} else {
		r.total += int64(n)
	}
	r.count.bytes.Add(r.total - before)
	if r.own != nil {
		r.own.Add(r.total - before)
	}
	return n, err
}

// Received returns how many bytes have come over the wire.
func (r *received) Received() int64 { return r.total }
