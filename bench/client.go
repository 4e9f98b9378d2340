package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// request is what one client asks of a proxy.
type request struct {
	obj     *object
	method  string // empty: GET
	from    int64  // of a range that ends before to, if to is not 0
	to      int64
	leaveAt int64       // hang up after so many bytes, if it is not 0
	pace    int64       // read so many bytes per second, if it is not 0
	reached func(int64) // told how many bytes have come, each time some do; may be nil
}

// verdict says what an answer is worth.
type verdict int

const (
	cut   verdict = iota // visibly not whole, or an error, or no answer at all
	right                // every byte as it is at the origin
	wrong                // looks whole, and is not, or has a wrong byte
)

// reply is what a client got.
type reply struct {
	verdict verdict
	err     error // why it is not right
	status  int
	length  int64         // Content-Length, or -1
	bytes   int64         // of the body
	first   time.Duration // to the first byte of the body
	total   time.Duration
}

// errLeft is why a client that hung up itself did not get it all.
var errLeft = errors.New("left")

// buffers are the clients' own; large, so that a herd does not measure itself.
var buffers = sync.Pool{New: func() any { return new([maxPiece]byte) }}

// ask makes the request on a connection of its own and checks every byte.
func ask(ctx context.Context, url string, q request) (r reply) {
	began := time.Now()
	defer func() { r.total = time.Since(began) }()
	dialer := &net.Dialer{}
	transport := &http.Transport{
		DisableKeepAlives: true, DisableCompression: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, addr)
			if tcp, ok := conn.(*net.TCPConn); ok && q.pace > 0 {
				err = errors.Join(err, tcp.SetReadBuffer(64<<10)) // a slow machine does not buffer what it cannot take
			}
			return conn, err
		},
	}
	defer transport.CloseIdleConnections()
	method := q.method
	if method == "" {
		method = http.MethodGet
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return reply{err: err}
	}
	if q.to > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", q.from, q.to-1))
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return reply{err: err}
	}
	defer res.Body.Close()
	r = reply{verdict: right, status: res.StatusCode, length: res.ContentLength}
	var size int64
	c := checker{texts: q.obj.texts()}
	switch {
	case res.StatusCode == http.StatusOK:
		size = q.obj.size
	case res.StatusCode == http.StatusPartialContent && q.to > 0:
		size, c.offset = q.to-q.from, q.from
		want := fmt.Sprintf("bytes %d-%d/%d", q.from, q.to-1, q.obj.size)
		if got := res.Header.Get("Content-Range"); got != want {
			r.verdict, r.err = wrong, fmt.Errorf("content-range %q, want %q", got, want)
			return r
		}
	default:
		r.verdict, r.err = cut, fmt.Errorf("status %d", res.StatusCode)
		return r
	}
	if method == http.MethodHead {
		if r.length != size {
			r.verdict, r.err = wrong, fmt.Errorf("content-length %d, want %d", r.length, size)
		}
		return r
	}
	r.read(ctx, res.Body, &c, q, began)
	if r.err == nil && r.bytes != size {
		r.verdict, r.err = wrong, fmt.Errorf("a whole body of %d bytes, want %d", r.bytes, size)
	}
	return r
}

// read reads the body until it ends or the client leaves.
func (r *reply) read(ctx context.Context, body io.Reader, c *checker, q request, began time.Time) {
	buf := buffers.Get().(*[maxPiece]byte)
	defer buffers.Put(buf)
	p := buf[:]
	if q.pace > 0 {
		p = p[:16<<10]
	}
	for {
		n, err := body.Read(p)
		if n > 0 && r.bytes == 0 {
			r.first = time.Since(began)
		}
		r.bytes += int64(n)
		if bad := c.check(p[:n]); bad != nil {
			r.verdict, r.err = wrong, bad
			return
		}
		if q.reached != nil && n > 0 {
			q.reached(r.bytes)
		}
		switch {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			r.verdict, r.err = cut, err
			return
		case q.leaveAt > 0 && r.bytes >= q.leaveAt:
			r.verdict, r.err = cut, errLeft
			return
		}
		if q.pace > 0 {
			due := began.Add(time.Duration(float64(r.bytes) / float64(q.pace) * float64(time.Second)))
			if err := sleep(ctx, time.Until(due)); err != nil {
				r.verdict, r.err = cut, err
				return
			}
		}
	}
}

// herd makes the same request n times at once.
func herd(ctx context.Context, n int, url string, q request) []reply {
	replies := make([]reply, n)
	var all sync.WaitGroup
	gate := make(chan struct{})
	for i := range n {
		all.Go(func() {
			<-gate
			replies[i] = ask(ctx, url, q)
		})
	}
	close(gate)
	all.Wait()
	return replies
}

// firsts returns how long each of the right ones waited for its first byte.
func firsts(replies []reply) (all []time.Duration) {
	for _, r := range replies {
		if r.verdict == right {
			all = append(all, r.first)
		}
	}
	return all
}

// last returns how long the slowest of the right ones took.
func last(replies []reply) (d time.Duration) {
	for _, r := range replies {
		if r.verdict == right {
			d = max(d, r.total)
		}
	}
	return d
}
