package gateway

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"path"
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
	describe(w, info)
	r.Header.Del("Range") // which only GET has (RFC 9110, section 14.2)
	http.ServeContent(w, r, "", info.Modified, &sized{size: info.Size})
}

func (g *Gateway) sendFile(w http.ResponseWriter, r *http.Request, category, name string) {
	if g.known(r, category, name) {
		g.statFile(w, r, category, name) // 304 needs no file
		return
	}
	file, err := g.Files.OpenPart(r.Context(), category, name, func(size int64) (offset, length int64) {
		if specs, ok := httpcache.ParseRange(r.Header); ok {
			if spans := httpcache.Resolve(specs, size); len(spans) > 0 {
				return spans[0].Start, spans[0].Length()
			}
		}
		return 0, size
	})
	if err != nil {
		g.contentError(w, r, err)
		return
	}
	defer file.Close()
	setCacheStatus(w, contentStatus(file.Status, file.Tier()))
	describe(w, file.Info)
	var body io.ReadSeeker = file
	if f, ok := file.File(); ok {
		body = f // which the kernel can send by itself
	}
	http.ServeContent(w, r, "", file.Modified, body)
}

// known says whether the client has the version that it would be sent.
func (g *Gateway) known(r *http.Request, category, name string) bool {
	tags := r.Header.Get("If-None-Match")
	if tags == "" {
		return false
	}
	info, _, err := g.Files.Stat(r.Context(), category, name)
	return err == nil && strings.Contains(tags, entityTag(info))
}

func entityTag(info content.Info) string { return `"` + info.SHA256.String() + `"` }

// describe sets the headers that say which version of a file this is.
func describe(w http.ResponseWriter, info content.Info) {
	h := w.Header()
	h.Set("ETag", entityTag(info))
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
