package api

import (
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/pureboot/pureboot/central/content"
	"github.com/pureboot/pureboot/central/wire"
)

// sendEncoded sends the zstd form of a file to an agent that asks for the whole of it and prefers that form (RFC 9110,
// section 12.5.3); it reports false where the file is to go out as it is. The form is a representation of its own, with
// its own entity tag and digest; ranges and what is resumed are of the file itself. An administrator always gets that:
// its tag is the one that guards writing.
func (a *api) sendEncoded(w *download, r *http.Request, file wire.File) bool {
	tag := `"` + file.SHA256 + `-zstd"`
	match := r.Header.Get("If-Match")
	switch {
	case caller(r.Context()).role != "":
		return false
	case r.Header.Get("Range") != "" || wire.PreferredCoding(r.Header.Values("Accept-Encoding"), "zstd") != "zstd":
		return false
	case match != "" && match != "*" && !strings.Contains(match, tag): // an older agent's, which knows the file's tag alone
		return false
	}
	body, form, ok := a.Encodings.Open(r.Context(), file, func(ctx context.Context) (io.ReadSeekCloser, error) {
		in, current, err := a.Content.Open(ctx, file.Category, file.Path)
		if err == nil && current.SHA256 != file.SHA256 {
			in.Close()
			err = content.ErrNotFound
		}
		return in, err
	})
	if !ok {
		return false
	}
	defer body.Close()
	w.encoded = form.Size
	h := w.Header()
	h.Set("ETag", tag)
	h.Set("Content-Encoding", "zstd")
	h.Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(form.SHA256[:])+":") // of the coded bytes (RFC 9530, section 3)
	http.ServeContent(w, r, "", time.Time{}, body)
	return true
}
