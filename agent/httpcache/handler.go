package httpcache

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pureboot/pureboot/agent/cache"
)

const (
	// cacheName is how this cache is called in Cache-Status.
	cacheName = "PureBoot"
	// patience is how long an origin may take to answer where a stale response could be served instead.
	patience = 800 * time.Millisecond
	// impatience is that of those who come within downTime of an origin's silence.
	impatience = 20 * time.Millisecond
	downTime   = 5 * time.Second
	// maxRounds bounds how often a request is judged anew because the store has changed meanwhile.
	maxRounds = 6
)

// Options of a Handler.
type Options struct {
	Cache  *cache.Store
	Prefix string   // of the paths it answers; begins and ends with a slash
	Origin *url.URL // what takes the prefix's place: http or https
	// FollowRedirects has redirects of GET and HEAD followed to wherever they lead. Otherwise they are passed on, those
	// within Origin as redirects within Prefix.
	FollowRedirects bool
	Transport       http.RoundTripper // nil: NewTransport
	// Admit is cache.Options.Admit for what passes through without being stored. nil: it costs nothing.
	Admit func(ctx context.Context, n int, load cache.Load) error
	Log   *slog.Logger
}

// Handler answers for one origin as a shared cache (RFC 9111). What it stores are objects of its cache.Store below
// upstream/, in the paths of its clients. It is safe for concurrent use.
//
// A request whose answer is not stored goes through cache.Stream, so that all who want the same at the same time cost
// the origin one request, which belongs to none of them. What the origin's answer does not let be stored goes to the
// one on whose behalf it was asked; the others ask for themselves.
type Handler struct {
	Options
	name   string // in Via: no other hop has it
	via    []string
	origin http.RoundTripper
	proxy  *httputil.ReverseProxy

	upgrading http.RoundTripper // for requests that go on in another protocol

	slots   *slots
	count   counters
	patient time.Duration // patience, but for tests
	down    atomic.Int64  // until then, in Unix nanoseconds, the origin is known not to answer

	ctx  context.Context // of what goes on without a client: ends with Close
	stop context.CancelFunc
	work sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	busy     map[cache.Key]bool   // validated without a client
	unstored map[string]time.Time // crowds whose answers could not be stored lately, and until when that is believed
}

// New returns the handler of an origin. The objects that the store has of it are known at once.
func New(o Options) *Handler {
	h := &Handler{
		Options: o, name: "pureboot-" + strings.ToLower(rand.Text()[:8]),
		slots: newSlots(o),
		busy:  map[cache.Key]bool{}, unstored: map[string]time.Time{},
		patient: patience,
	}
	h.via = []string{"1.1 " + h.name}
	if h.Transport == nil {
		h.Transport = NewTransport()
	}
	h.origin = &counted{next: h.Transport, count: &h.count}
	h.upgrading = h.origin
	if t, ok := h.Transport.(*http.Transport); ok {
		h.upgrading = &counted{next: forUpgrades(t), count: &h.count}
	}
	if o.FollowRedirects {
		h.origin = &following{next: h.origin}
	}
	h.proxy = h.newProxy()
	h.ctx, h.stop = context.WithCancel(context.Background())
	return h
}

// Close ends what goes on in the background. Requests that are being answered are not waited for.
func (h *Handler) Close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.stop()
	h.work.Wait()
	if t, ok := h.Transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// background runs f unless the handler is closed, and reports whether it does.
func (h *Handler) background(f func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.work.Go(f)
	return true
}

// visit is one client's request on its way.
type visit struct {
	*http.Request               // as it goes to the origin, but for Via; the conditions and Range are the client's
	original      *http.Request // as it came
	began         time.Time
	target        *url.URL
	primary       string
	crowd         string // those who may have the same answer, as far as can be told
	control       RequestControl
	key           cache.Key // where the answer will be stored
	version       string    // of what is stored there; "": nothing
	chosen        *found    // served if the origin fails, and that may be; nil: nothing is stored
}

