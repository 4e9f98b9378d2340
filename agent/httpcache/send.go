package httpcache

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pureboot/pureboot/agent/cache"
)

// copySize is how many bytes are read of the store at once.
const copySize = 64 << 10

var copyBuffers = sync.Pool{New: func() any { return new([copySize]byte) }}

// send answers with s, whose bytes are the reader's, and closes it. It returns an error if nothing has been sent,
// because there is nothing to be sent. Once something has, a failure aborts the connection.
func (h *Handler) send(w http.ResponseWriter, r *visit, s *Stored, reader *cache.Reader, status CacheStatus) error {
	defer reader.Close()
	size := reader.Size()
	if s.Method == http.MethodHead {
		size = s.Size
	}
	code, spans := s.Status, []Span(nil)
	unmodified := CheckConditions(r.Request, s) == NotModified
	if !unmodified && size >= 0 {
		code, spans = SelectRanges(r.Request, s, size)
	}
	bodied := r.Method == http.MethodGet && !unmodified && code != http.StatusNoContent && code != http.StatusRequestedRangeNotSatisfiable
	if bodied {
		at, n := int64(0), size
		if len(spans) > 0 {
			at, n = spans[0].Start, spans[0].Length()
		}
		if err := prepare(reader, at, n); err != nil {
			return err
		}
		size = reader.Size() // which the end of a body without length tells
	}

	header := w.Header()
	now := time.Now()
	s.CopyTo(header, s.Age(now))
	h.amend(header, r.target, s.Protocol)
	if !status.HasTTL {
		status.HasTTL, status.TTL = true, s.TTL(now)
	}
	status.AddTo(header)
	header.Del("Content-Length")
	if len(header["Content-Type"]) == 0 {
		header["Content-Type"] = nil // net/http is not to guess what the origin has not told
	}
	if (code == http.StatusOK || len(spans) > 0) && size >= 0 {
		header["Accept-Ranges"] = []string{"bytes"}
	}
	if len(spans) > 0 { // they are of the whole content, not of this part (RFC 9530 section 2)
		delete(header, "Content-Digest")
		delete(header, "Content-Md5")
	}
	switch {
	case unmodified:
		TrimNotModified(header)
		w.WriteHeader(http.StatusNotModified)
		return nil
	case code == http.StatusRequestedRangeNotSatisfiable:
		TrimNotModified(header)
		header.Del("Etag")
		header.Set("Content-Range", ContentRange{Size: size, Unsatisfied: true}.String())
		header.Set("Content-Length", "0")
		w.WriteHeader(code)
		return nil
	}
	var err error
	switch {
	case len(spans) > 1:
		err = h.sendParts(w, s, reader, spans, size)
	case len(spans) == 1:
		header.Set("Content-Range", ContentRange{Span: spans[0], Size: size}.String())
		header.Set("Content-Length", strconv.FormatInt(spans[0].Length(), 10))
		w.WriteHeader(code)
		err = h.copy(w, reader, spans[0].Start, spans[0].Length())
	default:
		if size >= 0 && code != http.StatusNoContent {
			header.Set("Content-Length", strconv.FormatInt(size, 10))
		}
		w.WriteHeader(code)
		if bodied {
			err = h.copy(w, reader, 0, size)
		}
	}
	if err != nil {
		h.Log.Debug("body cut", "key", r.key, "err", err)
		panic(http.ErrAbortHandler)
	}
	return nil
}

// prepare has the reader stand at the first byte that is wanted, with n of them to come, -1 if that is not known. It
// waits until that byte is there.
func prepare(reader *cache.Reader, at, n int64) error {
	if _, err := reader.Seek(at, io.SeekStart); err != nil {
		return err
	}
	if n >= 0 {
		reader.Expect(n)
	}
	return reader.Ready()
}

// copy sends n bytes from at on; all there are if n is -1.
func (h *Handler) copy(w http.ResponseWriter, reader *cache.Reader, at, n int64) error {
	if _, err := reader.Seek(at, io.SeekStart); err != nil {
		return err
	}
	if n < 0 {
		return h.copyAll(w, reader)
	}
	reader.Expect(n)
	if file, ok := reader.File(); ok {
		sent, err := sendFile(w, file, at, n)
		h.count.sent.Add(sent)
		reader.Failed(err)
		return err
	}
	if reader.Tier() != cache.TierHot {
		_ = http.NewResponseController(w).Flush() // the header: what follows it may take its time
	}
	from := &sending{Reader: reader, count: &h.count.sent}
	sent, err := io.CopyN(w, from, n)
	from.move(sent - from.moved)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// copyAll sends what there is of a body whose length nobody knows yet.
func (h *Handler) copyAll(w http.ResponseWriter, reader *cache.Reader) error {
	buf := copyBuffers.Get().(*[copySize]byte)
	defer copyBuffers.Put(buf)
	control := http.NewResponseController(w)
	for {
		n, err := reader.Read(buf[:])
		if n > 0 {
			sent, err := w.Write(buf[:n])
			h.count.sent.Add(int64(sent))
			if err != nil {
				return err
			}
			_ = control.Flush() // who cannot flush sends when it likes
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// sending is a reader whose bytes count as sent while they are. A ResponseWriter may know cache.Reader.Sendable, and
// have the kernel send what is there; it then moves the reader on.
type sending struct {
	*cache.Reader
	count *atomic.Int64
	moved int64
}

func (s *sending) move(n int64) {
	s.moved += n
	s.count.Add(n)
}

// Read implements io.Reader.
func (s *sending) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	s.move(int64(n))
	return n, err
}

// Seek implements io.Seeker.
func (s *sending) Seek(offset int64, whence int) (int64, error) {
	if whence == io.SeekCurrent {
		s.move(offset)
	}
	return s.Reader.Seek(offset, whence)
}

// sendFile has the kernel send n bytes of a whole file.
func sendFile(w io.Writer, file *os.File, at, n int64) (int64, error) {
	if _, err := file.Seek(at, io.SeekStart); err != nil {
		return 0, err
	}
	return io.CopyN(w, file, n)
}

// sendParts sends several parts as multipart/byteranges (RFC 9110 section 14.6).
func (h *Handler) sendParts(w http.ResponseWriter, s *Stored, reader *cache.Reader, spans []Span, size int64) error {
	boundary := rand.Text()
	heads := make([][]byte, len(spans))
	length := int64(0)
	for i, span := range spans {
		var head bytes.Buffer
		if i > 0 {
			head.WriteString("\r\n")
		}
		fmt.Fprintf(&head, "--%s\r\n", boundary)
		for _, kind := range s.Header["Content-Type"] {
			fmt.Fprintf(&head, "Content-Type: %s\r\n", textproto.TrimString(kind))
		}
		fmt.Fprintf(&head, "Content-Range: %s\r\n\r\n", ContentRange{Span: span, Size: size})
		heads[i] = head.Bytes()
		length += int64(head.Len()) + span.Length()
	}
	tail := "\r\n--" + boundary + "--\r\n"
	header := w.Header()
	header.Set("Content-Type", "multipart/byteranges; boundary="+boundary)
	header.Set("Content-Length", strconv.FormatInt(length+int64(len(tail)), 10))
	w.WriteHeader(http.StatusPartialContent)
	for i, span := range spans {
		if _, err := w.Write(heads[i]); err != nil {
			return err
		}
		if err := h.copy(w, reader, span.Start, span.Length()); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, tail)
	return err
}
