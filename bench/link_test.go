package main

import (
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestPacerHoldsItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pacer{rate: 1e6}
		atOnce := p.time(pacedPiece)
		began := time.Now()
		var all sync.WaitGroup
		for range 4 { // together, not each
			all.Go(func() {
				for range 100 {
					if err := p.wait(t.Context(), 10_000); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		if took := time.Since(began); took < 4*time.Second-atOnce || took > 4010*time.Millisecond {
			t.Errorf("4 MB at 1 MB/s took %v", took)
		}
		time.Sleep(time.Minute) // an idle link saves no more up than a piece
		began = time.Now()
		if err := p.wait(t.Context(), 1_000_000); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took < time.Second-atOnce {
			t.Errorf("1 MB after a pause took %v", took)
		}
	})
}

// TestALateSenderCatchesUp has the machine wake a sender late, and a client take its time: only the first is made good.
func TestALateSenderCatchesUp(t *testing.T) {
	for _, tt := range []struct{ late, slow, want time.Duration }{
		{30 * time.Millisecond, 0, 100 * time.Millisecond},
		{0, 30 * time.Millisecond, 114 * time.Millisecond}, // an idle link takes 16 KiB at once
		{time.Second, 0, time.Second},                      // no more than 100 ms are owed, which is what this takes
	} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			p := pacer{rate: 1e6, next: began, owed: min(tt.late, maxOwed)}
			time.Sleep(tt.late + tt.slow)
			for range 100 {
				if err := p.wait(t.Context(), 1000); err != nil {
					t.Error(err)
				}
			}
			if took := time.Since(began); took.Round(time.Millisecond) != tt.want {
				t.Errorf("100 kB at 1 MB/s, %v late and %v slow, took %v, want %v", tt.late, tt.slow, took, tt.want)
			}
		})
	}
}

func TestDetourTakesItsTime(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // an echo that ends after its client
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.Copy(conn, conn)
	}()
	const rtt = 60 * time.Millisecond
	d, err := newDetour(l.Addr().String(), rtt)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	began := time.Now()
	conn, err := net.Dial("tcp", d.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(began.Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	const text = "there and back"
	for trip := 1; trip <= 2; trip++ {
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(text))
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != text {
			t.Fatalf("%q, %v", got, err)
		}
		if took := time.Since(began); took < time.Duration(trip+1)*rtt { // one for the handshake
			t.Errorf("answer %d came after %v", trip, took)
		}
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(conn); err != nil || len(rest) != 0 {
		t.Errorf("after the end: %q, %v", rest, err)
	}
}
