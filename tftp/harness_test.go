package tftp

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience bounds every wait of the tests; none of them comes near it unless something is broken.
const patience = 20 * time.Second

// TestMain fails the tests if they leave a goroutine or a socket behind.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if left := sockets(); code == 0 && len(left) > 0 {
			fmt.Fprintln(os.Stderr, "sockets left open:", left)
			code = 1
		}
		os.Exit(code)
	}))
}

// sockets lists the process's open sockets, where the system tells.
func sockets() (open []string) {
	fds, _ := os.ReadDir("/proc/self/fd")
	for _, fd := range fds {
		if to, _ := os.Readlink("/proc/self/fd/" + fd.Name()); strings.HasPrefix(to, "socket:") {
			open = append(open, to)
		}
	}
	return open
}

// memFile is a file in memory.
type memFile struct {
	*bytes.Reader
	closed *atomic.Int64
}

func (f memFile) Close() error {
	f.closed.Add(1)
	return nil
}

// shelf serves files from memory and counts what is done with them.
type shelf struct {
	files          map[string][]byte
	opened, closed atomic.Int64
}

func (s *shelf) Open(_ context.Context, r Request) (File, error) {
	body, ok := s.files[r.Name]
	if !ok {
		return nil, fmt.Errorf("open /var/lib/secret/%s: %w", r.Name, fs.ErrNotExist)
	}
	s.opened.Add(1)
	return memFile{bytes.NewReader(body), &s.closed}, nil
}

// station is a running server.
type station struct {
	addr  netip.AddrPort
	done  chan Transfer
	stop  context.CancelFunc
	ended chan error // Serve's result
}

// start runs a server on conn, or on a loopback port of its own if conn is nil, until the test ends.
func start(t *testing.T, o Options, conn *net.UDPConn) *station {
	t.Helper()
	st := &station{done: make(chan Transfer, 1000), ended: make(chan error, 1)}
	o.Done = func(d Transfer) { st.done <- d }
	o.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	server, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if conn == nil {
		conn = listen(t, "127.0.0.1")
	}
	st.addr = conn.LocalAddr().(*net.UDPAddr).AddrPort()
	ctx, stop := context.WithCancel(context.Background())
	st.stop = stop
	go func() { st.ended <- server.Serve(ctx, conn) }()
	t.Cleanup(func() {
		stop()
		st.wait(t)
	})
	return st
}

// wait waits for Serve to end, and expects no error. It may be called again.
func (st *station) wait(t *testing.T) {
	t.Helper()
	err := receive(t, st.ended)
	st.ended <- err
	if err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("nothing happened")
		panic("unreachable")
	}
}

func listen(t *testing.T, ip string) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(ip)})
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// rom is a client that does exactly what a test says.
type rom struct {
	t      *testing.T
	conn   *net.UDPConn
	server netip.AddrPort
	tid    netip.AddrPort // the server's end of the transfer: where the last packet came from
}

func newROM(t *testing.T, server netip.AddrPort) *rom {
	t.Helper()
	conn := listen(t, "127.0.0.1")
	t.Cleanup(func() { conn.Close() })
	return &rom{t: t, conn: conn, server: server}
}

func (r *rom) send(to netip.AddrPort, packet string) {
	r.t.Helper()
	if _, err := r.conn.WriteToUDPAddrPort([]byte(packet), to); err != nil {
		r.t.Fatal(err)
	}
}

// rrq is a read request, options being names and values in turn.
func rrq(name string, options ...string) string {
	return "\x00\x01" + strings.Join(append([]string{name, "octet"}, options...), "\x00") + "\x00"
}

func (r *rom) ask(name string, options ...string) {
	r.t.Helper()
	r.send(r.server, rrq(name, options...))
}

func (r *rom) ack(block uint16) {
	r.t.Helper()
	r.send(r.tid, string(binary.BigEndian.AppendUint16([]byte{0, opAck}, block)))
}

// read returns the next packet.
func (r *rom) read() string {
	r.t.Helper()
	buf := make([]byte, 2048)
	r.conn.SetReadDeadline(time.Now().Add(patience))
	n, from, err := r.conn.ReadFromUDPAddrPort(buf)
	if err != nil {
		r.t.Fatal(err)
	}
	r.tid = from
	return string(buf[:n])
}

// expect reads a packet that must be want.
func (r *rom) expect(want string) {
	r.t.Helper()
	if got := r.read(); got != want {
		r.t.Fatalf("got %.80q, want %.80q", got, want)
	}
}

// expectNothing fails if a packet is waiting. Before it comes a barrier or the end of the transfer: on the loopback
// device, whatever the server has sent by then is here.
func (r *rom) expectNothing() {
	r.t.Helper()
	r.conn.SetReadDeadline(time.Now().Add(time.Millisecond))
	buf := make([]byte, 2048)
	if n, from, err := r.conn.ReadFromUDPAddrPort(buf); err == nil {
		r.t.Fatalf("unwanted %.80q from %v", buf[:n], from)
	}
}

// barrier returns once the server has read every request sent before. It reads them in order, and answers this one.
func (r *rom) barrier() {
	r.t.Helper()
	other := newROM(r.t, r.server)
	other.send(r.server, "\x00\x02barrier\x00octet\x00")
	other.expect(errorPacket(2, "access violation"))
}

// rest acknowledges the data from block on and returns it all.
func (r *rom) rest(block uint16, size int) []byte {
	r.t.Helper()
	var body []byte
	for ; ; block++ {
		packet := r.read()
		if len(packet) < 4 || packet[:2] != "\x00\x03" || binary.BigEndian.Uint16([]byte(packet[2:4])) != block {
			r.t.Fatalf("got %.80q, want block %d", packet, block)
		}
		body = append(body, packet[4:]...)
		r.ack(block)
		if len(packet) < 4+size {
			return body
		}
	}
}

func dataPacket(block uint16, data string) string {
	return string(binary.BigEndian.AppendUint16([]byte{0, opData}, block)) + data
}

func errorPacket(code byte, text string) string {
	return "\x00\x05\x00" + string(rune(code)) + text + "\x00"
}

// noise returns n bytes, the same for the same n, with all kinds of line ends among them.
func noise(n int) []byte {
	source := rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)})
	body := make([]byte, n)
	source.Read(body)
	return body
}