// ServeHTTP implements http.Handler. The path is to begin with Prefix (see Matches).
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	target, err := h.target(r.URL)
	if err != nil {
		h.refuse(w, CacheStatus{Cache: cacheName}, http.StatusBadRequest, err.Error())
		return
	}
	if h.ends(w, r) {
		return
	}
	if slices.ContainsFunc(r.Header["Via"], func(via string) bool { return strings.Contains(via, h.name) }) {
		h.refuse(w, CacheStatus{Cache: cacheName}, http.StatusLoopDetected, "This request has been here before: the upstream's url leads back to this agent.")
		return
	}
	if !r.ProtoAtLeast(1, 1) {
		defer reset(w)
	}
	req := &visit{Request: endToEnd(r), original: r, began: time.Now(), target: target, primary: h.slots.primary(target)}
	req.control = ParseRequestControl(req.Header)
	req.crowd = req.primary
	for _, name := range []string{"Authorization", "Cookie"} {
		if len(req.Header[name]) > 0 {
			req.crowd += " " + name
		}
	}
	w.Header().Del("Cache-Status")
	w.Header().Del("Server")
	h.count.requests.Add(1)
	if upgrades(r) {
		h.pass(w, req, CacheStatus{Cache: cacheName, Forward: ForwardBypass, Detail: "upgrade"})
		return
	}
	h.serve(w, req)
}

// endToEnd is r without what is for this connection alone. It is r itself if there is nothing of that but what says
// nothing.
func endToEnd(r *http.Request) *http.Request {
	lines := r.Header["Connection"]
	plain := len(lines) == 0 || len(lines) == 1 && (strings.EqualFold(lines[0], "keep-alive") || strings.EqualFold(lines[0], "close"))
	for name := range r.Header {
		plain = plain && (name == "Connection" || !hopByHop(name) && !ofFirstHop(name))
	}
	if plain {
		return r
	}
	clean := r.WithContext(r.Context())
	clean.Header = r.Header.Clone()
	RemoveHopByHop(clean.Header)
	for name := range clean.Header {
		if ofFirstHop(name) {
			delete(clean.Header, name)
		}
	}
	return clean
}

// withHost has the Host that the client named stand where Vary looks for it, lest one site's page answers for another's.
// It goes no further: the origin is told its own.
func withHost(r *http.Request, host string) *http.Request {
	named := r.WithContext(r.Context())
	named.Header = maps.Clone(r.Header)
	named.Header["Host"] = []string{host}
	return named
}

// serve answers from the store, or asks the origin and starts again if by then the store has changed.
func (h *Handler) serve(w http.ResponseWriter, r *visit) {
	var vary *Vary // of a response that is being received
	for range maxRounds {
		now := time.Now()
		stored := h.slots.stored(r.primary)
		v := Evaluate(r.Request, responses(stored), now)
		status := v.CacheStatus(cacheName)
		if v.Action != Serve && v.Action != ServeAndValidate && len(r.Header["Host"]) == 0 {
			r.Request = withHost(r.Request, r.original.Host)
			v = Evaluate(r.Request, responses(stored), now)
			status = v.CacheStatus(cacheName)
		}
		chosen := owner(stored, v.Stored)
		r.chosen = chosen
		switch v.Action {
		case Unavailable:
			h.refuse(w, status, http.StatusGatewayTimeout, "This is not in the cache, and the request is not to be passed on.")
			return
		case Serve, ServeAndValidate:
			if v.Action == ServeAndValidate {
				h.validateLater(r, chosen)
			}
			if h.serveStored(w, r, chosen, v.Stored, status, now) {
				h.count.hits.Add(1)
				return
			}
			continue // it was evicted since
		}
		if v.Action == Pass || r.control.NoStore || h.unstorable(r.crowd, now) {
			h.pass(w, r, status)
			return
		}
		h.choose(r, stored, chosen, vary)
		done, other := h.fetch(w, r, v, status)
		if done {
			return
		}
		vary = other
	}
	h.pass(w, r, CacheStatus{Cache: cacheName, Forward: ForwardMiss, Detail: "changes all the time"})
}

// choose picks where the answer of the origin will be stored: in place of what is validated; else, if it is known
// what answers vary by, in the place of this request's; else in the resource's first place.
func (h *Handler) choose(r *visit, stored []found, chosen *found, vary *Vary) {
	head := r.Method == http.MethodHead
	r.version = ""
	switch {
	case chosen != nil && !head:
		r.key = chosen.slot.key
	default:
		for _, f := range stored {
			if vary == nil && len(f.Vary.Fields) > 0 {
				vary = &f.Vary
			}
		}
		r.key = h.slots.key(r.primary, head, vary, r.Header)
	}
	for _, f := range stored {
		if f.slot.key == r.key {
			r.version = f.version
		}
	}
}

// fetch asks the origin, or joins those who do, and answers. If it does not, the request is to be judged anew:
// other is then what the responses vary by, if that has been learned.
func (h *Handler) fetch(w http.ResponseWriter, r *visit, v Verdict, status CacheStatus) (done bool, other *Vary) {
	fallback := v.Stored // served if the origin fails
	if fallback != nil && !ServeOnFailure(r.Request, fallback, NoAnswer, time.Now()) {
		fallback = nil
	}
	a := h.newAsk(r, v)
	defer a.leave()
	silence := a.passInterim(w)
	reader, err := h.stream(r.Context(), a, fallback != nil)
	silence()
	if err == nil {
		return h.serveFetched(w, r, a, reader, status)
	}
	if confirmed, ok := errors.AsType[*confirmation](err); ok {
		status.Status, status.Stored = http.StatusNotModified, confirmed.refusal == ""
		if !confirmed.stored.Selects(r.Header) {
			return false, &confirmed.stored.Vary
		}
		found := &found{Stored: confirmed.stored, slot: &slot{key: r.key}, version: confirmed.version}
		withdraw := a.giveOwn(w.Header())
		if h.serveStored(w, r, found, confirmed.stored, status, time.Now()) {
			h.count.validated.Add(1)
			return true, nil
		}
		withdraw()
		return false, nil
	}
	switch {
	case r.Context().Err() != nil:
		panic(http.ErrAbortHandler) // nobody is there to be answered
	case errors.Is(err, cache.ErrChanged):
		return false, nil
	case errors.Is(err, cache.ErrNotStored):
		status.Detail = "no space"
		h.dismiss(r.crowd, noSpaceTime)
		h.pass(w, r, status)
		return true, nil
	}
	failure := NoAnswer
	answered, ok := errors.AsType[*answer](err)
	if ok {
		failure, status.Status, status.Detail = Failure(answered.status), answered.status, string(answered.refusal)
	} else if !errors.Is(err, errSlow) {
		h.Log.Warn("no answer from the origin", "key", r.key, "err", err)
	}
	if h.serveInstead(w, r, failure, status) {
		return true, nil
	}
	if ok && answered.status == http.StatusRequestedRangeNotSatisfiable && a.begin == 0 {
		return false, nil // that was about somebody else's range
	}
	if ok {
		h.passAnswer(w, r, a, status)
		return true, nil
	}
	h.count.failures.Add(1)
	code := http.StatusBadGateway
	if v.Stored != nil || timedOut(err) {
		code = http.StatusGatewayTimeout // RFC 9111 section 5.2.2.2
	}
	h.refuse(w, status, code, "The origin does not answer.")
	return true, nil
}

