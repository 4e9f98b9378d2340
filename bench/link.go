package main

import (
	"context"
	"net"
	"sync"
	"time"
)

// link is the way between the proxies and the origin.
type link struct {
	rate int64         // bytes per second from the origin, of all connections together; zero: as fast as it goes
	rtt  time.Duration // round trip that is added
}

// ideal is how long one undisturbed transfer of size bytes takes over the link.
func (l link) ideal(size int64) time.Duration {
	if l.rate == 0 {
		return l.rtt
	}
	return l.rtt + time.Duration(float64(size)/float64(l.rate)*float64(time.Second))
}

// pacer hands out a link's rate in the order of asking, so that connections which send small pieces share it evenly.
type pacer struct {
	rate int64
	mu   sync.Mutex
	next time.Time // when the link is free
	// owed is for how long the link was not used because the machine woke its senders late, being busy with clients.
	// A real link would have gone on. Waiting for who does not take what is sent is not among it.
	owed time.Duration
}

// What is owed is bounded, so that no sender is ever far ahead of the rate.
const maxOwed = 100 * time.Millisecond

// pacedPiece is how much is sent at once over a capped link, in bytes.
const pacedPiece = 16 << 10

// piece is how much to send at once, in bytes.
func (p *pacer) piece() int {
	if p.rate == 0 {
		return maxPiece
	}
	return pacedPiece
}

// time is what n bytes take.
func (p *pacer) time(n int) time.Duration {
	return time.Duration(int64(n) * int64(time.Second) / p.rate)
}

// wait returns when n bytes more may leave.
func (p *pacer) wait(ctx context.Context, n int) error {
	if p.rate == 0 {
		return nil
	}
	p.mu.Lock()
	now := time.Now()
	if p.next.After(now) {
		p.owed = 0 // there was nothing to catch up with
	}
	// A link that was idle takes a piece at once: a timer would fire when the clients of a herd let it.
	if idle := now.Add(-p.time(pacedPiece) - p.owed); p.next.Before(idle) {
		p.next = idle
	}
	p.next = p.next.Add(p.time(n))
	at := p.next
	p.mu.Unlock()
	err := sleep(ctx, time.Until(at))
	if at.Before(now) {
		at = now
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.owed = min(p.owed+time.Since(at), maxOwed)
	return err
}

// sleep waits for d, or for the end of ctx, which is its error.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// detour is a TCP proxy that makes the way longer: what enters at one end leaves at the other half a round trip later,
// and a new connection is good for nothing before one round trip, as its handshake would take. Slow start and losses
// are not modelled.
type detour struct {
	net.Listener
	to   string
	rtt  time.Duration
	ctx  context.Context // of the connections; ends with close
	stop context.CancelFunc
	work sync.WaitGroup
}

// newDetour returns a listener on loopback that leads to an address.
func newDetour(to string, rtt time.Duration) (*detour, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	d := &detour{Listener: l, to: to, rtt: rtt}
	d.ctx, d.stop = context.WithCancel(context.Background())
	d.work.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			d.work.Go(func() { d.carry(near) })
		}
	})
	return d, nil
}

// close ends all connections and waits for them.
func (d *detour) close() error {
	err := d.Close()
	d.stop()
	d.work.Wait()
	return err
}

func (d *detour) carry(near net.Conn) {
	defer near.Close()
	far, err := net.Dial("tcp", d.to)
	if err != nil {
		return
	}
	defer far.Close()
	defer context.AfterFunc(d.ctx, func() { near.Close(); far.Close() })()
	accepted := time.Now()
	var both sync.WaitGroup
	both.Go(func() { d.pump(far, near, accepted.Add(d.rtt)) })
	both.Go(func() { d.pump(near, far, accepted) })
	both.Wait()
}

// late is a piece under way; without bytes it is the end.
type late struct {
	at  time.Time
	buf []byte
}

// pump carries one direction, of which nothing arrives before half a round trip after open. At most 16 MiB are under
// way.
func (d *detour) pump(dst, src net.Conn, open time.Time) {
	way := make(chan late, 256)
	d.work.Go(func() {
		defer close(way)
		for {
			buf := make([]byte, 64<<10)
			n, err := src.Read(buf)
			at := time.Now()
			if at.Before(open) {
				at = open
			}
			select {
			case way <- late{at.Add(d.rtt / 2), buf[:n]}:
			case <-d.ctx.Done():
				return
			}
			if err != nil {
				if n > 0 {
					way <- late{at: at.Add(d.rtt / 2)}
				}
				return
			}
		}
	})
	defer func() {
		for range way { // lets the reader go on to its end
		}
	}()
	for l := range way {
		if sleep(d.ctx, time.Until(l.at)) != nil {
			break
		}
		if len(l.buf) == 0 {
			_ = dst.(*net.TCPConn).CloseWrite() // whoever reads there sees the end, as it would without us
			return
		}
		if _, err := dst.Write(l.buf); err != nil {
			src.Close() // nobody wants it any more
			return
		}
	}
	src.Close()
	dst.Close()
}
