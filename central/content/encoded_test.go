package content

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/pureboot/pureboot/central/wire"
)

// plain is a file to encode. It counts how often it is opened.
type plain struct {
	wire.File
	data   []byte
	opened atomic.Int32
}

func newPlain(data []byte) *plain {
	sum := sha256.Sum256(data)
	return &plain{File: wire.File{Category: wire.Templates, Path: "a", Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:])}, data: data}
}

func (p *plain) open(context.Context) (io.ReadSeekCloser, error) {
	p.opened.Add(1)
	return &opened{bytes.NewReader(p.data)}, nil
}

type opened struct{ *bytes.Reader }

func (*opened) Close() error { return nil }

// prose returns n bytes of text.
func prose(seed, n int) []byte {
	var text strings.Builder
	for i := 0; text.Len() < n; i++ {
		fmt.Fprintf(&text, "d-i partman/line-%d string %d\n", i, seed)
	}
	return []byte(text.String())[:n]
}

func noise(n int) []byte {
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(data)
	return data
}

func openEncodings(t testing.TB, dir string, maxBytes int64) *Encodings {
	t.Helper()
	e, err := OpenEncodings(dir, maxBytes, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	})
	return e
}

// form waits until a file's form is made, or found not to be worth it, and returns what it decodes to.
func form(t testing.TB, e *Encodings, p *plain) (decoded []byte, size int64) {
	t.Helper()
	for began := time.Now(); time.Since(began) < 20*time.Second; {
		file, enc, ok := e.Open(t.Context(), p.File, p.open)
		if !ok {
			if _, known := e.get(p.SHA256); known || p.Size < minEncodable || p.Size > maxEncodable {
				return nil, 0
			}
			continue // it waited for a while
		}
		defer file.Close()
		encoded, err := io.ReadAll(file)
		if err != nil || int64(len(encoded)) != enc.Size || sha256.Sum256(encoded) != enc.SHA256 {
			t.Fatalf("read %d bytes, described as %+v: %v", len(encoded), enc, err)
		}
		decoder, err := zstd.NewReader(nil, zstd.WithDecoderMaxWindow(encodingWindow))
		if err != nil {
			t.Fatal(err)
		}
		defer decoder.Close()
		if decoded, err = decoder.DecodeAll(encoded, nil); err != nil {
			t.Fatal(err)
		}
		return decoded, enc.Size
	}
	t.Fatal("never encoded")
	return nil, 0
}

