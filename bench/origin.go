package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pureboot/pureboot/central/wire"
)

// originPrefix is where the objects are at the plain origin, and at every proxy of it.
const originPrefix = "/o/"

// origin is where all bytes come from. It speaks plain HTTP to proxies, and to agents what central says. Both faces
// share one link.
type origin struct {
	link  link
	pacer pacer

	http    face
	central face
	ca      *authority

	mu      sync.Mutex
	objects map[string]*object
	history []*object // in order of their publication, the last one of each counts
}

// face is one listener of the origin, and the longer way to it.
type face struct {
	server *http.Server
	detour *detour
	addr   string // to be asked at
}

// newOrigin serves until it is closed.
func newOrigin(l link) (*origin, error) {
	ca, err := newAuthority()
	if err != nil {
		return nil, err
	}
	noise() // the first who asks is not to wait for it
	o := &origin{link: l, pacer: pacer{rate: l.rate}, ca: ca, objects: map[string]*object{}}
	o.http.server = &http.Server{Handler: http.HandlerFunc(o.servePlain)}
	o.central.server = &http.Server{Handler: o.centralRoutes(), TLSConfig: ca.config()}
	if err := errors.Join(o.http.listen(l.rtt, false), o.central.listen(l.rtt, true)); err != nil {
		return nil, errors.Join(err, o.close())
	}
	return o, nil
}

func (f *face) listen(rtt time.Duration, tls bool) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	f.addr = l.Addr().String()
	f.server.ReadHeaderTimeout = time.Minute
	f.server.ErrorLog = quiet
	go func() {
		if tls {
			_ = f.server.ServeTLS(l, "", "") // it ends with close
		} else {
			_ = f.server.Serve(l)
		}
	}()
	if rtt > 0 {
		if f.detour, err = newDetour(f.addr, rtt); err != nil {
			return err
		}
		f.addr = f.detour.Addr().String()
	}
	return nil
}

func (f *face) close() error {
	err := f.server.Close()
	if f.detour != nil {
		err = errors.Join(err, f.detour.close())
	}
	return err
}

func (o *origin) close() error { return errors.Join(o.http.close(), o.central.close()) }

// add makes an object, of which agents hear by their manifest if it is central's.
func (o *origin) add(s spec) *object {
	obj := newObject(s)
	if obj.central {
		obj.current().describe() // before anybody asks
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.objects[obj.name] = obj
	if obj.central {
		o.publish(obj)
	}
	return obj
}

// publish makes the object the newest in the history. mu is held.
func (o *origin) publish(obj *object) {
	o.history = append(o.history, obj)
	obj.published = len(o.history)
}

func (o *origin) find(name string) *object {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.objects[name]
}

// epoch is that of what was published so far.
func (o *origin) epoch() wire.Epoch {
	o.mu.Lock()
	defer o.mu.Unlock()
	return wire.Epoch{Stream: "bench", N: int64(len(o.history))}
}

func (o *origin) servePlain(w http.ResponseWriter, r *http.Request) {
	name, ok := strings.CutPrefix(r.URL.Path, originPrefix)
	obj := o.find(name)
	switch {
	case !ok || obj == nil:
		http.NotFound(w, r)
		return
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		http.Error(w, "want GET or HEAD", http.StatusMethodNotAllowed)
		return
	}
	v := obj.current()
	w.Header().Set("Cache-Control", "public, max-age=86400")
	if obj.tag != "" {
		w.Header().Set("Cache-Tag", obj.tag)
	}
	if !obj.noValidator {
		w.Header().Set("Last-Modified", v.modified.Format(http.TimeFormat))
	}
	o.send(w, r, obj, v, obj.etag(v))
}

// send answers a request for a version's bytes (RFC 9110, sections 13 and 14; of ranges only single ones). It counts
// what it sends and commits the object's faults.
func (o *origin) send(w http.ResponseWriter, r *http.Request, obj *object, v *version, etag string) {
	h := w.Header()
	obj.note("%s %s range=%q if-range=%q if-none-match=%q", r.Method, r.Proto, r.Header.Get("Range"), r.Header.Get("If-Range"), r.Header.Get("If-None-Match"))
	h.Set("Content-Type", "application/octet-stream")
	if obj.noValidator {
		etag = ""
	} else {
		h.Set("ETag", etag)
	}
	if !obj.ignoreRange {
		h.Set("Accept-Ranges", "bytes")
	}
	if etag != "" && r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	from, to, status := int64(0), obj.size, http.StatusOK
	if r.Method == http.MethodHead {
		obj.heads.Add(1)
		if !obj.noLength {
			h.Set("Content-Length", strconv.FormatInt(obj.size+obj.extra, 10))
		}
		return
	}
	obj.gets.Add(1)
	if text := r.Header.Get("Range"); text != "" && !obj.ignoreRange && ifRange(r.Header.Get("If-Range"), etag, h.Get("Last-Modified")) {
		var err error
		if from, to, err = parseRange(text, obj.size); err != nil {
			h.Set("Content-Range", fmt.Sprintf("bytes */%d", obj.size))
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return
		}
		if obj.wrongRange && from >= 4096 {
			from -= 4096
		}
		status = http.StatusPartialContent
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, obj.size))
	}
	if !obj.noLength {
		h.Set("Content-Length", strconv.FormatInt(to-from+obj.extra, 10))
	}
	w.WriteHeader(status)
	obj.sending.Add(1)
	defer obj.sending.Add(-1)
	if err := o.body(w, r.Context(), obj, v, from, to); err != nil || obj.extra > 0 {
		panic(http.ErrAbortHandler)
	}
}

