package tftp

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
)

// torn is a file whose reading goes wrong.
type torn struct {
	io.Reader
	size int64
}

func (f torn) Size() int64 { return f.size }
func (torn) Close() error  { return nil }

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) {
	if f.err == nil {
		panic("no error to return")
	}
	return 0, f.err
}

func TestBrokenFileNeverLooksWhole(t *testing.T) {
	begin := string(noise(600))
	tests := []struct {
		name string
		file torn
	}{
		{"error", torn{failing{errors.New("secret")}, 1000}},
		{"cut off", torn{failing{io.ErrUnexpectedEOF}, -1}},
		{"shorter than it said", torn{strings.NewReader(""), 1000}},
		{"longer than it said", torn{strings.NewReader("more"), 602}},
		{"panic", torn{failing{}, 1000}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			st := start(t, Options{Open: func(context.Context, Request) (File, error) {
				return torn{io.MultiReader(strings.NewReader(begin), tt.file.Reader), tt.file.size}, nil
			}}, nil)
			rom := newROM(t, st.addr)
			rom.ask("f")
			rom.expect(dataPacket(1, begin[:512]))
			tid := rom.tid
			rom.ack(1)
			rom.expect(errorPacket(0, "try again later"))
			if rom.tid != tid {
				t.Errorf("error comes from %v, data from %v", rom.tid, tid)
			}
			if d := receive(t, st.done); d.Err == nil || errors.Is(d.Err, ErrAborted) {
				t.Errorf("reported as %v", d.Err)
			}
		})
	}
}

func TestPanicInOpen(t *testing.T) {
	files := &shelf{files: map[string][]byte{"f": []byte("fine")}}
	st := start(t, Options{Open: func(ctx context.Context, r Request) (File, error) {
		if r.Name == "f" {
			return files.Open(ctx, r)
		}
		panic("secret")
	}}, nil)
	rom := newROM(t, st.addr)
	rom.ask("bad")
	rom.expect(errorPacket(0, "try again later"))
	if d := receive(t, st.done); d.Err == nil {
		t.Error("panic reported as success")
	}
	rom.ask("f")
	rom.expect(dataPacket(1, "fine"))
	rom.ack(1)
	if d := receive(t, st.done); d.Err != nil {
		t.Error(d.Err)
	}
}
