package tftp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"time"

	"github.com/pin/tftp/v3/netascii"
)

// What ends a transfer early. ErrAborted is the client's wish and no failure: firmware asks for the size of a file and
// sends an error packet as soon as it knows.
var (
	ErrAborted   = errors.New("ended by the client")
	errMovedOn   = fmt.Errorf("%w: it asked anew", ErrAborted)
	errGone      = fmt.Errorf("%w: its port is closed", ErrAborted)
	errNoAnswer  = errors.New("client does not answer")
	errSlowOpen  = errors.New("file took too long to open")
	errTooLong   = errors.New("transfer took too long")
	errStopping  = errors.New("server is stopping")
	errWrongSize = errors.New("file is not as long as it said")
)

// run carries out r as t, from dialing the client to the report. It is the goroutine of t.
func (s *Server) run(ctx context.Context, t *transfer, r Request) {
	began := time.Now()
	var sent int64
	conn, err := dial(r.Local, r.Client)
	if err == nil {
		defer conn.Close()
		sent, err = s.serve(ctx, t, conn, r)
	}
	took := time.Since(began)
	s.release(t, r) // before the client learns of an error: it may ask again at once
	if conn != nil && err != nil && !quiet(err) {
		tell(conn, err)
	}
	s.report(Transfer{Request: r, Bytes: sent, Took: took, Err: err})
}

// serve opens the file and sends it, in a bounded time. Whatever panics in that ends this transfer alone.
func (s *Server) serve(ctx context.Context, t *transfer, conn *net.UDPConn, r Request) (sent int64, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("tftp transfer panicked", "key", r.Name, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	ctx, stop := context.WithTimeoutCause(ctx, s.opt.TransferTimeout, errTooLong)
	defer stop()
	slow := time.AfterFunc(s.opt.OpenTimeout, func() { t.cancel(errSlowOpen) })
	defer slow.Stop()
	file, err := s.opt.Open(ctx, r)
	slow.Stop()
	if err != nil {
		return 0, endOf(ctx, err)
	}
	defer file.Close()

	p := newPeer(ctx, conn, t, s.opt.Timeout, s.opt.Retries)
	defer p.release()
	return p.send(ctx, file, s.answer(t), s.opt.BlockSize)
}

// quiet reports whether a client is told nothing of err: it has ended the transfer itself, or is not there.
func quiet(err error) bool {
	_, reported := errors.AsType[clientError](err)
	return reported || errors.Is(err, ErrAborted) || errors.Is(err, errNoAnswer)
}

// endOf returns why ctx ended, if it did, for err is then no more than an echo of that.
func endOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// send sends the file as r asks for it, in blocks of at most largest bytes. It returns how many bytes of it the client
// has acknowledged.
func (p *peer) send(ctx context.Context, file File, r request, largest int) (sent int64, err error) {
	oack, size := r.oack(largest, file.Size())
	if oack != nil {
		if err := p.exchange(ctx, oack, 0); err != nil {
			return 0, err
		}
	}
	var source io.Reader = &measured{Reader: file, size: file.Size()}
	if r.netascii {
		source = netascii.ToReader(source)
	}
	packet := make([]byte, 4+size)
	binary.BigEndian.PutUint16(packet, opData)
	for block := uint16(1); ; block++ { // 0 follows 65535
		n, err := fill(ctx, source, packet[4:])
		if err != nil {
			return sent, err
		}
		binary.BigEndian.PutUint16(packet[2:], block)
		err = p.exchange(ctx, packet[:4+n], block)
		last := n < size
		if last && (errors.Is(err, errMovedOn) || errors.Is(err, errGone)) {
			err = nil // it has the file: what got lost, or is still unread, is its last acknowledgement
		}
		if err != nil {
			return sent, err
		}
		sent += int64(n)
		if last {
			return sent, nil
		}
	}
}

// fill reads until block is full or r ends. Unlike after io.ReadFull, an io.ErrUnexpectedEOF of r's own, a file that
// was cut off, cannot be taken for its end.
func fill(ctx context.Context, r io.Reader, block []byte) (n int, err error) {
	for n < len(block) && err == nil {
		var m int
		m, err = r.Read(block[n:])
		n += m
		if ctx.Err() != nil {
			return n, context.Cause(ctx)
		}
	}
	if err == io.EOF {
		err = nil
	}
	return n, err
}

// measured ends in errWrongSize unless exactly size bytes were read, if size is not negative.
type measured struct {
	io.Reader
	size, read int64
}

func (m *measured) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	m.read += int64(n)
	if m.size >= 0 && (m.read > m.size || err == io.EOF && m.read < m.size) {
		return n, errWrongSize
	}
	return n, err
}
