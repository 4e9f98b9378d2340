package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/pureboot/pureboot/agent/httpcache"
	"github.com/pureboot/pureboot/agent/node"
)

// Listen returns a listener whose connections suit a Gateway's work, for a server that has ConnContext too. It is not
// needed: over other connections, as those of TLS, a Gateway answers the same.
//
// What they do better is a small answer from memory. net/http makes two writes of it as soon as header and body
// exceed 4 KiB, and sorts and copies a header that is the same each time. Here the answer is put together in one
// buffer, and the machine gets one segment.
func Listen(l net.Listener) net.Listener { return &listener{l} }

type listener struct{ net.Listener }

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok && err == nil {
		return newConn(tcp), nil
	}
	return c, err
}

// ConnContext is http.Server's: it lets the handler find the connection.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	if c, ok := c.(*conn); ok {
		return context.WithValue(ctx, connKey{}, c)
	}
	return ctx
}

type connKey struct{}

// connOf is nil where the request did not come over a listener of Listen's.
func connOf(ctx context.Context) *conn {
	c, _ := ctx.Value(connKey{}).(*conn)
	return c
}

// conn is a machine's connection. Embedding the real one keeps what net/http looks for in it: io.ReaderFrom, through
// which the kernel sends files, and CloseWrite. As net/http has it, one goroutine writes, and that or one other reads.
type conn struct {
	*net.TCPConn
	parcel        *parcel // nil: what is written goes out at once
	reads, writes deadline
	trace         *node.Trace // of the machine; nil: not asked for yet
}

func newConn(tcp *net.TCPConn) *conn {
	c := &conn{TCPConn: tcp}
	c.reads.set, c.writes.set = tcp.SetReadDeadline, tcp.SetWriteDeadline
	return c
}

// parcel is a response that is being put together.
type parcel struct {
	fields []byte // for the end of its header, each with the end of its line
	body   int    // length of its body, in bytes
	size   int    // of all of it; 0 before its header has been written
	packed []byte
}

// A parcel's packed has room for the first write of net/http, which is 4 KiB, the fields, and the rest of a small body.
const (
	parcelSize = 8 << 10
	maxFields  = httpcache.MaxFields + 64 // with the name of a request
)

var parcels = sync.Pool{New: func() any { return &parcel{packed: make([]byte, 0, parcelSize)} }}

var (
	headerEnd = []byte("\r\n\r\n")
	errHeader = errors.New("a header longer than what is written at once")
)

// pack has the next response, whose body has a known length that is not 0, put together and sent at once, with fields
// and the request's name added to its header. It reports false, and does nothing, if they are too long.
func (c *conn) pack(fields, name []byte, body int) bool {
	if len(fields)+len(name) > maxFields {
		return false
	}
	p := parcels.Get().(*parcel)
	p.fields = append(p.fields[:0], fields...)
	p.fields = append(p.fields, "X-Request-Id: "...)
	p.fields = append(append(p.fields, name...), "\r\n"...)
	p.body, p.size, p.packed = body, 0, p.packed[:0]
	c.parcel = p
	return true
}

// Write implements io.Writer. Of a response that is being put together it keeps what it gets until that is all of it, so
// it tells of an error late, as any buffer.
func (c *conn) Write(b []byte) (int, error) {
	p := c.parcel
	if p == nil {
		return c.send(b)
	}
	rest := b
	if p.size == 0 {
		end := bytes.Index(b, headerEnd)
		if end < 0 {
			c.parcel = nil
			return 0, errHeader
		}
		end += len(headerEnd) / 2
		p.packed = append(append(p.packed, b[:end]...), p.fields...)
		p.size = len(p.packed) + len(headerEnd)/2 + p.body
		rest = b[end:]
	}
	if len(p.packed)+len(rest) > cap(p.packed) { // too much to be copied, and enough to be sent
		c.parcel = nil
		return c.sendBoth(p, rest, len(b))
	}
	p.packed = append(p.packed, rest...)
	if len(p.packed) < p.size {
		return len(b), nil
	}
	c.parcel = nil
	defer parcels.Put(p)
	if _, err := c.send(p.packed); err != nil {
		return 0, err
	}
	return len(b), nil
}

// sendBoth sends what is packed and the rest of a write of n bytes.
func (c *conn) sendBoth(p *parcel, rest []byte, n int) (int, error) {
	defer parcels.Put(p)
	defer c.writes.begin().end()
	both := net.Buffers{p.packed, rest}
	if _, err := both.WriteTo(c.TCPConn); err != nil {
		return 0, err
	}
	return n, nil
}

func (c *conn) send(b []byte) (int, error) {
	defer c.writes.begin().end()
	return c.TCPConn.Write(b)
}

// ReadFrom implements io.ReaderFrom: the kernel sends a file by itself.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	if p := c.parcel; p != nil {
		c.parcel = nil
		if _, err := c.sendBoth(p, nil, 0); err != nil {
			return 0, err
		}
	}
	defer c.writes.begin().end()
	return c.TCPConn.ReadFrom(r)
}

// Read implements io.Reader.
func (c *conn) Read(b []byte) (int, error) {
	if c.reads.over() {
		return 0, os.ErrDeadlineExceeded
	}
	defer c.reads.begin().end()
	return c.TCPConn.Read(b)
}

// WriteTo implements io.WriterTo, for a connection that is no longer net/http's.
func (c *conn) WriteTo(w io.Writer) (int64, error) {
	defer c.reads.begin().end()
	return c.TCPConn.WriteTo(w)
}

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error { return c.reads.put(t) }

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error { return c.writes.put(t) }

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// A deadline that lies more than deadlineFar ahead may end a read or a write up to deadlineSlack before its time.
const (
	deadlineSlack = time.Second
	deadlineFar   = 5 * time.Second
)

// deadline is one that is told to the connection only when something may wait for it, and not again when it has hardly
// moved. net/http sets five of them for each request, most of which nothing ever waits for.
type deadline struct {
	set func(time.Time) error

	mu     sync.Mutex
	wanted time.Time
	told   time.Time
	busy   int // reads or writes under way
}

// put sets the deadline, at once for what is under way.
func (d *deadline) put(t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wanted = t
	if d.busy > 0 {
		return d.tell()
	}
	return nil
}

// longAgo is net/http's deadline that means "stop now", in Unix seconds: it stops so the reading ahead that it begins with
// each request, mostly before it has begun. No other is as early, not even where the clock begins in 1970.
const longAgo = 1

// over is whether the deadline is one that means "stop now".
func (d *deadline) over() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.wanted.IsZero() && d.wanted.Unix() <= longAgo
}

// begin announces what may wait; end is to follow.
func (d *deadline) begin() *deadline {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.busy++; !d.holds() {
		_ = d.tell() // of a closed connection, which the read or write will say
	}
	return d
}

// holds is whether what was told will do.
func (d *deadline) holds() bool {
	if d.wanted.Equal(d.told) || d.wanted.IsZero() || d.told.IsZero() {
		return d.wanted.Equal(d.told)
	}
	early := d.wanted.Sub(d.told)
	return early > 0 && early <= deadlineSlack && time.Until(d.told) > deadlineFar
}

func (d *deadline) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.busy--
}

func (d *deadline) tell() error {
	d.told = d.wanted
	return d.set(d.wanted)
}
