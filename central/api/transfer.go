package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/pureboot/pureboot/central/wire"
)

// Bounds of transfers.
const (
	maxUpload = 1 << 40         // bytes
	stall     = 1 * time.Minute // a transfer that stands still this long is cut
)

// cutError says that an upload did not arrive whole. Whose fault that is cannot be told, but the client can repeat it.
type cutError struct{ err error }

func (e *cutError) Error() string { return "the upload was cut off; nothing was stored" }
func (e *cutError) Unwrap() error { return e.err }

// upload is the body of a request that may take its time as long as it moves.
type upload struct {
	ctx     context.Context // of the request
	body    io.Reader
	control *http.ResponseController
}

func (u *upload) Read(p []byte) (int, error) {
	_ = u.control.SetReadDeadline(time.Now().Add(stall)) // where deadlines are not supported there are none to renew
	if err := u.ctx.Err(); err != nil {
		return 0, &cutError{err} // after the deadline is set, so that what interrupt does is not undone
	}
	n, err := u.body.Read(p)
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); err != nil && err != io.EOF && !tooLarge {
		err = &cutError{err}
	}
	return n, err
}

// interrupt ends a Read that waits for bytes, once the context is done.
func (u *upload) interrupt() { _ = u.control.SetReadDeadline(time.Unix(1, 0)) }

// download sends a body that may take its time as long as it moves, and makes problems of ServeContent's errors.
type download struct {
	http.ResponseWriter
	control *http.ResponseController
	encoded int64 // bytes of a form in Content-Encoding, whose length ServeContent does not say
	refused bool
}

func (d *download) WriteHeader(status int) {
	switch status {
	case http.StatusPreconditionFailed:
		d.refuse(status, "the file is not the one that was asked for: it has changed")
	case http.StatusRequestedRangeNotSatisfiable:
		d.refuse(status, "the file has no such range")
	case http.StatusOK:
		if d.encoded > 0 {
			d.Header().Set("Content-Length", strconv.FormatInt(d.encoded, 10))
		}
		d.ResponseWriter.WriteHeader(status)
	default:
		d.ResponseWriter.WriteHeader(status)
	}
}

func (d *download) refuse(status int, detail string) {
	d.refused = true
	for _, name := range []string{"Repr-Digest", "Content-Encoding", "Last-Modified", "X-Content-Type-Options"} {
		d.Header().Del(name)
	}
	d.Header().Set("Cache-Control", "no-cache") // which ServeContent takes from some errors
	writeProblem(d.ResponseWriter, wire.Problem{Status: status, Detail: detail})
}

func (d *download) Write(p []byte) (int, error) {
	if d.refused {
		return len(p), nil
	}
	_ = d.control.SetWriteDeadline(time.Now().Add(stall)) // where deadlines are not supported there are none to renew
	return d.ResponseWriter.Write(p)
}