// serveFetched answers with what the origin sends, or sent to somebody just now.
func (h *Handler) serveFetched(w http.ResponseWriter, r *visit, a *ask, reader *cache.Reader, status CacheStatus) (done bool, other *Vary) {
	s := h.slots.describe(r.key, reader.Meta())
	switch tier := reader.Tier(); {
	case s == nil || tier == cache.TierHot || tier == cache.TierDisk:
		reader.Close() // somebody has published it since it was looked for: it is judged as any stored response
		return false, nil
	case !s.Selects(r.Header):
		reader.Close()
		return false, &s.Vary
	case CheckConditions(r.Request, s) == Failed:
		reader.Close()
		h.passCondition(w, r)
		return true, nil
	case tier == cache.TierJoined:
		status.Collapsed = true
		if s.Received.Before(r.began) && !usable(r.Request, s) || h.slots.invalid(r.primary, s.Requested) {
			h.confirm(w, r, s, reader, status)
			return true, nil
		}
		status.Status = s.Status
		h.count.collapsed.Add(1)
	case a.wasHeld():
		status = CacheStatus{Cache: cacheName, Hit: true, HasTTL: true, TTL: s.TTL(time.Now())}
		h.count.hits.Add(1)
	default:
		status.Status = s.Status
		h.count.misses.Add(1)
	}
	status.Stored = !status.Hit
	withdraw := a.giveOwn(w.Header())
	err := h.send(w, r, s, reader, status)
	if err == nil {
		return true, nil
	}
	withdraw() // nothing was sent yet
	if errors.Is(err, cache.ErrChanged) {
		return false, nil
	}
	if r.Context().Err() != nil {
		panic(http.ErrAbortHandler)
	}
	h.Log.Warn("body does not come from the origin", "key", r.key, "err", err)
	if h.serveInstead(w, r, NoAnswer, status) {
		return true, nil
	}
	h.count.failures.Add(1)
	h.refuse(w, status, http.StatusBadGateway, "The origin does not send what it has.")
	return true, nil
}

// serveInstead answers with what is stored in place of a failure of the origin, if there is such a response, and it may
// be used so.
func (h *Handler) serveInstead(w http.ResponseWriter, r *visit, failure Failure, status CacheStatus) bool {
	now := time.Now()
	if r.chosen == nil || !ServeOnFailure(r.Request, r.chosen.Stored, failure, now) || !h.serveStored(w, r, r.chosen, r.chosen.Stored, status, now) {
		return false
	}
	h.count.stale.Add(1)
	return true
}

// usable is whether s, which is being received because somebody else asked for it a little earlier, answers r without
// asking. Where the origin does not say for how long s is fresh, it is fresh at least until it is here (RFC 9111 section
// 4.2.2): a herd does not arrive at once.
func usable(r *http.Request, s *Stored) bool {
	switch v := Evaluate(r, []*Stored{s}, time.Now()); {
	case v.Action == Serve, v.Action == ServeAndValidate:
		return true
	default:
		told := s.Control.MaxAge.Given || s.Control.SMaxAge.Given || len(s.Header["Expires"]) > 0
		return !told && (v.Reason == Stale || v.Reason == MustRevalidate)
	}
}

// serveStored answers with a version that is published. It is false if that is not there any more: nothing has
// been sent then.
func (h *Handler) serveStored(w http.ResponseWriter, r *visit, f *found, s *Stored, status CacheStatus, now time.Time) bool {
	if CheckConditions(r.Request, s) == Failed {
		h.passCondition(w, r)
		return true
	}
	reader, ok := h.Cache.GetVersion(f.slot.key, f.version)
	if !ok {
		return false
	}
	status.HasTTL, status.TTL = true, s.TTL(now)
	return h.send(w, r, s, reader, status) == nil
}

// unstorable is whether the responses of a resource could not be stored lately: those who want it are then not to wait
// for each other.
func (h *Handler) unstorable(crowd string, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	until, ok := h.unstored[crowd]
	if ok && now.After(until) {
		delete(h.unstored, crowd)
		return false
	}
	return ok
}

const (
	maxUnstored  = 10_000
	unstoredTime = 2 * time.Minute
	noSpaceTime  = 10 * time.Second
)

// dismiss has requests for a resource passed on for a while.
func (h *Handler) dismiss(crowd string, lasting time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.unstored) >= maxUnstored {
		clear(h.unstored)
	}
	h.unstored[crowd] = time.Now().Add(lasting)
}

// readmit ends dismiss.
func (h *Handler) readmit(crowd string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.unstored, crowd)
}
