package main

import (
	"context"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
)

// span is a range of bytes that ends before to.
type span struct{ from, to int64 }

// askParts asks for several ranges at once. All of the object is a right answer too, and so are fewer parts that cover
// the same (RFC 9110, sections 14.2 and 15.3.7.2).
func askParts(ctx context.Context, url string, obj *object, spans []span) (r reply) {
	transport := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return reply{err: err}
	}
	var ranges []string
	for _, s := range spans {
		ranges = append(ranges, fmt.Sprintf("%d-%d", s.from, s.to-1))
	}
	req.Header.Set("Range", "bytes="+strings.Join(ranges, ", "))
	res, err := transport.RoundTrip(req)
	if err != nil {
		return reply{err: err}
	}
	defer res.Body.Close()
	r = reply{status: res.StatusCode, length: res.ContentLength}
	got := spans
	switch kind, params, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); {
	case res.StatusCode == http.StatusOK:
		got = []span{{0, obj.size}}
		err = r.part(res.Body, obj, got[0])
	case res.StatusCode == http.StatusPartialContent && kind == "multipart/byteranges":
		got, err = r.parts(multipart.NewReader(res.Body, params["boundary"]), obj)
	case res.StatusCode == http.StatusPartialContent:
		got, err = r.onePart(res.Header.Get("Content-Range"), res.Body, obj)
	default:
		r.err = fmt.Errorf("status %d", res.StatusCode)
		return r
	}
	for _, s := range spans {
		if err == nil && !covered(s, got) {
			err = fmt.Errorf("bytes %d to %d are missing", s.from, s.to)
		}
	}
	if r.err = err; err != nil {
		r.verdict = wrong
		return r
	}
	r.verdict = right
	return r
}

func (r *reply) parts(in *multipart.Reader, obj *object) (got []span, err error) {
	for {
		part, err := in.NextRawPart()
		if err == io.EOF { //nolint:errorlint // as NextRawPart says
			return got, nil
		}
		if err != nil {
			return got, err
		}
		one, err := r.onePart(part.Header.Get("Content-Range"), part, obj)
		if err != nil {
			return got, err
		}
		got = append(got, one...)
	}
}

func (r *reply) onePart(header string, body io.Reader, obj *object) ([]span, error) {
	var s span
	var size int64
	if _, err := fmt.Sscanf(header, "bytes %d-%d/%d", &s.from, &s.to, &size); err != nil || size != obj.size {
		return nil, fmt.Errorf("content-range %q of %d bytes", header, obj.size)
	}
	s.to++
	return []span{s}, r.part(body, obj, s)
}

// part checks the bytes of a range, and that there are no more of them.
func (r *reply) part(body io.Reader, obj *object, s span) error {
	c := checker{texts: obj.texts(), offset: s.from}
	buf := buffers.Get().(*[maxPiece]byte)
	defer buffers.Put(buf)
	for {
		n, err := body.Read(buf[:])
		r.bytes += int64(n)
		if bad := c.check(buf[:n]); bad != nil {
			return bad
		}
		if err == io.EOF { //nolint:errorlint // as io.Reader says
			break
		}
		if err != nil {
			return err
		}
	}
	if c.offset != s.to {
		return fmt.Errorf("a part from %d ends at %d, not at %d", s.from, c.offset, s.to)
	}
	return nil
}

// covered says whether one of the parts has all of s.
func covered(s span, parts []span) bool {
	for _, p := range parts {
		if p.from <= s.from && s.to <= p.to {
			return true
		}
	}
	return false
}
