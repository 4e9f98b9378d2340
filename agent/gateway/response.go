package gateway

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
)

// A body is sent in pieces, each under a deadline of its own: a slow machine may take hours for an image, as long as
// it takes some of it.
const (
	piece     = 1 << 20 // bytes
	pieceTime = 2 * time.Minute
)

// response counts what is sent, renews the write deadline for each piece of it, and keeps io.ReaderFrom, through
// which the kernel sends files by itself.
type response struct {
	http.ResponseWriter
	control  *http.ResponseController
	patience time.Duration // for each piece

	level  slog.Level // of the line that the request gets in the log if nothing is wrong
	status int
	bytes  int64
	sent   *atomic.Int64 // counts them too, for all responses; nil: nothing does
	err    error         // the first that sending, or reading what is to be sent, met
}

func newResponse(w http.ResponseWriter, patience time.Duration) *response {
	return &response{ResponseWriter: w, control: http.NewResponseController(w), patience: patience}
}

func (w *response) WriteHeader(status int) {
	if w.status < 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *response) Write(b []byte) (n int, err error) {
	w.begin()
	for n < len(b) && w.err == nil {
		w.renew()
		var m int
		m, w.err = w.ResponseWriter.Write(b[n:min(n+piece, len(b))])
		n += m
		w.add(int64(m))
	}
	return n, w.err
}

// ReadFrom implements io.ReaderFrom. A limit that is not reached is an error: nothing here says that it sends more
// than it has.
func (w *response) ReadFrom(r io.Reader) (n int64, err error) {
	w.begin()
	limit, limited := r.(*io.LimitedReader)
	if limited {
		switch from := limit.R.(type) {
		case *os.File:
			return w.sendFile(from, limit)
		case sendable:
			if n, err = w.sendStretches(from, limit); err != nil || limit.N == 0 {
				return n, err
			}
		}
	}
	copied, err := io.Copy(pushing{w}, r)
	n += copied
	if err == nil && limited && limit.N > 0 {
		err = io.ErrUnexpectedEOF
	}
	if w.err == nil {
		w.err = err
	}
	return n, err
}

// pushing hides ReadFrom: what is read from a fill is written under a deadline that begins when it is there. And it
// leaves nothing in net/http's buffers, since what comes next may take its time.
type pushing struct{ w *response }

func (p pushing) Write(b []byte) (int, error) {
	n, err := p.w.Write(b)
	if err == nil {
		_ = p.w.control.Flush() // who cannot flush sends when it likes
	}
	return n, err
}

// sendFile has the kernel send the file. It does so through one limit, not through two, and each piece brings its own.
func (w *response) sendFile(file *os.File, limit *io.LimitedReader) (n int64, err error) {
	for limit.N > 0 && w.err == nil {
		w.renew()
		var m int64
		m, w.err = io.CopyN(w.ResponseWriter, file, min(piece, limit.N))
		n += m
		limit.N -= m
		w.add(m)
		if errors.Is(w.err, io.EOF) {
			w.err = io.ErrUnexpectedEOF
		}
	}
	return n, w.err
}

// sendable is a file that may still be growing, such as a cache.Reader.
type sendable interface {
	Sendable(most int64) (*os.File, int64, error)
	Seek(offset int64, whence int) (int64, error)
}

// firstStretch is how many bytes a machine gets before others of its herd that have none yet: about what TCP sends before
// it waits for an acknowledgement (RFC 6928).
const firstStretch = 16 << 10

// sendStretches has the kernel send what is there, again and again as more comes. What it cannot send it leaves
// unsent: a reader that is read can still turn from a disk that fails.
func (w *response) sendStretches(from sendable, limit *io.LimitedReader) (n int64, err error) {
	for limit.N > 0 && w.err == nil {
		most := int64(piece)
		if n == 0 {
			most = firstStretch
		}
		file, length, err := from.Sendable(min(most, limit.N))
		if err != nil {
			w.err = err
			break
		}
		if file == nil {
			return n, nil
		}
		w.renew()
		sent, err := io.CopyN(w.ResponseWriter, file, length)
		n += sent
		limit.N -= sent
		w.add(sent)
		if _, failed := from.Seek(sent, io.SeekCurrent); err == nil {
			err = failed
		}
		if errors.Is(err, syscall.EIO) || errors.Is(err, io.EOF) {
			return n, nil
		}
		if w.err = err; err == nil && limit.N > 0 {
			_ = w.control.Flush() // a few bytes at the beginning, which net/http keeps; who cannot flush sends when it likes
			if n == sent {
				runtime.Gosched()
			}
		}
	}
	return n, w.err
}

func (w *response) add(n int64) {
	w.bytes += n
	if w.sent != nil {
		w.sent.Add(n)
	}
}

// begin notes the status that is sent when a handler names none.
func (w *response) begin() {
	if w.status < 200 {
		w.status = http.StatusOK
	}
}

func (w *response) renew() {
	// A connection that cannot have a deadline, as in a test's recorder, does without.
	_ = w.control.SetWriteDeadline(time.Now().Add(w.patience))
}

// Unwrap is for http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }
