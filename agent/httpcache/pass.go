package httpcache

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httputil"
	"slices"
	"strconv"
	"time"

	"github.com/pureboot/pureboot/agent/cache"
)

// bodyPatience is how long a client may send nothing of its request's body.
const bodyPatience = time.Minute

// passing is what the proxy needs to know of a request that passes through it.
type passing struct {
	*visit
	w        http.ResponseWriter
	status   CacheStatus
	answered *http.Response // the origin's answer, if it is there already
}

type passingKey struct{}

func passingOf(ctx context.Context) *passing {
	p, _ := ctx.Value(passingKey{}).(*passing)
	return p
}

// pass sends the request to the origin as it is, and the answer to the client.
func (h *Handler) pass(w http.ResponseWriter, r *visit, status CacheStatus) {
	h.count.passed.Add(1)
	h.proxyTo(&passing{visit: r, w: w, status: status})
}

// passAnswer sends the client what the origin has answered to ask and was not stored. The client's conditions and
// ranges were not asked: if there were any, it is asked again with them.
func (h *Handler) passAnswer(w http.ResponseWriter, r *visit, a *ask, status CacheStatus) {
	if !failed(status.Status) && !aboutRequest(status.Status) && status.Status != http.StatusBadRequest {
		h.dismiss(r.crowd, unstoredTime)
	}
	h.count.passed.Add(1)
	resp := a.take()
	if resp != nil && !failed(resp.StatusCode) && limited(r.Header) && !(resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && onlyRange(r.Header)) {
		resp.Body.Close()
		resp = nil
	}
	h.proxyTo(&passing{visit: r, w: w, status: status, answered: resp})
}

// passCondition passes a request on because it names a version that is not the stored one: that is the origin's to say
// (RFC 9111 section 4.3.2). Its failure is the answer, whatever is stored.
func (h *Handler) passCondition(w http.ResponseWriter, r *visit) {
	r.chosen = nil
	h.pass(w, r, CacheStatus{Cache: cacheName, Forward: ForwardRequest, Detail: "condition"})
}

// onlyRange is whether a request wants one part, without conditions: then that part's 416 is its answer.
func onlyRange(h http.Header) bool {
	specs, ok := ParseRange(h)
	return ok && len(specs) == 1 && !slices.ContainsFunc(conditions, func(name string) bool { return len(h[name]) > 0 })
}

// limited is whether a request wants less than all, or only under conditions.
func limited(h http.Header) bool {
	for _, name := range conditions {
		if len(h[name]) > 0 {
			return true
		}
	}
	return len(h["Range"]) > 0
}

// confirm answers with a response that is being received on behalf of others, and was received before r came, once
// the origin has said that it still holds. Else it is not waited for, nor replaced: the request is passed on.
func (h *Handler) confirm(w http.ResponseWriter, r *visit, s *Stored, reader *cache.Reader, status CacheStatus) {
	a := h.newAsk(r, Verdict{})
	defer a.leave()
	if !s.Validators.None() {
		x, resp, err := a.send(r.Context(), Conditional(r.Header, s))
		switch {
		case err != nil:
		case x.Status == http.StatusNotModified && len(Identify([]*Stored{s}, x)) > 0:
			resp.Body.Close()
			fresh, _ := s.Freshen(x)
			status.Status = x.Status
			if h.send(w, r, fresh, reader, status) == nil {
				h.count.validated.Add(1)
				return
			}
		case x.Status == http.StatusOK && !limited(r.Header):
			reader.Close()
			h.count.passed.Add(1)
			h.proxyTo(&passing{visit: r, w: w, status: status, answered: resp})
			return
		default:
			resp.Body.Close()
		}
	}
	reader.Close()
	h.pass(w, r, status)
}

