package gateway

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// pair is a connection of Listen's, and its other end.
func pair(t *testing.T) (*conn, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	server, err := Listen(l).Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return server.(*conn), client
}

func TestAParcelIsSentWhenItIsWhole(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
	const want = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nEtag: x\r\nX-Request-Id: id\r\n\r\n"
	for _, tt := range []struct {
		writes []string
		body   int
		want   string
	}{
		{[]string{head + "123456789"}, 9, want + "123456789"},
		{[]string{head, "123456789"}, 9, want + "123456789"},
		{[]string{head + "1234", "567", "89", head}, 9, want + "123456789" + head}, // what follows is not its own
		{[]string{head + "1", string(bytes.Repeat([]byte("x"), 20_000))}, 20_001, want + "1" + string(bytes.Repeat([]byte("x"), 20_000))},
	} {
		c, client := pair(t)
		if !c.pack([]byte("Etag: x\r\n"), []byte("id"), tt.body) {
			t.Fatal("not taken")
		}
		for _, w := range tt.writes {
			if n, err := io.WriteString(c, w); n != len(w) || err != nil {
				t.Fatalf("wrote %d of %d bytes, %v", n, len(w), err)
			}
		}
		if c.parcel != nil {
			t.Error("something is kept")
		}
		c.Close()
		if got, err := io.ReadAll(client); err != nil || string(got) != tt.want {
			t.Errorf("%d writes: sent %d bytes, want %d, %v", len(tt.writes), len(got), len(tt.want), err)
		}
	}
	c, _ := pair(t)
	if c.pack(make([]byte, maxFields), []byte("id"), 1) || c.parcel != nil {
		t.Error("took a header that is too long")
	}
	c.pack(nil, []byte("id"), 1)
	if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nX: "); !errors.Is(err, errHeader) || c.parcel != nil {
		t.Errorf("a header in two writes: %v", err)
	}
}

// TestTheKernelStillSendsFiles holds a connection to what net/http looks for, and to what is still packed.
func TestTheKernelStillSendsFiles(t *testing.T) {
	var _ interface {
		io.ReaderFrom
		CloseWrite() error
	} = (*conn)(nil)
	name := filepath.Join(t.TempDir(), "file")
	body := noise(1, 300_000)
	if err := os.WriteFile(name, body, 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	c, client := pair(t)
	got := make(chan []byte)
	go func() {
		all, _ := io.ReadAll(client) // what is missing shows
		got <- all
	}()
	c.pack(nil, []byte("id"), len(body))
	if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if n, err := c.ReadFrom(file); n != int64(len(body)) || err != nil {
		t.Errorf("sent %d bytes, %v", n, err)
	}
	c.Close()
	if want := slices.Concat([]byte("HTTP/1.1 200 OK\r\nX-Request-Id: id\r\n\r\n"), body); !bytes.Equal(<-got, want) {
		t.Error("not what was sent")
	}
}

func TestDeadlinesAreToldWhenSomethingWaits(t *testing.T) {
	var told []time.Time
	d := deadline{set: func(t time.Time) error { told = append(told, t); return nil }}
	now := time.Now()
	wait := func(want ...time.Time) {
		t.Helper()
		d.begin().end()
		if !slices.Equal(told, want) {
			t.Fatalf("told %v, want %v", told, want)
		}
		told = nil
	}
	put := func(at time.Time) {
		t.Helper()
		if err := d.put(at); err != nil {
			t.Fatal(err)
		}
	}
	wait()
	put(now.Add(time.Hour))
	put(now.Add(time.Minute))
	wait(now.Add(time.Minute))
	put(time.Time{})
	put(now.Add(time.Minute + deadlineSlack)) // as good as told
	wait()
	put(now.Add(time.Minute + deadlineSlack + 1))
	wait(now.Add(time.Minute + deadlineSlack + 1))
	put(now.Add(time.Second)) // earlier: it counts
	wait(now.Add(time.Second))
	put(time.Time{})
	wait(time.Time{})
	d.begin()
	put(now)
	put(now.Add(2))
	d.end()
	wait(now, now.Add(2)) // at once, while something was under way
}

// TestAClockThatBeginsIn1970 belongs to a board without one, until somebody tells it the time.
func TestAClockThatBeginsIn1970(t *testing.T) {
	d := deadline{set: func(time.Time) error { return nil }}
	for at, want := range map[int64]bool{1: true, 2: false, 60: false} {
		if err := d.put(time.Unix(at, 0)); err != nil {
			t.Fatal(err)
		}
		if d.over() != want {
			t.Errorf("%d s after its begin is over: %v", at, !want)
		}
	}
}

func TestADeadlineEndsARead(t *testing.T) {
	c, _ := pair(t)
	if err := c.SetReadDeadline(time.Unix(1, 0)); err != nil { // as net/http stops reading
		t.Fatal(err)
	}
	var timeout net.Error
	if _, err := c.Read(make([]byte, 1)); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("a read that is not to be is %v", err)
	}
	if err := c.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		_, err := c.Read(make([]byte, 1))
		ended <- err
	}()
	for {
		c.reads.mu.Lock()
		busy := c.reads.busy
		c.reads.mu.Unlock()
		if busy > 0 {
			break
		}
	}
	if err := c.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the read ended with %v", err)
	}
}

