package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"path"
	"strconv"
	"strings"

	"github.com/pureboot/pureboot/agent/content"
	"github.com/pureboot/pureboot/agent/httpcache"
)

// content is GET and HEAD /{category}/{path...}, with ranges and conditions (RFC 9110, sections 13 and 14).
func (g *Gateway) content(category string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch name := r.PathValue("path"); {
		case !allow(w, r, http.MethodGet, http.MethodHead):
		case r.Method == http.MethodHead:
			g.statFile(w, r, category, name)
		default:
			g.sendFile(w, r, category, name)
		}
	}
}

// statFile answers HEAD, and fetches nothing for it.
func (g *Gateway) statFile(w http.ResponseWriter, r *http.Request, category, name string) {
	info, status, err := g.Files.Stat(r.Context(), category, name)
	if err != nil {
		g.contentError(w, r, err)
		return
	}
	setCacheStatus(w, contentStatus(status, ""))
	r.Header.Del("Range") // which only GET has (RFC 9110, section 14.2)
	g.send(w, r, g.represent(r, info), &sized{size: info.Size})
}

func (g *Gateway) sendFile(w http.ResponseWriter, r *http.Request, category, name string) {
	specs, ranged := httpcache.ParseRange(r.Header)
	if !ranged { // what is of another unit, or malformed, is ignored (RFC 9110, section 14.2)
		r.Header.Del("Range")
	}
	if g.sendNothing(w, r, category, name) {
		return
	}
	file, err := g.Files.OpenPart(r.Context(), category, name, func(size int64) (offset, length int64) {
		if spans := httpcache.Resolve(specs, size); len(spans) > 0 {
			return spans[0].Start, spans[0].Length()
		}
		return 0, size
	})
	if err != nil {
		g.contentError(w, r, err)
		return
	}
	defer file.Close()
	if ranged {
		askFor(r.Header, httpcache.Resolve(specs, file.Size()), file.Size())
	}
	out, ok := w.(*response)
	if ok && file.Status == content.Hit {
		out.level = slog.LevelDebug // a hit is a metric
	}
	setCacheStatus(w, contentStatus(file.Status, file.Tier()))
	var body io.ReadSeeker = file
	if f, whole := file.File(); whole {
		body = f // which the kernel can send by itself
	}
	g.send(w, r, g.represent(r, file.Info), body)
	if ok {
		file.Failed(out.err)
	}
}

// askFor has a request ask for these parts of a file, or for what is behind its end if there are none. http.ServeContent
// sends an empty part where the last 0 bytes are asked for, and all of the file where parts overlap too much.
func askFor(h http.Header, parts []httpcache.Span, size int64) {
	if len(parts) == 0 {
		parts = []httpcache.Span{{Start: size, End: size + 1}}
	}
	ranges := make([]string, len(parts))
	for i, part := range parts {
		ranges[i] = strings.TrimPrefix(part.Range(), "bytes=")
	}
	h.Set("Range", "bytes="+strings.Join(ranges, ", "))
}

// sendNothing answers who has what it would be sent: that needs no file. It reports false for all others.
func (g *Gateway) sendNothing(w http.ResponseWriter, r *http.Request, category, name string) bool {
	tags := r.Header.Get("If-None-Match")
	if tags == "" {
		return false
	}
	info, status, err := g.Files.Stat(r.Context(), category, name)
	if err != nil {
		return false
	}
	rep := g.represent(r, info)
	if !strings.Contains(tags, rep.entityTag()) {
		return false
	}
	setCacheStatus(w, contentStatus(status, ""))
	r.Header.Set("If-None-Match", rep.entityTag()) // whatever else is in it and may not be well-formed
	g.send(w, r, rep, &sized{size: info.Size})
	return true
}

// representation is a form of a file that a request gets: the file's own bytes or, with a coding, variant.
type representation struct {
	content.Info
	coding  content.Coding
	variant []byte
}

// represent chooses the form. A range is one of the file's own bytes: they alone can be resumed and put together.
func (g *Gateway) represent(r *http.Request, info content.Info) representation {
	if r.Header.Get("Range") == "" {
		coding := content.Negotiate(r.Header.Values("Accept-Encoding"))
		if variant, ok := g.Files.Variant(r.Context(), info, coding); ok {
			return representation{info, coding, variant}
		}
	}
	return representation{Info: info}
}

func (p representation) entityTag() string {
	if p.coding == content.Identity {
		return `"` + p.SHA256.String() + `"`
	}
	return `"` + p.SHA256.String() + "-" + string(p.coding) + `"`
}

// send answers with a form, or as the request's conditions want; identity is the file's own bytes.
func (g *Gateway) send(w http.ResponseWriter, r *http.Request, p representation, identity io.ReadSeeker) {
	p.describe(w.Header())
	out, ok := w.(*response)
	switch {
	case p.coding != content.Identity:
		http.ServeContent(coded{w, len(p.variant)}, r, "", p.Modified, bytes.NewReader(p.variant))
		if ok && r.Method == http.MethodGet && out.status == http.StatusOK && out.err == nil {
			g.Files.ServedVariant(p.Info, p.variant)
		}
		return
	case ok && wantsDigest(r):
		w.Header().Set("Repr-Digest", reprDigest(p.SHA256))
		w = digested{out}
	}
	http.ServeContent(w, r, "", p.Modified, identity)
}

// describe sets the headers that say which version and form of a file this is.
func (p representation) describe(h http.Header) {
	h.Set("ETag", p.entityTag())
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Content-Type-Options", "nosniff")
	if p.Negotiable() {
		h.Set("Vary", "Accept-Encoding")
	}
	if p.coding != content.Identity {
		h.Set("Content-Encoding", string(p.coding))
	}
	kind := "application/octet-stream"
	switch {
	case path.Ext(p.Path) == ".efi":
		kind = "application/efi" // UEFI, section 24.7.3: HTTP boot takes it for a boot loader
	case content.IsText(p.Path):
		kind = "text/plain; charset=utf-8"
	}
	h.Set("Content-Type", kind)
}

// coded says how long a variant is, which http.ServeContent does not where there is a Content-Encoding, and takes the
// coding from what is no variant.
type coded struct {
	http.ResponseWriter
	size int
}

func (w coded) WriteHeader(status int) {
	if status == http.StatusOK {
		w.Header().Set("Content-Length", strconv.Itoa(w.size))
	} else {
		w.Header().Del("Content-Encoding")
	}
	w.ResponseWriter.WriteHeader(status)
}

func (g *Gateway) contentError(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, content.ErrName):
		problem(w, http.StatusBadRequest, "This is no name of a file.")
	case errors.Is(err, fs.ErrNotExist):
		problem(w, http.StatusNotFound, "There is no such file.")
	case errors.Is(err, context.Canceled):
		problem(w, statusGone, "The client has gone.")
	default:
		g.log(r).Warn("file not served", "path", clip(r.URL.Path), "err", err)
		w.Header().Set("Retry-After", "5")
		problem(w, http.StatusServiceUnavailable, "The file is not in the cache, and central does not give it now.")
	}
}

// sized is a file of which nothing but the size is wanted.
type sized struct{ size, at int64 }

func (s *sized) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func (s *sized) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
		s.at = offset
	case io.SeekCurrent:
		s.at += offset
	case io.SeekEnd:
		s.at = s.size + offset
	}
	return s.at, nil
}