func (h *Handler) newProxy() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			to := passingOf(p.In.Context())
			p.Out.URL, p.Out.Host = to.target, to.target.Host
			AddVia(p.Out.Header, p.In.ProtoMajor, p.In.ProtoMinor, h.name)
			if !upgrades(p.In) {
				p.Out.Header.Del("Connection")
				p.Out.Header.Del("Upgrade")
			}
			for name := range p.Out.Header {
				if ofFirstHop(name) && name != "Expect" {
					delete(p.Out.Header, name)
				}
			}
			countDown(p.Out)
			if len(p.In.Trailer) > 0 && p.Out.Body != nil {
				p.Out.Body = &trailedBody{p.Out.Body, p.In.Trailer, p.Out.Trailer}
			}
		},
		Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			p := passingOf(r.Context())
			resp := p.answered
			if resp == nil {
				var err error
				if resp, err = h.roundTrip(p, r); err != nil {
					return nil, err
				}
			}
			resp.Request = r
			h.paid(r.Context(), resp)
			return resp, nil
		}),
		ModifyResponse: func(resp *http.Response) error {
			p := passingOf(resp.Request.Context())
			if failed(resp.StatusCode) && p.answered == nil && p.replaceable(Failure(resp.StatusCode)) {
				p.status.Status = resp.StatusCode
				return &answer{status: resp.StatusCode}
			}
			if resp.StatusCode == http.StatusSwitchingProtocols {
				h.openTunnel(resp)
			}
			h.changed(p, resp)
			p.status.Status = resp.StatusCode
			h.amend(resp.Header, p.target, protocol(resp))
			p.status.AddTo(resp.Header)
			// What is added to the origin's fields takes the place of ours. Nobody guesses what it has not told.
			header := p.w.Header()
			for name := range resp.Header {
				delete(header, name)
			}
			header["Content-Type"] = nil
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			p := passingOf(r.Context())
			if r.Context().Err() != nil {
				panic(http.ErrAbortHandler) // nobody is there to be answered
			}
			if h.serveInstead(w, p.visit, Failure(p.status.Status), p.status) {
				return
			}
			h.count.failures.Add(1)
			h.Log.Warn("no answer from the origin", "method", r.Method, "key", p.primary, "err", err)
			status := http.StatusBadGateway
			if timedOut(err) {
				status = http.StatusGatewayTimeout
			}
			h.refuse(w, p.status, status, "The origin does not answer.")
		},
		ErrorLog: slog.NewLogLogger(h.Log.Handler(), slog.LevelDebug),
	}
}

// replaceable is whether there is something stored that may be served in place of a failure.
func (p *passing) replaceable(failure Failure) bool {
	return p.chosen != nil && ServeOnFailure(p.Request, p.chosen.Stored, failure, time.Now())
}

// roundTrip asks the origin, which has little time to answer if there is something to be served instead.
func (h *Handler) roundTrip(p *passing, r *http.Request) (*http.Response, error) {
	if upgrades(p.original) {
		return h.upgrading.RoundTrip(r)
	}
	if !p.replaceable(NoAnswer) {
		return h.origin.RoundTrip(r)
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	timer := time.AfterFunc(h.patience(), func() {
		h.down.Store(time.Now().Add(downTime).UnixNano())
		cancel(errSlow)
	})
	resp, err := h.origin.RoundTrip(r.WithContext(ctx))
	if !timer.Stop() && err == nil {
		resp.Body.Close()
		err = errSlow
	}
	if err != nil {
		cancel(nil)
		return nil, err
	}
	h.down.Store(0)
	resp.Body = &boundBody{resp.Body, timer.Stop, cancel}
	return resp, nil
}

// changed forgets what an unsafe request may have changed, and learns that a resource's responses may be stored now.
func (h *Handler) changed(p *passing, resp *http.Response) {
	for _, key := range Invalidates(p.Method, p.target, resp.StatusCode, resp.Header) {
		u, err := p.target.Parse(key)
		if err != nil {
			continue
		}
		if primary := h.slots.primary(u); primary != "" {
			h.count.invalidated.Add(1)
			if err := h.slots.invalidate(primary); err != nil && !errors.Is(err, cache.ErrClosed) {
				h.Log.Error("changed response still in the cache", "key", primary, "err", err)
			}
		}
	}
	if p.answered == nil && p.Method == http.MethodGet && !p.control.NoStore {
		x := Exchange{Method: p.Method, Request: p.Header, Status: resp.StatusCode, Header: resp.Header, Received: time.Now()}
		if resp.StatusCode == http.StatusOK && Storable(x) == "" && len(resp.Trailer) == 0 && !secret(x) {
			h.readmit(p.crowd)
		}
	}
}

func (h *Handler) proxyTo(p *passing) {
	in := p.original.WithContext(context.WithValue(p.original.Context(), passingKey{}, p))
	if in.Body != nil && in.Body != http.NoBody {
		in.Body = &patientBody{in.Body, http.NewResponseController(p.w)}
	}
	h.proxy.ServeHTTP(p.w, in)
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// patientBody is a request's body that may take as long as it likes while some of it comes.
type patientBody struct {
	io.ReadCloser
	control *http.ResponseController
}

func (b *patientBody) Read(p []byte) (int, error) {
	_ = b.control.SetReadDeadline(time.Now().Add(bodyPatience)) // a test's recorder has none
	return b.ReadCloser.Read(p)
}

// trailedBody hands on the trailer that follows a request's content.
type trailedBody struct {
	io.ReadCloser
	from, to http.Header
}

func (b *trailedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF { //nolint:errorlint // as io.Reader demands
		maps.Copy(b.to, b.from)
	}
	return n, err
}

// refuse answers for an origin that does not (RFC 9457).
func (h *Handler) refuse(w http.ResponseWriter, status CacheStatus, code int, detail string) {
	text, err := json.Marshal(struct {
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
	}{http.StatusText(code), code, detail})
	if err != nil {
		panic(err) // a struct of plain fields
	}
	header := w.Header()
	header.Set("Content-Type", "application/problem+json")
	header.Set("Cache-Control", "no-store")
	header.Set("Cache-Status", status.String())
	header.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(code)
	_, _ = w.Write(text) // a client that has gone is not told
}
