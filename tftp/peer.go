package tftp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
)

// peer is the client's end of a transfer.
type peer struct {
	conn    *net.UDPConn
	t       *transfer
	timeout time.Duration
	retries int
	heard   bool // the client has acknowledged something
	in      [plainBlock]byte
	release func() bool // stops the watch over the context
}

// newPeer returns the client at conn's other end. Its exchanges end with ctx; release it afterwards.
func newPeer(ctx context.Context, conn *net.UDPConn, t *transfer, timeout time.Duration, retries int) *peer {
	p := &peer{conn: conn, t: t, timeout: timeout, retries: retries}
	p.release = context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	return p
}

// exchange sends packet, again and again, until the client acknowledges block.
func (p *peer) exchange(ctx context.Context, packet []byte, block uint16) error {
	for try := 0; try <= p.retries; try++ {
		p.t.silent.Store(try > 0 && p.heard)
		if _, err := p.conn.Write(packet); err != nil {
			return lost(err)
		}
		err := p.hear(ctx, block)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			p.heard = p.heard || err == nil
			p.t.silent.Store(false)
			return err
		}
	}
	return errNoAnswer
}

// hear waits for the acknowledgement of block, which is nil, for an error packet, or for os.ErrDeadlineExceeded. It
// passes over all else without sending anything: an answer to a repeated acknowledgement would double every packet
// from there on (RFC 1123 section 4.2.3.1).
func (p *peer) hear(ctx context.Context, block uint16) error {
	// First the deadline, then the look at ctx: if ctx ends in between, or later, its own deadline comes after ours.
	p.conn.SetReadDeadline(time.Now().Add(p.timeout))
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for {
		n, err := p.conn.Read(p.in[:])
		if err != nil {
			return endOf(ctx, lost(err))
		}
		if n < 4 {
			continue
		}
		value := binary.BigEndian.Uint16(p.in[2:])
		switch binary.BigEndian.Uint16(p.in[:]) {
		case opAck:
			if value == block {
				return nil
			}
		case opError:
			text, _, _ := bytes.Cut(p.in[4:n], []byte{0})
			return reported(clientError{value, string(text)}, block)
		}
	}
}

// clientError is an error packet from the client.
type clientError struct {
	code uint16
	text string
}

func (e clientError) Error() string {
	return fmt.Sprintf("client reports error %d, %.100q", e.code, e.text)
}

// reported returns the meaning of an error packet that answers block. Firmware that only wanted to know a size ends
// the transfer with code 8 or 0, and as the answer to the size any code says no more than that.
func reported(e clientError, block uint16) error {
	if e.code == codeUndefined || e.code == codeOptions || block == 0 {
		return fmt.Errorf("%w: %w", ErrAborted, e)
	}
	return e
}

// lost tells a client whose port is closed, as the kernel learns from ICMP, from a broken socket.
func lost(err error) error {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return errGone
	}
	return err
}
