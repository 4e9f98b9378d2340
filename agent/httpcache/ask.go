package httpcache

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pureboot/pureboot/agent/cache"
)

// ask is the conversation with the origin that one request begins, perhaps on behalf of others. What of it is stored
// outlives the request.
type ask struct {
	h       *Handler
	key     cache.Key
	primary string
	crowd   string
	method  string
	target  *url.URL
	header  http.Header // as the client sent it, without conditions and Range
	stored  *Stored     // asked about; nil: nothing
	version string      // of what is stored at key; "": nothing
	begin   int64       // what is wanted first, in bytes
	length  int64

	done []func() // called by leave

	mu       sync.Mutex
	first    *Stored                      // what the first answer was stored as; nil: there was none yet
	called   string                       // its version
	unstored *http.Response               // an answer for the request alone
	own      http.Header                  // fields of the answer for the request alone
	left     bool                         // the request is over
	unasked  bool                         // what was held was fresh
	interim  func(int, http.Header) error // passes 1xx on; nil: there is nobody to pass them to
}

// answer is an answer of the origin that was not stored, to all who waited for it. Only the one who asked has it.
type answer struct {
	status  int
	refusal Refusal
}

func (e *answer) Error() string {
	return fmt.Sprintf("status %d is not stored: %s", e.status, cmp.Or(e.refusal, "failure"))
}

// confirmation is a 304, to all who waited for it.
type confirmation struct {
	stored  *Stored // as freshened
	version string
	refusal Refusal // why the store has not been freshened
}

func (e *confirmation) Error() string { return "not modified" }

// newAsk prepares to ask for what r wants, about what is stored in the place where the answer will be.
func (h *Handler) newAsk(r *visit, v Verdict) *ask {
	a := &ask{
		h: h, key: r.key, primary: r.primary, crowd: r.crowd, method: r.Method, target: r.target,
		header: Unconditional(r.Header), version: r.version,
	}
	if r.Method == http.MethodGet {
		a.stored = v.Stored
		a.begin, a.length = firstRange(r.Header)
	}
	return a
}

// firstRange is where what a request wants begins, and how much it is: 0 if that is all, or cannot be said without
// knowing the size. Of the end alone, begin is how much that is, below 0.
func firstRange(h http.Header) (begin, length int64) {
	specs, ok := ParseRange(h)
	if ok && len(specs) == 1 && specs[0].First < 0 && specs[0].Suffix > 0 && specs[0].Suffix < tooFar {
		return -specs[0].Suffix, 0
	}
	if !ok || slices.ContainsFunc(specs, func(s RangeSpec) bool { return s.First < 0 }) {
		return 0, 0
	}
	if s := specs[0]; s.Last < tooFar {
		return s.First, s.Last - s.First + 1
	}
	return specs[0].First, 0
}

// passInterim has 1xx answers passed on to w until silence is called.
func (a *ask) passInterim(w http.ResponseWriter) (silence func()) {
	a.interim = func(status int, header http.Header) error {
		h := w.Header()
		own := maps.Clone(h)
		clear(h)
		maps.Copy(h, header)
		w.WriteHeader(status)
		clear(h)
		maps.Copy(h, own)
		return nil
	}
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.interim = nil
	}
}

// take returns the answer that was not stored, if there is one: the caller closes it.
func (a *ask) take() *http.Response {
	a.mu.Lock()
	defer a.mu.Unlock()
	resp := a.unstored
	a.unstored = nil
	return resp
}

// leave says that the request is over.
func (a *ask) leave() {
	if resp := a.take(); resp != nil {
		resp.Body.Close()
	}
	a.mu.Lock()
	a.left = true
	a.mu.Unlock()
	for _, f := range a.done {
		f()
	}
}

// origin is the cache.Origin of the conversation.
func (a *ask) origin(ctx context.Context, version string, offset, length int64) (*cache.Arrival, error) {
	a.mu.Lock()
	if version != a.called {
		a.first = nil // the store has given that up, and begins anew
	}
	first := a.first
	a.mu.Unlock()
	if version != "" && first != nil {
		return a.goOn(ctx, first, version, offset, length)
	}
	if arrival := a.held(version); arrival != nil {
		return arrival, nil
	}
	if version != "" && offset >= 0 {
		if part := partOf(version); part != nil {
			arrival, err := a.goOn(ctx, part, version, offset, length)
			if err == nil || !errors.Is(err, errUnusable) {
				return arrival, err
			}
		}
		offset, length = 0, 0
	}
	return a.begins(ctx, offset, length)
}

