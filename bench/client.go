package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
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
	first   time.Duration // from the request to the first byte of the body
	total   time.Duration
}

// errLeft is why a client that hung up itself did not get it all.
var errLeft = errors.New("left")

// buffers are the clients' own; large, so that a herd does not measure itself.
var buffers = sync.Pool{New: func() any { return new([maxPiece]byte) }}

// client is a connection and what it takes to use it. It is as little as possible, for the clients have the cores in
// common with the servers.
type client struct {
	conn net.Conn
	in   *bufio.Reader
	buf  *[maxPiece]byte
}

func connect(ctx context.Context, target string, pace int64) (*client, error) {
	u, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return nil, err
	}
	if pace > 0 { // a slow machine does not buffer what it cannot take
		if err := conn.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	c := &client{conn: conn, in: bufio.NewReader(conn), buf: buffers.Get().(*[maxPiece]byte)}
	clear(c.buf[:]) // its pages are there when it is used
	return c, nil
}

func (c *client) close() {
	c.conn.Close()
	buffers.Put(c.buf)
}

// ask makes the request on a connection of its own and checks every byte.
func ask(ctx context.Context, target string, q request) reply {
	c, err := connect(ctx, target, q.pace)
	if err != nil {
		return reply{err: err}
	}
	defer c.close()
	return c.ask(ctx, target, q)
}

// ask makes the client's one request and checks every byte.
func (c *client) ask(ctx context.Context, target string, q request) (r reply) {
	method := q.method
	if method == "" {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(ctx, method, target, nil)
	if err != nil {
		return reply{err: err}
	}
	req.Close = true
	if q.to > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", q.from, q.to-1))
	}
	began := time.Now()
	defer func() { r.total = time.Since(began) }()
	defer context.AfterFunc(ctx, func() { c.conn.Close() })()
	if err := req.Write(c.conn); err != nil {
		return reply{err: err}
	}
	res, err := http.ReadResponse(c.in, req)
	if err != nil {
		return reply{err: err}
	}
	r = reply{verdict: right, status: res.StatusCode, length: res.ContentLength}
	var size int64
	check := checker{texts: q.obj.texts()}
	switch {
	case res.StatusCode == http.StatusOK:
		size = q.obj.size
	case res.StatusCode == http.StatusPartialContent && q.to > 0:
		size, check.offset = q.to-q.from, q.from
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
	r.read(ctx, res.Body, c.buf[:], &check, q, began)
	if r.err == nil && r.bytes != size {
		r.verdict, r.err = wrong, fmt.Errorf("a whole body of %d bytes, want %d", r.bytes, size)
	}
	return r
}

// read reads the body until it ends or the client leaves.
func (r *reply) read(ctx context.Context, body io.Reader, p []byte, c *checker, q request, began time.Time) {
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

// herd makes the same request n times at once, on connections that are there already: what is measured is the server,
// and not how fast the machine opens connections.
func herd(ctx context.Context, n int, target string, q request) []reply {
	replies, clients := make([]reply, n), make([]*client, n)
	for i := range n {
		clients[i], replies[i].err = connect(ctx, target, q.pace)
	}
	var all sync.WaitGroup
	gate := make(chan struct{})
	for i, c := range clients {
		if c == nil {
			continue
		}
		all.Go(func() {
			defer c.close()
			<-gate
			replies[i] = c.ask(ctx, target, q)
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
