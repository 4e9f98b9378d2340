package tftp

import (
	"bytes"
	"errors"
	"io/fs"
	"net/netip"
	"reflect"
	"testing"
)

func TestParseRequest(t *testing.T) {
	octet := func(name string, options map[string]string) *asked {
		if options == nil {
			options = map[string]string{}
		}
		return &asked{name: name, mode: "octet", options: options}
	}
	tests := []struct {
		name   string
		packet string
		want   *asked // nil: not answered
	}{
		{"plain", "\x00\x01a\x00octet\x00", octet("a", nil)},
		{"mode in capitals", "\x00\x01a\x00OCTET\x00", octet("a", nil)},
		{"options", "\x00\x01a\x00octet\x00tsize\x000\x00BLKSIZE\x001456\x00", octet("a", map[string]string{"tsize": "0", "blksize": "1456"})},
		{"option given twice", "\x00\x01a\x00octet\x00blksize\x00600\x00blksize\x00700\x00", octet("a", map[string]string{"blksize": "600"})},
		{"option without value", "\x00\x01a\x00octet\x00tsize", octet("a", map[string]string{"tsize": ""})},
		{"name with a NUL of its own", "\x00\x01a\x00\x00octet\x00", octet("a", nil)},
		{"last NUL missing", "\x00\x01a\x00octet", octet("a", nil)},
		{"empty name", "\x00\x01\x00octet\x00", octet("", nil)},
		{"write", "\x00\x02a\x00octet\x00", &asked{write: true, name: "a", mode: "octet", options: map[string]string{}}},

		{"empty", "", nil},
		{"one byte", "\x00", nil},
		{"no name", "\x00\x01", nil},
		{"no mode", "\x00\x01a\x00", nil},
		{"name without end", "\x00\x01aaaaaaaaaaaaaaa", nil},
		{"only NULs", "\x00\x01\x00\x00\x00\x00\x00", nil},
		{"data", "\x00\x03\x00\x01octet\x00", nil},
		{"acknowledgement", "\x00\x04\x00\x01", nil},
		{"error", "\x00\x05\x00\x01a\x00octet\x00", nil},
		{"option acknowledgement", "\x00\x06a\x00octet\x00", nil},
		{"text", "GET / HTTP/1.0\r\n\r\n", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := parseRequest([]byte(tt.packet))
			if ok != (tt.want != nil) || ok && !reflect.DeepEqual(got, *tt.want) {
				t.Errorf("got %+v, %v, want %+v", got, ok, tt.want)
			}
		})
	}
}

func TestOptionsGranted(t *testing.T) {
	type options = map[string]string
	tests := []struct {
		name    string
		mode    string
		options options
		size    int64
		oack    string
		block   int
	}{
		{"none", "octet", nil, 9, "", 512},
		{"size", "octet", options{"tsize": "0"}, 9, "tsize\x009\x00", 512},
		{"size of an empty file", "octet", options{"tsize": "0"}, 0, "", 512},
		{"size not known", "octet", options{"tsize": "0"}, -1, "", 512},
		{"size in netascii", "netascii", options{"tsize": "0"}, 9, "", 512},
		{"block and size", "octet", options{"blksize": "1024", "tsize": "0"}, 9, "blksize\x001024\x00tsize\x009\x00", 1024},
		{"block beyond ours", "octet", options{"blksize": "1468"}, 9, "blksize\x001428\x00", 1428},
		{"block beyond UDP", "octet", options{"blksize": "70000"}, 9, "blksize\x001428\x00", 1428},
		{"block beyond numbers", "octet", options{"blksize": "99999999999999999999999"}, 9, "blksize\x001428\x00", 1428},
		{"smallest block", "octet", options{"blksize": "8"}, 9, "blksize\x008\x00", 8},
		{"block too small", "octet", options{"blksize": "7"}, 9, "", 512},
		{"negative block", "octet", options{"blksize": "-8"}, 9, "", 512},
		{"block with a thousand zeros", "octet", options{"blksize": string(bytes.Repeat([]byte{'0'}, 1000)) + "600"}, 9, "blksize\x00600\x00", 600},
		{"block that is no number", "octet", options{"blksize": "big"}, 9, "", 512},
		{"unknown options", "octet", options{"windowsize": "16", "timeout": "3", "multicast": ""}, 9, "", 512},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := asked{name: "a", mode: tt.mode, options: tt.options}.check(netip.AddrPort{}, netip.Addr{})
			if err != nil {
				t.Fatal(err)
			}
			packet, block := r.oack(1428, tt.size)
			want := ""
			if tt.oack != "" {
				want = "\x00\x06" + tt.oack
			}
			if string(packet) != want || block != tt.block {
				t.Errorf("got %q, %d, want %q, %d", packet, block, want, tt.block)
			}
		})
	}
}

func FuzzRequest(f *testing.F) {
	f.Add([]byte("\x00\x01a\x00octet\x00tsize\x000\x00blksize\x001456\x00"))
	f.Add([]byte("\x00\x02\\..\\a\xff\x00\x00netascii\x00blksize"))
	f.Add([]byte("\x00\x01\x00\x00"))
	f.Fuzz(func(t *testing.T, packet []byte) {
		a, ok := parseRequest(packet)
		if !ok {
			return
		}
		r, err := a.check(netip.AddrPort{}, netip.Addr{})
		if err != nil {
			if !errors.Is(err, fs.ErrInvalid) && !errors.Is(err, fs.ErrPermission) {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		if a.write || !fs.ValidPath(r.Name) {
			t.Fatalf("accepted %+v", r)
		}
		oack, block := r.oack(1428, 1<<62)
		if block < minBlock || block > 1428 || len(oack) > 100 {
			t.Fatalf("block of %d bytes, %q", block, oack)
		}
	})
}
