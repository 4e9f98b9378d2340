package uplink

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// encode returns text in the coding zstd.
func encode(t testing.TB, text []byte, opts ...zstd.EOption) []byte {
	t.Helper()
	enc, err := zstd.NewWriter(nil, opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	return enc.EncodeAll(text, nil)
}

// sends is a central that sends coded, whatever it is asked.
func sends(coding string, coded []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", coding)
		w.Write(coded)
	}
}

func TestAWholeFileMayComeCompressed(t *testing.T) {
	var text strings.Builder
	for i := range 50_000 {
		fmt.Fprintln(&text, "line", i)
	}
	coded := encode(t, []byte(text.String()))
	got := new(recorder)
	c, link := client(t, func(w http.ResponseWriter, r *http.Request) {
		got.record(r)
		sends("zstd", coded)(w, r)
	})
	body, err := c.ReadContent(t.Context(), "images", "x", "aa55", 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	read, err := io.ReadAll(body)
	if err != nil || string(read) != text.String() {
		t.Errorf("read %d bytes, %v", len(read), err)
	}
	if n := body.(interface{ Received() int64 }).Received(); n != int64(len(coded)) {
		t.Errorf("received %d bytes, sent %d", n, len(coded))
	}
	req, _ := got.last()
	if req.Header.Get("Accept-Encoding") != "zstd" || req.Header.Get("If-Match") != `"aa55", "aa55-zstd"` || req.Header.Get("Range") != "" {
		t.Errorf("%v", req.Header)
	}
	if !link.Online() {
		t.Error("offline")
	}
}

func TestACodingThatWasNotAskedForIsRefused(t *testing.T) {
	text := []byte("0123456789")
	part := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Range", "bytes 0-9/99")
		w.Header().Set("Content-Encoding", "zstd")
		w.WriteHeader(http.StatusPartialContent)
		w.Write(encode(t, text))
	}
	for name, tt := range map[string]struct {
		h      http.HandlerFunc
		length int64
	}{
		"gzip for a file":          {sends("gzip", text), 0},
		"zstd twice":               {sends("zstd, zstd", encode(t, encode(t, text))), 0},
		"zstd for a range":         {part, 10},
		"a word that is no coding": {sends(strings.Repeat("x", 4000), text), 0},
	} {
		c, link := client(t, tt.h)
		for range failuresToOffline {
			body, err := c.ReadContent(t.Context(), "images", "x", "aa", 0, tt.length)
			if err == nil {
				body.Close()
			}
			if err == nil || len(err.Error()) > 200 {
				t.Errorf("%s: %v", name, err)
			}
		}
		if link.Online() {
			t.Errorf("%s: online", name)
		}
	}
}

// TestABrokenEncodingIsAnError: what comes before the break are bytes of the file, or their digests tell.
func TestABrokenEncodingIsAnError(t *testing.T) {
	text := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{1}).Read(text)
	coded := encode(t, text, zstd.WithWindowSize(128<<10))
	flipped := bytes.Clone(coded)
	flipped[len(flipped)-1] ^= 1 // of the checksum
	wrongSize := func(size uint64) []byte {
		out, text := new(bytes.Buffer), bytes.Repeat([]byte("a"), 1000)
		enc, err := zstd.NewWriter(nil)
		if err != nil {
			t.Fatal(err)
		}
		enc.ResetContentSize(out, int64(len(text)))
		enc.Write(text)
		enc.Close()
		coded := out.Bytes()
		at := bytes.Index(coded, []byte{232, 2}) // 1000, less 256 as the format has it
		if at < 0 {
			t.Fatalf("no size in %x", coded)
		}
		coded[at], coded[at+1] = byte(size-256), byte((size-256)>>8)
		return coded
	}
	for name, coded := range map[string][]byte{
		"ends early": coded[:len(coded)/2], "checksum": flipped, "no zstd": []byte("<html>hello</html>"), "nothing": nil, "says less than it has": wrongSize(900),
		"says more than it has": wrongSize(60_000), "wants much memory": withWindow(t, text, 64<<20),
	} {
		c, _ := client(t, sends("zstd", coded))
		body, err := c.ReadContent(t.Context(), "images", "x", "aa", 0, 0)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		read, err := io.ReadAll(body)
		body.Close()
		switch {
		case name == "nothing":
			if err != nil || len(read) != 0 {
				t.Errorf("%s: read %d bytes, %v", name, len(read), err)
			}
		case err == nil:
			t.Errorf("%s: read %d bytes, and that is all", name, len(read))
		case name == "wants much memory" && (len(read) > 0 || !errors.Is(err, zstd.ErrWindowSizeExceeded) && !errors.Is(err, zstd.ErrDecoderSizeExceeded)):
			t.Errorf("%s: read %d bytes, %v", name, len(read), err)
		case name == "ends early" && !bytes.HasPrefix(text, read):
			t.Errorf("%s: read %d bytes of something else", name, len(read))
		}
	}
}

// withWindow streams text, so that the frame asks for the whole window.
func withWindow(t testing.TB, text []byte, window int) []byte {
	t.Helper()
	var out bytes.Buffer
	enc, err := zstd.NewWriter(&out, zstd.WithWindowSize(window))
	if err != nil {
		t.Fatal(err)
	}
	_, err = enc.Write(text)
	if err = errors.Join(err, enc.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