// TestASilentClientIsHungUpOn lets net/http's own times end connections of Listen's.
func TestASilentClientIsHungUpOn(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }),
		ReadHeaderTimeout: 50 * time.Millisecond, IdleTimeout: 50 * time.Millisecond, ConnContext: ConnContext,
	}
	served := make(chan error)
	go func() { served <- server.Serve(Listen(l)) }()
	for _, said := range []string{"", "GET / HT", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /"} {
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := client.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(client, said); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, client); err != nil {
			t.Errorf("after %q: %v", said, err)
		}
		client.Close()
	}
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	<-served
}

// growing is a file that is all there, and notes how much of it was wanted at a time.
type growing struct {
	*os.File
	wanted []int64
}

func (g *growing) Sendable(most int64) (*os.File, int64, error) {
	g.wanted = append(g.wanted, most)
	return g.File, most, nil
}

// Seek implements io.Seeker: the file has moved on by itself.
func (g *growing) Seek(int64, int) (int64, error) { return 0, nil }

// TestAHerdsFirstBytesGoBeforeMoreForTheFirst: of what is there when a machine comes it gets a little, before its turn
// comes again.
func TestAHerdsFirstBytesGoBeforeMoreForTheFirst(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	const size = firstStretch + piece + 1000
	if err := file.Truncate(size); err != nil {
		t.Fatal(err)
	}
	from := &growing{File: file}
	n, err := io.CopyN(newResponse(httptest.NewRecorder(), pieceTime), from, size)
	if n != size || err != nil || !slices.Equal(from.wanted, []int64{firstStretch, piece, 1000}) {
		t.Errorf("sent %d of %d bytes in pieces of %v, %v", n, size, from.wanted, err)
	}
}

// fading is a file that is not all there, although it said so, and that can be read all the same.
type fading struct {
	*bytes.Reader
	file *os.File
}

func (f fading) Sendable(most int64) (*os.File, int64, error) { return f.file, most, nil }

func TestWhatTheKernelCannotSendIsRead(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	body := noise(1, 3*piece)
	if _, err := file.Write(body[:piece+1000]); err != nil {
		t.Fatal(err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	to := httptest.NewRecorder()
	w := newResponse(to, pieceTime)
	n, err := io.CopyN(w, fading{bytes.NewReader(body), file}, int64(len(body)))
	if n != int64(len(body)) || err != nil || w.err != nil || w.bytes != n || !bytes.Equal(to.Body.Bytes(), body) {
		t.Errorf("sent %d bytes, counted %d, %v, %v", n, w.bytes, err, w.err)
	}
}