func TestWhatShrinksIsEncodedOnce(t *testing.T) {
	dir := t.TempDir()
	e := openEncodings(t, dir, 1<<30)
	for _, n := range []int{minEncodable, 100_000, 3 << 20} {
		p := newPlain(prose(n, n))
		for range 3 {
			if decoded, size := form(t, e, p); !bytes.Equal(decoded, p.data) || size > p.Size/2 {
				t.Errorf("%d bytes became %d, which are %d", n, size, len(decoded))
			}
		}
		if n := p.opened.Load(); n != 1 {
			t.Errorf("read %d times", n)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		e = openEncodings(t, dir, 1<<30) // another process, on the same disk
		if decoded, _ := form(t, e, p); !bytes.Equal(decoded, p.data) || p.opened.Load() != 1 {
			t.Errorf("after a restart: %d bytes, read %d times", len(decoded), p.opened.Load())
		}
	}
}

func TestWhatIsCompressedIsFoundOutOnce(t *testing.T) {
	e := openEncodings(t, t.TempDir(), 1<<30)
	compressed := noise(2 << 20)
	for name, data := range map[string][]byte{
		"noise":                       compressed,
		"noise after a header":        append(prose(1, sampleSize), compressed...),
		"noise between what shrinks":  slices.Concat(prose(2, 30_000), compressed, prose(3, 30_000)),
		"noise where no sample looks": slices.Concat(prose(1, 70_000), compressed[:900_000], prose(2, 66_000), compressed[900_000:1_800_000], prose(3, 70_000)),
	} {
		p := newPlain(data)
		for range 3 {
			if _, size := form(t, e, p); size != 0 {
				t.Errorf("%s: %d bytes became %d", name, len(data), size)
			}
		}
		if n := p.opened.Load(); n != 1 {
			t.Errorf("%s: read %d times", name, n)
		}
	}
	if names, err := os.ReadDir(e.root.Name()); err != nil || len(names) != 0 {
		t.Errorf("left behind: %v, %v", names, err)
	}
}

func TestWhatIsTooSmallOrTooLargeIsNotEvenRead(t *testing.T) {
	e := openEncodings(t, t.TempDir(), 1<<30)
	for _, size := range []int64{0, minEncodable - 1, maxEncodable + 1} {
		p := newPlain(nil)
		p.Size = size
		if _, size := form(t, e, p); size != 0 || p.opened.Load() != 0 {
			t.Errorf("%d bytes: read %d times", p.Size, p.opened.Load())
		}
	}
	var none *Encodings
	if _, _, ok := none.Open(t.Context(), newPlain(prose(1, 10_000)).File, nil); ok {
		t.Error("a form from nowhere")
	}
}

func TestAHerdHasAFileEncodedOnce(t *testing.T) {
	e := openEncodings(t, t.TempDir(), 1<<30)
	p := newPlain(prose(1, 1<<20))
	var herd sync.WaitGroup
	for range 50 {
		herd.Go(func() { form(t, e, p) })
	}
	herd.Wait()
	if p.opened.Load() != 1 || e.made != 1 {
		t.Errorf("read %d times, made %d times", p.opened.Load(), e.made)
	}
}

// TestADamagedFileIsNotEncoded: what is not the file must not live on in another form, where only the agents would notice.
func TestADamagedFileIsNotEncoded(t *testing.T) {
	e := openEncodings(t, t.TempDir(), 1<<30)
	damaged := newPlain(prose(1, 10_000))
	damaged.data[5000] ^= 1
	short := newPlain(prose(2, 10_000))
	short.data = short.data[:9_000]
	for _, p := range []*plain{damaged, short} {
		if _, size := form(t, e, p); size != 0 {
			t.Errorf("%d bytes of another file", size)
		}
	}
	gone := newPlain(prose(3, 10_000))
	_, _, ok := e.Open(t.Context(), gone.File, func(context.Context) (io.ReadSeekCloser, error) { return nil, ErrNotFound })
	if ok {
		t.Error("a form of what cannot be read")
	}
	if names, err := os.ReadDir(e.root.Name()); err != nil || len(names) != 0 {
		t.Errorf("left behind: %v, %v", names, err)
	}
}

func TestTheEncodedAreBounded(t *testing.T) {
	const most = 200_000
	dir := t.TempDir()
	e := openEncodings(t, dir, most)
	first := newPlain(append(noise(20_000), prose(0, 40_000)...))
	for i := range 20 {
		p := newPlain(append(noise(20_000), prose(i+1, 40_000)...))
		if decoded, _ := form(t, e, p); !bytes.Equal(decoded, p.data) {
			t.Errorf("%d: %d bytes", i, len(decoded))
		}
		form(t, e, first) // is in use all the time
	}
	if n := first.opened.Load(); n != 1 {
		t.Errorf("the one in use was encoded %d times", n)
	}
	on := func() (bytes int64, names []string) {
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			info, err := file.Info()
			if err != nil {
				t.Fatal(err)
			}
			bytes, names = bytes+info.Size(), append(names, file.Name())
		}
		return bytes, names
	}
	bytes, names := on()
	if bytes > most || bytes != e.bytes || len(names) < 5 || len(names) != len(e.kept) {
		t.Errorf("%d bytes in %d files, counted %d in %d", bytes, len(names), e.bytes, len(e.kept))
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}

	// Another process finds what is none of its own, and is allowed less.
	for _, name := range []string{"tmp-ABC", "README", strings.Repeat("a", 64) + ".zst", strings.ToUpper(names[0])} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e = openEncodings(t, dir, most/2)
	if bytes, left := on(); bytes > most/2 || bytes != e.bytes || len(left) < 2 || slices.ContainsFunc(left, func(name string) bool { return !slices.Contains(names, name) }) {
		t.Errorf("%d bytes in %q, counted %d", bytes, left, e.bytes)
	}
}

func TestAFormThatIsDeletedIsMadeAgain(t *testing.T) {
	dir := t.TempDir()
	e := openEncodings(t, dir, 1<<30)
	p := newPlain(prose(1, 10_000))
	form(t, e, p)
	files, err := filepath.Glob(dir + "/*.zst")
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if err := os.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	if _, _, ok := e.Open(t.Context(), p.File, p.open); ok {
		t.Error("a form that is not there")
	}
	if decoded, _ := form(t, e, p); !bytes.Equal(decoded, p.data) || p.opened.Load() != 2 {
		t.Errorf("%d bytes, read %d times", len(decoded), p.opened.Load())
	}
}

// TestTheEndWaitsForWhatIsMade: a file that is being read when central ends is let go.
func TestTheEndWaitsForWhatIsMade(t *testing.T) {
	e := openEncodings(t, t.TempDir(), 1<<30)
	p := newPlain(prose(1, 10_000))
	asked, released := make(chan struct{}), make(chan struct{})
	go e.Open(t.Context(), p.File, func(ctx context.Context) (io.ReadSeekCloser, error) {
		close(asked)
		<-ctx.Done()
		defer close(released)
		return nil, ctx.Err()
	})
	<-asked
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	select {
	case <-released:
	default:
		t.Error("it did not wait")
	}
	if _, _, ok := e.Open(t.Context(), newPlain(prose(2, 10_000)).File, p.open); ok || p.opened.Load() != 0 {
		t.Error("encoded after the end")
	}
}
