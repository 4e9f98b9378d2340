package tftp

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestNewNamesEveryFault(t *testing.T) {
	_, err := New(Options{MaxTransfers: -1, BlockSize: 100, Retries: 1000, Timeout: -time.Second, DrainTimeout: -1})
	for _, field := range []string{"Open", "MaxTransfers", "BlockSize", "Retries", "Timeout", "DrainTimeout"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s not named in %v", field, err)
		}
	}
}

func TestServeReportsABrokenSocket(t *testing.T) {
	server, err := New(Options{Open: new(shelf).Open})
	if err != nil {
		t.Fatal(err)
	}
	conn := listen(t, "127.0.0.1")
	conn.Close()
	if err := server.Serve(t.Context(), conn); err == nil {
		t.Error("no error")
	}
}

// listenAll listens on all addresses, but hears the loopback device alone.
func listenAll(t *testing.T, network, address string) *net.UDPConn {
	t.Helper()
	onLoopback := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		c.Control(func(fd uintptr) { err = syscall.BindToDevice(int(fd), "lo") })
		return err
	}}
	conn, err := onLoopback.ListenPacket(t.Context(), network, address)
	if err != nil {
		t.Skipf("no socket on all addresses of the loopback device: %v", err)
	}
	return conn.(*net.UDPConn)
}

// A machine with many addresses answers from the one it was asked at: firmware takes no packet from another.
func TestAnswersFromTheAddressAsked(t *testing.T) {
	tests := []struct{ network, bind, ask, from string }{
		{"udp4", "0.0.0.0:0", "127.0.0.2", "127.0.0.1"},
		{"udp", ":0", "127.0.0.3", "127.0.0.1"},
		{"udp", ":0", "::1", "::1"},
	}
	for _, tt := range tests {
		t.Run(tt.network+" "+tt.ask, func(t *testing.T) {
			client, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(tt.from)})
			if err != nil {
				t.Skipf("no socket on %s: %v", tt.from, err)
			}
			defer client.Close()
			local := make(chan netip.Addr, 1)
			files := &shelf{files: map[string][]byte{"f": []byte("body")}}
			st := start(t, Options{Open: func(ctx context.Context, r Request) (File, error) {
				local <- r.Local
				return files.Open(ctx, r)
			}}, listenAll(t, tt.network, tt.bind))
			asked := netip.MustParseAddr(tt.ask)
			rom := &rom{t: t, conn: client, server: netip.AddrPortFrom(asked, st.addr.Port())}

			rom.ask("f")
			rom.expect(dataPacket(1, "body"))
			if got := rom.tid.Addr().Unmap(); got != asked {
				t.Errorf("data comes from %v", got)
			}
			rom.ack(1)
			if got := receive(t, local); got != asked {
				t.Errorf("Open is told of %v", got)
			}
			rom.ask("../f")
			rom.expect(errorPacket(4, "illegal operation"))
			if got := rom.tid.Addr().Unmap(); got != asked {
				t.Errorf("refusal comes from %v", got)
			}
			if d := receive(t, st.done); d.Err != nil || d.Client.Addr() != netip.MustParseAddr(tt.from) {
				t.Errorf("reported %+v", d)
			}
		})
	}
}

func TestBroadcastRequestsAreIgnored(t *testing.T) {
	for network, bind := range map[string]string{"udp4": "0.0.0.0:0", "udp": ":0"} {
		t.Run(network, func(t *testing.T) {
			files := &shelf{files: map[string][]byte{"f": []byte("body")}}
			st := start(t, Options{Open: files.Open, Timeout: 10 * time.Millisecond}, listenAll(t, network, bind))
			rom := newROM(t, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), st.addr.Port()))
			rom.barrier()
			broadcast := netip.AddrPortFrom(netip.MustParseAddr("127.255.255.255"), st.addr.Port())
			rom.send(broadcast, rrq("f"))
			rom.send(broadcast, rrq("../f"))
			rom.barrier()
			st.stop()
			st.wait(t)
			rom.expectNothing()
			if files.opened.Load() > 0 || len(st.done) > 0 {
				t.Error("a broadcast was served")
			}
		})
	}
}

func TestGarbage(t *testing.T) {
	files := &shelf{files: map[string][]byte{"f": []byte("body")}}
	st := start(t, Options{Open: files.Open, Timeout: time.Millisecond, Retries: 1}, nil)
	rom := newROM(t, st.addr)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 2000 {
		packet := make([]byte, random.IntN(600))
		for i := range packet {
			packet[i] = byte(random.IntN(256))
		}
		if len(packet) > 1 && random.IntN(2) == 0 {
			packet[0], packet[1] = 0, byte(random.IntN(8))
		}
		rom.send(st.addr, string(packet))
		if i%20 == 0 {
			rom.barrier() // before the socket's buffer is full
		}
	}
	rom.barrier()
	for _, packet := range []string{
		"",
		"\x00",
		"\x00\x01",
		rrq("f", "blksize"),
		rrq("f", "tsize", "", "blksize", strings.Repeat("0", 1500)+"512"),
		"\x00\x05\x00\x01f\x00octet\x00",
		strings.Repeat("\x00", 65000),
	} {
		rom.send(st.addr, packet)
	}
	rom.barrier()
	good := newROM(t, st.addr)
	good.ask("f")
	good.expect(dataPacket(1, "body"))
	good.ack(1)
}

// FuzzServer sends a packet, and what could follow it to a transfer, and wants the server to go on serving.
func FuzzServer(f *testing.F) {
	f.Add([]byte(rrq("f", "tsize", "0", "blksize", "8")), []byte("\x00\x04\x00\x00"))
	f.Add([]byte(rrq("f")), []byte("\x00\x05\x00\x08"))
	f.Add([]byte(rrq("f", "tsize", "0")), []byte("\x00\x06blksize\x0065464\x00"))
	f.Add([]byte("\x00\x01f\x00NetASCII\x00"), []byte("\x00"))
	f.Fuzz(func(t *testing.T, request, follows []byte) {
		if len(request) > 60000 || len(follows) > 60000 {
			t.Skip()
		}
		files := &shelf{files: map[string][]byte{"f": noise(100)}}
		st := start(t, Options{Open: files.Open, Timeout: time.Millisecond, Retries: 1}, nil)
		rom := newROM(t, st.addr)
		rom.send(st.addr, string(request))
		rom.barrier()
		rom.conn.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, from, err := rom.conn.ReadFromUDPAddrPort(make([]byte, 2048)); err == nil {
			rom.send(from, string(follows))
		}
		rom.barrier()
		if n := files.opened.Load(); n > 1 {
			t.Fatalf("%d files opened", n)
		}
	})
}
