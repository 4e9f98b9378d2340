package gateway

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"path"
	"time"

	"github.com/pureboot/pureboot/agent/content"
)

// A body is sent in pieces, each under a deadline of its own: a slow machine may take hours for an image, as long as
// it takes some of it.
const (
	piece     = 1 << 20 // bytes
	pieceTime = 2 * time.Minute
)

// content is GET and HEAD /{category}/{path...}, with ranges and conditions (RFC 9110, sections 13 and 14).
func (g *Gateway) content(category string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !allow(w, r, http.MethodGet, http.MethodHead) {
			return
		}
		name := r.PathValue("path")
		if r.Method == http.MethodHead {
			info, status, err := g.Files.Stat(r.Context(), category, name)
			if err != nil {
				g.contentError(w, r, err)
				return
			}
			setCacheStatus(w, contentStatus(status, ""))
			describe(w, info)
			http.ServeContent(w, r, "", info.Modified, &sized{size: info.Size})
			return
		}
		g.lookups.Add(1)
		file, err := g.Files.Open(r.Context(), category, name)
		if err != nil {
			g.contentError(w, r, err)
			return
		}
		defer file.Close()
		if file.Status == content.Hit {
			g.hits.Add(1)
		}
		setCacheStatus(w, contentStatus(file.Status, file.Tier()))
		describe(w, file.Info)
		var body io.ReadSeeker = file
		if f, ok := file.File(); ok {
			body = f // which the kernel can send by itself
		}
		out := &paced{ResponseWriter: w, control: http.NewResponseController(w)}
		http.ServeContent(out, r, "", file.Modified, body)
		if out.err != nil {
			// The status has left; what remains is to make the body's end no end.
			g.Log.Warn("body cut", "category", category, "path", name, "client", r.RemoteAddr, "bytes", out.sent, "err", out.err)
			panic(http.ErrAbortHandler)
		}
	}
}

// describe sets the headers that say which version of a file this is.
func describe(w http.ResponseWriter, info content.Info) {
	h := w.Header()
	h.Set("ETag", `"`+info.SHA256.String()+`"`)
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Content-Type-Options", "nosniff")
	kind := "application/octet-stream"
	switch path.Ext(info.Path) {
	case ".efi":
		kind = "application/efi" // UEFI, section 24.7.3: HTTP boot takes it for a boot loader
	case ".ipxe", ".cfg", ".txt", ".conf", ".yaml", ".yml", ".ks", ".sh":
		kind = "text/plain; charset=utf-8"
	}
	h.Set("Content-Type", kind)
}

func (g *Gateway) contentError(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, content.ErrName):
		problem(w, http.StatusBadRequest, "This is no name of a file.")
	case errors.Is(err, fs.ErrNotExist):
		problem(w, http.StatusNotFound, "There is no such file.")
	case r.Context().Err() != nil && errors.Is(err, context.Canceled):
		problem(w, 499, "The client has gone.")
	default:
		g.Log.Error("file not served", "path", redact(r.URL.Path), "err", err)
		w.Header().Set("Retry-After", "5")
		problem(w, http.StatusServiceUnavailable, "The file is not in the cache, and central does not give it now.")
	}
}

// paced renews the write deadline for each piece, and keeps io.ReaderFrom, through which the kernel sends files.
type paced struct {
	http.ResponseWriter
	control *http.ResponseController
	sent    int64
	err     error // the first that sending or reading met
}

func (p *paced) Write(b []byte) (int, error) {
	n := 0
	for n < len(b) && p.err == nil {
		p.renew()
		var m int
		m, p.err = p.ResponseWriter.Write(b[n:min(n+piece, len(b))])
		n += m
		p.sent += int64(m)
	}
	return n, p.err
}

// ReadFrom implements io.ReaderFrom.
func (p *paced) ReadFrom(r io.Reader) (int64, error) {
	left := int64(-1) // not known
	limited, ok := r.(*io.LimitedReader)
	if ok {
		// The kernel looks only through one limit, and each piece brings its own.
		r, left = limited.R, limited.N
	}
	var n int64
	for left != 0 && p.err == nil {
		want := int64(piece)
		if left > 0 {
			want = min(want, left)
		}
		p.renew()
		var m int64
		m, p.err = io.CopyN(p.ResponseWriter, r, want)
		n += m
		p.sent += m
		if left > 0 {
			left -= m
			limited.N = left
		}
		if errors.Is(p.err, io.EOF) {
			p.err = nil
			if left > 0 {
				p.err = io.ErrUnexpectedEOF
			}
			break
		}
	}
	return n, p.err
}

func (p *paced) renew() {
	// A connection that cannot have a deadline, as in a test's recorder, does without.
	_ = p.control.SetWriteDeadline(time.Now().Add(pieceTime))
}

// Unwrap is for http.ResponseController.
func (p *paced) Unwrap() http.ResponseWriter { return p.ResponseWriter }

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
