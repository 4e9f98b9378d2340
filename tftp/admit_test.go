package tftp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

// gate is an Open that waits until it is let through, as for a file still being fetched.
type gate struct {
	shelf
	entered chan Request
	pass    chan struct{}
}

func newGate(files map[string][]byte) *gate {
	return &gate{shelf: shelf{files: files}, entered: make(chan Request, 1000), pass: make(chan struct{})}
}

func (g *gate) Open(ctx context.Context, r Request) (File, error) {
	g.entered <- r
	select {
	case <-g.pass:
		return g.shelf.Open(ctx, r)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func TestRepeatedRequestWhileOpening(t *testing.T) {
	g := newGate(map[string][]byte{"f": []byte("body")})
	st := start(t, Options{Open: g.Open}, nil)
	rom := newROM(t, st.addr)
	for range 5 {
		rom.ask("f", "tsize", "0", "blksize", "1024")
	}
	rom.barrier()
	receive(t, g.entered)
	close(g.pass)
	rom.expect("\x00\x06blksize\x001024\x00tsize\x004\x00")
	rom.ask("f", "tsize", "0", "blksize", "1024") // crosses the answer
	rom.barrier()
	rom.ack(0)
	rom.expect(dataPacket(1, "body"))
	rom.ack(1)
	if d := receive(t, st.done); d.Err != nil {
		t.Error(d.Err)
	}
	rom.expectNothing()
	if len(g.entered) > 0 || g.opened.Load() != 1 {
		t.Error("a repetition was opened")
	}
}

func TestClientDropsItsOptionsWhileWaiting(t *testing.T) {
	g := newGate(map[string][]byte{"f": []byte("body")})
	st := start(t, Options{Open: g.Open}, nil)
	rom := newROM(t, st.addr)
	rom.ask("f", "blksize", "1024")
	rom.ask("f")
	rom.barrier()
	receive(t, g.entered)
	close(g.pass)
	rom.expect(dataPacket(1, "body"))
	rom.ack(1)
	if d := receive(t, st.done); d.Err != nil || len(g.entered) > 0 {
		t.Errorf("reported %v, opened again: %d", d.Err, len(g.entered))
	}
}

// The answer may be lost, and the client ask again: it is the running transfer that goes on answering.
func TestRepeatedRequestAfterLostAnswer(t *testing.T) {
	files := &shelf{files: map[string][]byte{"f": []byte("body")}}
	st := start(t, Options{Open: files.Open, Timeout: 20 * time.Millisecond, Retries: 100}, nil)
	rom := newROM(t, st.addr)
	rom.ask("f")
	rom.expect(dataPacket(1, "body"))
	rom.expect(dataPacket(1, "body"))
	rom.ask("f")
	rom.barrier()
	rom.ack(1)
	if d := receive(t, st.done); d.Err != nil || files.opened.Load() != 1 {
		t.Errorf("reported %v, opened %d times", d.Err, files.opened.Load())
	}
}

func TestClientMovesOn(t *testing.T) {
	g := newGate(map[string][]byte{"a": []byte("A"), "b": []byte("B")})
	st := start(t, Options{Open: g.Open}, nil)
	rom := newROM(t, st.addr)
	rom.ask("a")
	receive(t, g.entered)
	rom.ask("b")
	receive(t, g.entered)
	if d := receive(t, st.done); d.Name != "a" || !errors.Is(d.Err, ErrAborted) {
		t.Errorf("reported %+v", d)
	}
	close(g.pass)
	rom.expect(dataPacket(1, "B"))
	rom.ack(1)
	if d := receive(t, st.done); d.Name != "b" || d.Err != nil {
		t.Errorf("reported %+v", d)
	}
}

// A machine that was reset asks from the same port, in the same words, while its last transfer still waits for it.
func TestResetClient(t *testing.T) {
	body := noise(2000)
	files := &shelf{files: map[string][]byte{"f": body}}
	st := start(t, Options{Open: files.Open, Timeout: 20 * time.Millisecond, Retries: 100}, nil)
	rom := newROM(t, st.addr)
	rom.ask("f")
	rom.expect(dataPacket(1, string(body[:512])))
	old := rom.tid
	rom.ack(1)
	second := dataPacket(2, string(body[512:1024]))
	for seen := 0; seen < 2; { // the client is silent: it is sent again
		if rom.read() == second {
			seen++
		}
	}
	rom.ask("f")
	if d := receive(t, st.done); !errors.Is(d.Err, ErrAborted) {
		t.Errorf("reported %+v", d)
	}
	first := dataPacket(1, string(body[:512]))
	for rom.read() != first || rom.tid == old {
	}
	rom.ack(1)
	for rom.read() != second || rom.tid == old {
	}
}

func TestLimitOfTransfers(t *testing.T) {
	g := newGate(map[string][]byte{"f": []byte("body")})
	st := start(t, Options{Open: g.Open, MaxTransfers: 4}, nil)
	var clients []*rom
	for range 3 {
		clients = append(clients, newROM(t, st.addr))
		clients[len(clients)-1].ask("f")
	}
	clients[0].barrier()
	// Half of the places are for one address.
	receive(t, g.entered)
	receive(t, g.entered)
	if len(g.entered) > 0 {
		t.Fatal("more transfers than allowed")
	}
	close(g.pass)
	for _, rom := range clients[:2] {
		rom.expect(dataPacket(1, "body"))
		rom.ack(1)
	}
	receive(t, st.done)
	receive(t, st.done)
	clients[2].expectNothing()
	for range 5 { // every transfer gives up its place
		clients[2].ask("f")
		clients[2].expect(dataPacket(1, "body"))
		clients[2].ack(1)
		receive(t, st.done)
	}
}

// deaf is an Open that does not care that nobody waits any more.
type deaf struct {
	*gate
	inside atomic.Int64
}

func (d *deaf) Open(_ context.Context, r Request) (File, error) {
	d.inside.Add(1)
	defer d.inside.Add(-1)
	return d.gate.Open(context.Background(), r)
}

func TestReplacedTransfersCountUntilTheyEnd(t *testing.T) {
	d := &deaf{gate: newGate(nil)}
	st := start(t, Options{Open: d.Open, MaxTransfers: 4}, nil)
	rom := newROM(t, st.addr)
	for i := range 20 {
		rom.ask(fmt.Sprint(i))
	}
	rom.barrier()
	for range 4 {
		receive(t, d.entered)
	}
	if n := d.inside.Load(); n != 4 || len(d.entered) > 0 {
		t.Errorf("%d files being opened", n)
	}
	close(d.pass)
	for range 4 {
		receive(t, st.done)
	}
}

func TestSlowOpen(t *testing.T) {
	g := newGate(nil)
	st := start(t, Options{Open: g.Open, OpenTimeout: 20 * time.Millisecond}, nil)
	rom := newROM(t, st.addr)
	rom.ask("f")
	rom.expect(errorPacket(0, "try again later"))
	if d := receive(t, st.done); !errors.Is(d.Err, errSlowOpen) {
		t.Errorf("reported %v", d.Err)
	}
}

func TestOpenTimeoutIsForOpenAlone(t *testing.T) {
	body := noise(600)
	files := &shelf{files: map[string][]byte{"f": body}}
	st := start(t, Options{Open: files.Open, OpenTimeout: 30 * time.Millisecond, Timeout: 20 * time.Millisecond, Retries: 100}, nil)
	rom := newROM(t, st.addr)
	rom.ask("f")
	for range 4 { // sent again until that time is over
		rom.expect(dataPacket(1, string(body[:512])))
	}
	rom.ack(1)
	second := dataPacket(2, string(body[512:]))
	for packet := rom.read(); packet != second; packet = rom.read() {
		if packet[:2] != "\x00\x03" {
			t.Fatalf("got %q", packet)
		}
	}
	rom.ack(2)
	if d := receive(t, st.done); d.Err != nil {
		t.Error(d.Err)
	}
}

func TestTransferHasALimitOfTime(t *testing.T) {
	files := &shelf{files: map[string][]byte{"f": noise(5000)}}
	st := start(t, Options{Open: files.Open, TransferTimeout: 50 * time.Millisecond}, nil)
	rom := newROM(t, st.addr)
	rom.ask("f")
	for rom.read() != errorPacket(0, "try again later") { // and never acknowledge
	}
	if d := receive(t, st.done); !errors.Is(d.Err, errTooLong) {
		t.Errorf("reported %v", d.Err)
	}
}

func TestSilentClient(t *testing.T) {
	files := &shelf{files: map[string][]byte{"f": noise(5000)}}
	st := start(t, Options{Open: files.Open, Timeout: 5 * time.Millisecond, Retries: 3}, nil)
	rom := newROM(t, st.addr)
	rom.ask("f")
	if d := receive(t, st.done); !errors.Is(d.Err, errNoAnswer) {
		t.Errorf("reported %v", d.Err)
	}
	for range 4 {
		rom.expect(dataPacket(1, string(noise(5000)[:512])))
	}
	rom.expectNothing()
}

func TestStopLetsTransfersFinish(t *testing.T) {
	body := noise(3000)
	files := &shelf{files: map[string][]byte{"f": body}}
	st := start(t, Options{Open: files.Open}, nil)
	rom := newROM(t, st.addr)
	rom.ask("f")
	rom.read()
	st.stop()
	rom.ack(1)
	if got := rom.rest(2, 512); !bytes.Equal(got, body[512:]) {
		t.Errorf("got %d bytes", len(got))
	}
	st.wait(t)
	if d := receive(t, st.done); d.Err != nil {
		t.Error(d.Err)
	}
}

func TestStopIsBounded(t *testing.T) {
	g := newGate(map[string][]byte{"a": noise(3000)})
	st := start(t, Options{Open: g.Open, DrainTimeout: 20 * time.Millisecond}, nil)
	sending, opening := newROM(t, st.addr), newROM(t, st.addr)
	sending.ask("a")
	receive(t, g.entered)
	g.pass <- struct{}{}
	sending.read()
	opening.ask("b")
	receive(t, g.entered)
	st.stop()
	st.wait(t)
	for range 2 {
		if d := receive(t, st.done); !errors.Is(d.Err, errStopping) {
			t.Errorf("%s: reported %v", d.Name, d.Err)
		}
	}
	sending.expect(errorPacket(0, "try again later"))
	opening.expect(errorPacket(0, "try again later"))
}
