package tftp

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	pin "github.com/pin/tftp/v3"
)

// fetch gets a file with pin/tftp's client.
func fetch(st *station, name, mode string, block int) ([]byte, error) {
	client, err := pin.NewClient(st.addr.String())
	if err != nil {
		return nil, err
	}
	if block > 0 {
		client.SetBlockSize(block)
		client.RequestTSize(true)
	}
	transfer, err := client.Receive(name, mode)
	if err != nil {
		return nil, err
	}
	var body bytes.Buffer
	_, err = transfer.WriteTo(&body)
	return body.Bytes(), err
}

func TestAnotherImplementation(t *testing.T) {
	text := []byte("one\ntwo\rthree\r\nfour\n\n")
	files := &shelf{files: map[string][]byte{"bin": noise(100_000), "text": text}}
	st := start(t, Options{Open: files.Open}, nil)
	for _, block := range []int{0, 512, 1428, 9000} {
		if got, err := fetch(st, "bin", "octet", block); err != nil || !bytes.Equal(got, files.files["bin"]) {
			t.Errorf("blocks of %d: %d bytes, %v", block, len(got), err)
		}
	}
	if got, err := fetch(st, "text", "netascii", 512); err != nil || !bytes.Equal(got, text) {
		t.Errorf("netascii: %q, %v", got, err)
	}
	if _, err := fetch(st, "none", "octet", 0); err == nil || err.Error() != "code: 1, message: file not found\x00" {
		t.Errorf("missing file: %v", err)
	}
}

func TestNetasciiOnTheWire(t *testing.T) {
	files := &shelf{files: map[string][]byte{"text": []byte("a\nb\rc\r\n")}}
	st := start(t, Options{Open: files.Open}, nil)
	rom := newROM(t, st.addr)
	rom.send(st.addr, "\x00\x01text\x00NetASCII\x00tsize\x000\x00")
	rom.expect(dataPacket(1, "a\r\nb\r\x00c\r\x00\r\n"))
	rom.ack(1)
	receive(t, st.done)
}

func TestFiftyClientsOfOneFile(t *testing.T) {
	body := noise(1 << 20)
	files := &shelf{files: map[string][]byte{"ipxe.efi": body}}
	st := start(t, Options{Open: files.Open}, nil)
	var clients sync.WaitGroup
	for range 50 {
		clients.Go(func() {
			if got, err := fetch(st, "ipxe.efi", "octet", 1428); err != nil || !bytes.Equal(got, body) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	clients.Wait()
	for range 50 {
		if d := receive(t, st.done); d.Err != nil {
			t.Error(d.Err)
		}
	}
	if files.opened.Load() != 50 || files.closed.Load() != 50 {
		t.Errorf("%d files opened, %d closed", files.opened.Load(), files.closed.Load())
	}
}

func TestStockClients(t *testing.T) {
	files := &shelf{files: map[string][]byte{}}
	for _, n := range []int{0, 512, 1428, 300_000} {
		files.files[fmt.Sprintf("boot/%d.bin", n)] = noise(n)
	}
	st := start(t, Options{Open: files.Open}, nil)
	port := strconv.Itoa(int(st.addr.Port()))
	tests := []struct {
		program, debian string
		args            func(name, to string) []string
	}{
		{"tftp", "tftp-hpa", func(name, to string) []string {
			return []string{"-m", "binary", "127.0.0.1", port, "-c", "get", name, to}
		}},
		{"atftp", "atftp", func(name, to string) []string {
			return []string{"--get", "-r", name, "-l", to, "127.0.0.1", port}
		}},
		{"atftp", "atftp", func(name, to string) []string {
			return []string{"--option", "blksize 1428", "--option", "tsize", "--get", "-r", name, "-l", to, "127.0.0.1", port}
		}},
		{"curl", "curl", func(name, to string) []string {
			return []string{"-sS", "-o", to, "tftp://127.0.0.1:" + port + "/" + name}
		}},
		{"curl", "curl", func(name, to string) []string {
			return []string{"-sS", "--tftp-blksize", "1400", "-o", to, "tftp://127.0.0.1:" + port + "//" + name}
		}},
	}
	for i, tt := range tests {
		t.Run(fmt.Sprintf("%s %d", tt.program, i), func(t *testing.T) {
			program, err := exec.LookPath(tt.program)
			if err != nil {
				t.Skipf("%s is not installed: apt-get install %s", tt.program, tt.debian)
			}
			for name, body := range files.files {
				to := filepath.Join(t.TempDir(), "got")
				out, err := exec.CommandContext(t.Context(), program, tt.args(name, to)...).CombinedOutput()
				if err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				got, err := os.ReadFile(to)
				if len(body) == 0 && os.IsNotExist(err) {
					continue // curl makes no file of nothing
				}
				if err != nil || !bytes.Equal(got, body) {
					t.Errorf("%s: %d bytes, %v, want %d\n%s", name, len(got), err, len(body), out)
				}
			}
		})
	}
}
