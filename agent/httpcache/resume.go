package httpcache

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/pureboot/pureboot/agent/cache"
)

var errUnusable = errors.New("the origin does not go on with what it began")

// goOn asks for a part of what is known already.
func (a *ask) goOn(ctx context.Context, s *Stored, version string, offset, length int64) (*cache.Arrival, error) {
	want := Span{offset, tooFar}
	if length > 0 {
		want.End = offset + length
	}
	header, ok := Resume(a.header, s, want)
	if !ok {
		return nil, backoff.Permanent(errUnusable)
	}
	header["Range"] = []string{rangeFrom(offset, length)}
	x, resp, err := a.send(ctx, header)
	if err != nil {
		return nil, err
	}
	part, continuation := CheckPart(s, want, x)
	arrival := &cache.Arrival{Version: version, Strong: true, Size: s.Size, Body: resp.Body}
	switch continuation {
	case Continues:
		arrival.Offset = part.Start
		if part.Size >= 0 {
			arrival.Size = part.Size
		}
	case Repeats:
		if resp.ContentLength >= 0 {
			arrival.Size = resp.ContentLength
		}
	case Replaced:
		a.mu.Lock()
		begun := a.first != nil
		a.mu.Unlock()
		if !begun && x.Status == http.StatusOK {
			return a.arrive(x, resp, 0)
		}
		if !begun {
			resp.Body.Close()
			return nil, errUnusable
		}
		arrival.Version = "replaced " + rand.Text()
	case Unusable:
		resp.Body.Close()
		if x.Status >= http.StatusInternalServerError {
			return nil, fmt.Errorf("%w: status %d", errUnusable, x.Status)
		}
		// It has no such ranges. Who wants one waits for the whole, who wants the rest gets the whole again.
		if length > 0 {
			arrival.Body = http.NoBody
			return arrival, nil
		}
		if x, resp, err = a.send(ctx, a.header); err != nil {
			return nil, err
		}
		if part, continuation = CheckPart(s, want, x); continuation != Repeats {
			resp.Body.Close()
			return nil, fmt.Errorf("%w: status %d", errUnusable, x.Status)
		}
		arrival.Body = resp.Body
	}
	a.mu.Lock()
	begun := a.first != nil
	a.mu.Unlock()
	if !begun { // the first answer since a restart says what it is of
		return a.resumed(x, resp, arrival)
	}
	return arrival, nil
}

// held is the answer to a request for bytes that an earlier transfer has left, if that was of this version and is fresh: a
// stored part answers as the whole does (RFC 9111 sections 3.3 and 4). Otherwise it is nil, and the origin has to be asked.
func (a *ask) held(version string) *cache.Arrival {
	e, ok := a.h.Cache.Held(a.key, version, a.begin, a.length)
	if !ok || a.method != http.MethodGet {
		return nil
	}
	s := parseKept(e.Meta, a.h.slots.origin)
	if s == nil || a.h.slots.invalid(a.primary, s.Requested) {
		return nil
	}
	r := &http.Request{Method: a.method, URL: a.target, Header: a.header}
	if Evaluate(r, []*Stored{s}, time.Now()).Action != Serve {
		return nil
	}
	a.begun(s, version)
	a.mu.Lock()
	a.unasked = true
	a.mu.Unlock()
	return &cache.Arrival{
		Version: version, Strong: true, Size: e.Object.Size, SHA256: e.Object.SHA256, Modified: e.Object.Modified, Meta: e.Meta,
	}
}

// wasHeld is whether the origin did not have to be asked.
func (a *ask) wasHeld() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.unasked
}

// resumed makes of a part's continuation the first answer about its whole.
func (a *ask) resumed(x Exchange, resp *http.Response, arrival *cache.Arrival) (*cache.Arrival, error) {
	again, err := a.arrive(x, resp, arrival.Offset)
	if err == nil {
		// What the part was called is what tells that it is the same.
		again.Version, again.Strong = arrival.Version, true
		a.begun(a.first, again.Version)
	}
	return again, err
}

// versionOf names the version of a response by its strong validator, or by chance if it has none.
func versionOf(s *Stored) (version string, strong bool) {
	v := s.Validators
	switch {
	case !v.Strong() || len(v.ETag) > maxETag:
		return "weak " + rand.Text(), false
	case v.ETag != "":
		return "etag " + string(v.ETag), true
	}
	return "date " + formatDate(v.LastModified), true
}

// maxETag is the length in bytes above which an entity tag is not used to resume by.
const maxETag = 512

// partOf is what versionOf has named, as far as it takes to ask for the rest of it; nil if that cannot be.
func partOf(version string) *Stored {
	kind, value, _ := strings.Cut(version, " ")
	h := http.Header{}
	switch kind {
	case "etag":
		h["Etag"] = []string{value}
	case "date":
		modified, err := http.ParseTime(value)
		if err != nil {
			return nil
		}
		h["Last-Modified"], h["Date"] = []string{value}, []string{formatDate(modified.Add(time.Hour))}
	default:
		return nil
	}
	return NewStored(Meta{Method: http.MethodGet, Status: http.StatusOK, Header: h, Size: -1})
}