var errCut = errors.New("cut")

// body sends the bytes of a version between two offsets at the pace of the link.
func (o *origin) body(w http.ResponseWriter, ctx context.Context, obj *object, v *version, from, to int64) error {
	flush := func() { _ = http.NewResponseController(w).Flush() } // what cannot be flushed fails at the next write
	flush()
	for from < to {
		end := min(from+int64(o.pacer.piece()), to)
		cut := obj.nextCut(from, end+1)
		if cut >= 0 {
			end = min(cut, to)
		}
		p := v.text.at(from, int(end-from))
		if err := o.pacer.wait(ctx, len(p)); err != nil {
			return err
		}
		if _, err := w.Write(obj.spoil(p, from)); err != nil {
			return err
		}
		obj.sent.Add(int64(len(p)))
		obj.sentOf.Add(max(0, min(from+int64(len(p)), obj.watched.to)-max(from, obj.watched.from)))
		from += int64(len(p))
		if from != cut || from == to {
			continue
		}
		taken, changed := obj.takeCut(cut)
		if changed && obj.central {
			obj.current().describe()
			o.mu.Lock()
			o.publish(obj)
			o.mu.Unlock()
		}
		if taken {
			flush()
			return errCut
		}
	}
	flush()
	return nil
}

// spoil returns p, or p with the byte flipped that is to be.
func (o *object) spoil(p []byte, from int64) []byte {
	if o.flipAt <= 0 || o.flipAt < from || o.flipAt >= from+int64(len(p)) || o.flipped.Add(1) > o.flips {
		return p
	}
	spoilt := append([]byte(nil), p...)
	spoilt[o.flipAt-from] ^= 1
	return spoilt
}

// ifRange says whether a range may be answered with a part (RFC 9110, section 13.1.5).
func ifRange(condition, etag, modified string) bool {
	return condition == "" || condition == etag && etag != "" || condition == modified && modified != ""
}

var errRange = errors.New("range not satisfiable")

// parseRange reads a single range and returns the offsets of its first byte and of that after its last one.
func parseRange(text string, size int64) (from, to int64, err error) {
	text, ok := strings.CutPrefix(text, "bytes=")
	first, last, dash := strings.Cut(text, "-")
	if !ok || !dash || strings.Contains(text, ",") {
		return 0, 0, errRange
	}
	to = size
	if first == "" {
		n, err := strconv.ParseInt(last, 10, 64)
		if err != nil || n <= 0 {
			return 0, 0, errRange
		}
		return max(0, size-n), size, nil
	}
	if from, err = strconv.ParseInt(first, 10, 64); err != nil || from < 0 || from >= size {
		return 0, 0, errRange
	}
	if last != "" {
		n, err := strconv.ParseInt(last, 10, 64)
		if err != nil || n < from {
			return 0, 0, errRange
		}
		to = min(n+1, size)
	}
	return from, to, nil
}
