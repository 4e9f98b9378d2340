package main

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pureboot/pureboot/central/content"
	"github.com/pureboot/pureboot/central/wire"
)

const (
	pathUploads = "/api/v1/content-uploads"
	atOnce      = 1 << 20 // bytes of a file that is sent with one request; a larger one can be continued
	uploadTries = 8       // without a byte that arrives, until an upload is given up
	firstWait   = 500 * time.Millisecond
	longestWait = 15 * time.Second
)

// upload brings a file to central.
type upload struct {
	c     *client
	bar   *progress
	file  *os.File
	of    session
	again bool   // although central has the bytes
	at    string // path of the session, empty if there is none
	known bool   // central had the bytes
}

// sessions returns the uploads that may be continued.
func (c *client) sessions(ctx context.Context) (map[session]string, error) {
	var list struct {
		Items []content.Session `json:"items"`
	}
	err := c.call(ctx, "GET", pathUploads, nil, &list)
	found := map[session]string{}
	for _, s := range list.Items {
		found[session{s.Category + "/" + s.Path, s.SHA256, s.Size}] = pathUploads + "/" + s.ID.String()
	}
	return found, err
}

// run tries until the file is there, as long as it makes progress, and returns how many bytes it sent. What central
// refuses for good is not tried again.
func (u *upload) run(ctx context.Context) (sent int64, err error) {
	wait := firstWait
	for try := 1; ; try++ {
		before := sent
		err = u.try(ctx, &sent)
		if err == nil || !worthwhile(err) {
			return sent, err
		}
		if sent > before {
			try, wait = 0, firstWait
		}
		if try >= uploadTries {
			return sent, fmt.Errorf("given up after %d tries: %w", try, err)
		}
		if refused, ok := errors.AsType[*wire.Refusal](err); ok {
			wait = max(wait, min(refused.RetryAfter, longestWait))
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return sent, context.Cause(ctx)
		}
		wait = min(2*wait, longestWait)
	}
}

// worthwhile says whether trying again may help: after a break of the network, and what central says of itself and
// the moment.
func worthwhile(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, errChanged) {
		return false
	}
	refused, ok := errors.AsType[*wire.Refusal](err)
	return !ok || refused.Status == 409 || refused.Status == 429 || refused.Status >= 500 && refused.Status != 507
}

// try sends what central does not have.
func (u *upload) try(ctx context.Context, sent *int64) error {
	if u.of.size <= atOnce {
		return u.put(ctx, sent)
	}
	offset := int64(-1)
	if u.at != "" {
		var err error
		if offset, err = u.offset(ctx); err != nil {
			return err
		}
	}
	if offset < 0 { // there is no session, or no longer
		done, err := u.begin(ctx)
		if done || err != nil {
			return err
		}
		offset = 0
	}
	return u.patch(ctx, offset, sent)
}

// put sends a small file with one request.
func (u *upload) put(ctx context.Context, sent *int64) error {
	sum, err := hex.DecodeString(u.of.sha256)
	if err != nil {
		return err
	}
	header := http.Header{"Repr-Digest": {"sha-256=:" + base64.StdEncoding.EncodeToString(sum) + ":"}}
	body := u.body(0)
	res, err := u.c.do(ctx, "PUT", pathOf(u.target()), sized{body, u.of.size}, header)
	if err := u.ended(body, sent, err); err != nil {
		return err
	}
	return decode(res, nil)
}

// begin announces the file. It is done if central has the bytes.
func (u *upload) begin(ctx context.Context) (done bool, err error) {
	f := u.target()
	res, err := u.c.sendJSON(ctx, "POST", pathUploads, http.Header{}, map[string]any{
		"category": f.Category, "path": f.Path, "size": u.of.size, "sha256": u.of.sha256, "again": u.again,
	})
	if err != nil {
		return false, err
	}
	u.at = res.Header.Get("Location")
	if u.at == "" {
		u.known = true
		u.bar.add(u.of.size)
	}
	return u.known, decode(res, nil)
}

// offset returns how much of the session central has, or -1 if it no longer has the session: if the file is stored,
// to announce it again finds that out.
func (u *upload) offset(ctx context.Context) (int64, error) {
	res, err := u.c.do(ctx, "HEAD", u.at, nil, nil)
	if refused, ok := errors.AsType[*wire.Refusal](err); ok && refused.Gone() {
		u.at = ""
		return -1, nil
	} else if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	offset, err := strconv.ParseInt(res.Header.Get("Upload-Offset"), 10, 64)
	if err != nil || offset < 0 || offset > u.of.size {
		return 0, errors.New("central does not say where to go on")
	}
	return offset, nil
}

// patch sends the rest of the file.
func (u *upload) patch(ctx context.Context, offset int64, sent *int64) error {
	body := u.body(offset)
	header := http.Header{"Upload-Offset": {strconv.FormatInt(offset, 10)}, "Content-Type": {"application/partial-upload"}}
	res, err := u.c.do(ctx, "PATCH", u.at, sized{body, u.of.size - offset}, header)
	if err := u.ended(body, sent, err); err != nil {
		return err
	}
	if res.Header.Get("Upload-Complete") != "?1" {
		res.Body.Close()
		return errors.New("central waits for more bytes than the file has")
	}
	return decode(res, nil)
}

// errChanged says that a file is not what it was a moment ago.
var errChanged = errors.New("it changed while it was read")

// ended is the end of a request. After an error it takes its progress back, and finds the reason in the file if it is
// there.
func (u *upload) ended(body *counted, sent *int64, err error) error {
	offset, readErr := body.end()
	*sent += offset - body.from
	if err == nil {
		return nil
	}
	u.bar.add(-offset)
	if readErr != nil && readErr != io.EOF {
		return readErr
	}
	if refused, ok := errors.AsType[*wire.Refusal](err); ok && refused.Status == http.StatusUnprocessableEntity {
		return errChanged
	}
	return err
}

func (u *upload) target() wire.File {
	category, path, _ := strings.Cut(u.of.name, "/")
	return wire.File{Category: category, Path: path}
}

// body reads the file from an offset on. The bytes before it count as done.
func (u *upload) body(offset int64) *counted {
	u.bar.add(offset)
	return &counted{r: io.NewSectionReader(u.file, offset, u.of.size-offset), bar: u.bar, from: offset, offset: offset}
}

// counted counts what is read of a body, until its end: net/http may go on reading when the answer is here.
type counted struct {
	r    io.Reader
	bar  *progress
	from int64 // offset in the file of what is read first

	mu     sync.Mutex
	offset int64 // of what is read next
	err    error
	over   bool
}

func (c *counted) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return 0, io.ErrClosedPipe
	}
	var n int
	n, c.err = c.r.Read(p)
	c.offset += int64(n)
	c.bar.add(int64(n))
	return n, c.err
}

// end lets nobody read on, and returns how far it came and why not further.
func (c *counted) end() (offset int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	return c.offset, c.err
}
