package api

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/pureboot/pureboot/central/wire"
)

// Bounds of transfers.
const (
	maxUpload = wire.MaxFile    // bytes
	stall     = 1 * time.Minute // a transfer that stands still this long is cut
)

// cutError says that an upload did not arrive whole. Whose fault that is cannot be told, but the client can repeat it.
type cutError struct{ err error }

func (e *cutError) Error() string { return "the upload was cut off; nothing was stored" }
func (e *cutError) Unwrap() error { return e.err }

// upload is the body of a request that may take its time as long as it moves.
type upload struct {
	body    io.Reader
	control *http.ResponseController
	cut     atomic.Bool // by interrupt
}

func (u *upload) Read(p []byte) (int, error) {
	_ = u.control.SetReadDeadline(time.Now().Add(stall)) // where deadlines are not supported there are none to renew
	if u.cut.Load() {                                    // looked at after the deadline is set, which may have undone that of interrupt
		return 0, &cutError{os.ErrDeadlineExceeded}
	}
	n, err := u.body.Read(p)
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); err != nil && err != io.EOF && !tooLarge {
		err = &cutError{err}
	}
	return n, err
}

// interrupt ends the upload, also while a Read waits for bytes.
func (u *upload) interrupt() {
	u.cut.Store(true)
	_ = u.control.SetReadDeadline(time.Unix(1, 0)) // where deadlines are not supported a Read ends with the connection
}

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