// begins asks for the first time.
func (a *ask) begins(ctx context.Context, offset, length int64) (*cache.Arrival, error) {
	header := a.header
	switch {
	case a.stored != nil && a.stored.Method == http.MethodGet && !a.stored.Validators.None():
		header, offset = Conditional(a.header, a.stored), 0
	case offset != 0:
		header = a.ranged(offset, length)
	}
	x, resp, err := a.send(ctx, header)
	if err != nil {
		return nil, err
	}
	ranges := true // can be had, as far as is known
	if x.Status == http.StatusNotModified && a.stored != nil {
		resp.Body.Close()
		if len(Identify([]*Stored{a.stored}, x)) > 0 {
			return nil, a.freshen(x)
		}
		header = a.header
		x, resp, err = a.send(ctx, header)
	} else if x.Status == http.StatusPartialContent && !a.fitting(x, offset) {
		resp.Body.Close()
		header, offset, ranges = a.header, 0, false // whoever sends such a part is asked for the whole
		x, resp, err = a.send(ctx, header)
	}
	if err != nil {
		return nil, err
	}
	arrival, err := a.arrive(x, resp, offset)
	if err == nil && !ranges {
		arrival.Strong = false
	}
	return arrival, err
}

// ranged asks for a part of what is not known at all.
func (a *ask) ranged(offset, length int64) http.Header {
	h := maps.Clone(a.header)
	h["Range"] = []string{rangeFrom(offset, length)}
	return h
}

func rangeFrom(offset, length int64) string {
	if offset < 0 {
		return "bytes=" + strconv.FormatInt(offset, 10)
	}
	if length <= 0 {
		return "bytes=" + strconv.FormatInt(offset, 10) + "-"
	}
	return Span{offset, offset + length}.Range()
}

// fitting is whether a 206 begins where it was asked to and can be combined with others.
func (a *ask) fitting(x Exchange, offset int64) bool {
	part, ok := ParseContentRange(x.Header)
	if offset < 0 {
		offset = max(0, part.Size+offset)
	}
	return ok && !part.Unsatisfied && part.Start == offset && Storable(x) != RefusedPart
}

// arrive stores an answer if that may be, and else keeps it for the request.
func (a *ask) arrive(x Exchange, resp *http.Response, offset int64) (*cache.Arrival, error) {
	refusal := Storable(x)
	switch {
	case a.stored != nil && failed(x.Status):
		refusal = RefusedStatus // what is stored is better
	case refusal != "":
	case x.Status == http.StatusPartialContent && !a.fitting(x, offset):
		refusal = RefusedPart
	case len(resp.Trailer) > 0:
		refusal = refusedTrailer
	case secret(x):
		refusal = RefusedVary
	}
	if refusal != "" {
		a.offer(resp)
		return nil, &answer{x.Status, refusal}
	}
	a.h.readmit(a.crowd)
	a.keepOwn(x)
	asked, m := offset, a.keep(x)
	if part, ok := ParseContentRange(x.Header); ok && offset < 0 {
		offset = part.Start
	}
	if x.Status != http.StatusPartialContent {
		offset = 0
		m.Size = resp.ContentLength
	}
	if a.method == http.MethodHead {
		return a.arriveHead(x, resp)
	}
	s := NewStored(m)
	arrival := &cache.Arrival{
		Size: m.Size, SHA256: reprDigest(x.Header), Modified: s.Validators.LastModified,
		Meta: a.h.slots.encode(m), Offset: offset, Body: resp.Body,
	}
	arrival.Version, arrival.Strong = versionOf(s)
	if asked != 0 && x.Status != http.StatusPartialContent {
		arrival.Strong = false // there are no ranges to be had
	}
	a.begun(s, arrival.Version)
	return arrival, nil
}

// keep makes what is stored of an answer, with its URL if the key is only a hash of that.
func (a *ask) keep(x Exchange) Meta {
	m := Keep(x)
	if strings.HasPrefix(a.primary, a.h.slots.name+longName) {
		m.URL = PrimaryKey(a.target)
	}
	return m
}

// refusedTrailer is of a response whose trailer a client should get, who would not get it from the store.
const refusedTrailer Refusal = "trailer"

// secret is whether storing x would keep a client's credentials, as what x was selected by.
func secret(x Exchange) bool {
	selecting := ParseVary(x.Header).Select(x.Request)
	for _, name := range []string{"Authorization", "Cookie", "Proxy-Authorization"} {
		if _, ok := selecting[name]; ok {
			return true
		}
	}
	return false
}

// arriveHead stores an answer to HEAD, and tells what is stored for GET of it (RFC 9111 section 4.3.5).
func (a *ask) arriveHead(x Exchange, resp *http.Response) (*cache.Arrival, error) {
	resp.Body.Close()
	m := a.keep(x)
	if x.Status == http.StatusOK {
		for _, f := range a.h.slots.stored(a.primary) {
			if f.Stored == absent || f.Method != http.MethodGet || f.Status != http.StatusOK || !f.Selects(x.Request) {
				continue
			}
			updated := f.Outdate()
			if f.HeadAgrees(x) {
				fresh, refusal := f.Freshen(x)
				if refusal != "" {
					continue
				}
				updated = fresh.Meta
			}
			a.h.describe(f.slot.key, f.version, updated)
		}
	}
	return &cache.Arrival{Version: "head " + rand.Text(), Meta: a.h.slots.encode(m), Body: http.NoBody}, nil
}

// keepOwn keeps for the request what is not stored of the answer's header: fields that are private or no-cache (RFC 9111
// sections 5.2.2.4 and 5.2.2.7), and cookies.
func (a *ask) keepOwn(x Exchange) {
	c := ParseResponseControl(x.Header)
	own := http.Header{}
	for _, name := range slices.Concat(c.Private.Fields, c.NoCache.Fields, []string{"Set-Cookie"}) {
		if lines := x.Header[name]; len(lines) > 0 && !hopByHop(name) {
			own[name] = lines
		}
	}
	for _, name := range connectionOptions(x.Header) {
		delete(own, name)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.left {
		a.own = own
	}
}

// giveOwn adds to a header what is for the request alone, until withdraw.
func (a *ask) giveOwn(header http.Header) (withdraw func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	own := a.own
	maps.Copy(header, own)
	return func() {
		for name := range own {
			delete(header, name)
		}
	}
}

// freshen tells the store of a 304.
func (a *ask) freshen(x Exchange) error {
	a.keepOwn(x)
	fresh, refusal := a.stored.Freshen(x)
	if refusal == "" && secret(x) {
		refusal = RefusedVary
	}
	if refusal == "" {
		a.h.describe(a.key, a.version, fresh.Meta)
	}
	return &confirmation{fresh, a.version, refusal}
}

func (h *Handler) describe(key cache.Key, version string, m Meta) {
	if err := h.Cache.SetMeta(key, version, h.slots.encode(m)); err != nil {
		h.Log.Warn("stored response not updated", "key", key, "err", err)
	}
}

// offer keeps an answer for the request that began the conversation, if it still waits.
func (a *ask) offer(resp *http.Response) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.left || a.unstored != nil {
		resp.Body.Close()
		return
	}
	// The store ends the context of what it does not get.
	if b, ok := resp.Body.(*boundBody); ok {
		b.detach()
	}
	a.unstored = resp
}

// begun notes what the conversation is about.
func (a *ask) begun(s *Stored, version string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.first, a.called = s, version
}

// send asks the origin. The answer's body ends with ctx unless it is detached from it.
func (a *ask) send(ctx context.Context, header http.Header) (Exchange, *http.Response, error) {
	own, cancel := context.WithCancelCause(a.h.ctx)
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	own = httptrace.WithClientTrace(own, &httptrace.ClientTrace{Got1xxResponse: func(status int, h textproto.MIMEHeader) error {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.interim == nil || status == http.StatusContinue {
			return nil
		}
		return a.interim(status, http.Header(h))
	}})
	req := &http.Request{Method: a.method, URL: a.target, Host: a.target.Host, Header: maps.Clone(header), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	delete(req.Header, "Connection")
	AddVia(req.Header, 1, 1, a.h.name)
	if _, ok := req.Header["User-Agent"]; !ok {
		req.Header["User-Agent"] = []string{""} // the client's, if any, not ours
	}
	requested := time.Now()
	resp, err := a.h.origin.RoundTrip(req.WithContext(own))
	if err != nil {
		stop()
		if context.Cause(own) != nil {
			err = errors.Join(err, context.Cause(own))
		}
		cancel(nil)
		return Exchange{}, nil, err
	}
	a.h.down.Store(0)
	resp.Body = &boundBody{resp.Body, stop, cancel}
	return Exchange{
		Method: a.method, Request: header, Requested: requested, Status: resp.StatusCode, Header: resp.Header, Received: time.Now(), Protocol: protocol(resp),
	}, resp, nil
}

// boundBody is an answer's body that is bound to a context.
type boundBody struct {
	io.ReadCloser
	detach func() bool
	cancel context.CancelCauseFunc
}

func (b *boundBody) Close() error {
	b.detach()
	defer b.cancel(nil)
	return b.ReadCloser.Close()
}

func failed(status int) bool {
	switch status {
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}
