package tftp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"
)

func TestNamesAsFirmwareSendsThem(t *testing.T) {
	files := &shelf{files: map[string][]byte{"boot/x64.efi": []byte("EFI")}}
	st := start(t, Options{Open: files.Open}, nil)
	for _, raw := range []string{"boot/x64.efi", "/boot/x64.efi", `\\boot\x64.efi`, "//boot//x64.efi\xff", "boot/x64.efi\x00"} {
		rom := newROM(t, st.addr)
		rom.ask(raw)
		rom.expect(dataPacket(1, "EFI"))
		rom.ack(1)
		if d := receive(t, st.done); d.Err != nil || d.Name != "boot/x64.efi" || d.Bytes != 3 || d.Client.Port() == 0 || d.Local != st.addr.Addr() {
			t.Errorf("%q: %+v", raw, d)
		}
	}
}

func TestRefusals(t *testing.T) {
	failures := map[string]error{
		"missing":   fmt.Errorf("secret: %w", fs.ErrNotExist),
		"forbidden": fmt.Errorf("secret: %w", fs.ErrPermission),
		"odd":       fmt.Errorf("secret: %w", fs.ErrInvalid),
		"broken":    errors.New("secret"),
	}
	opened := make(chan string, 100)
	st := start(t, Options{Open: func(_ context.Context, r Request) (File, error) {
		opened <- r.Name
		return nil, failures[r.Name]
	}}, nil)
	tests := []struct {
		name   string
		packet string
		opens  bool
		want   string
	}{
		{"not there", rrq("missing"), true, errorPacket(1, "file not found")},
		{"not permitted", rrq("forbidden"), true, errorPacket(2, "access violation")},
		{"not allowed", rrq("odd", "blksize", "1428"), true, errorPacket(4, "illegal operation")},
		{"not possible", rrq("broken", "tsize", "0"), true, errorPacket(0, "try again later")},
		{"write", "\x00\x02a\x00octet\x00", false, errorPacket(2, "access violation")},
		{"mail", "\x00\x01a\x00mail\x00", false, errorPacket(4, "illegal operation")},
		{"way up", rrq("../../etc/passwd"), false, errorPacket(4, "illegal operation")},
		{"way up with backslashes", rrq(`a\..\..\b`), false, errorPacket(4, "illegal operation")},
		{"control character", rrq("a\nb"), false, errorPacket(4, "illegal operation")},
		{"no name", rrq(""), false, errorPacket(4, "illegal operation")},
		{"long name", rrq(strings.Repeat("a", 300)), false, errorPacket(4, "illegal operation")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rom := newROM(t, st.addr)
			rom.send(st.addr, tt.packet)
			rom.expect(tt.want)
			if opens := len(opened) > 0; opens != tt.opens {
				t.Errorf("opened: %v", opens)
			}
			if tt.opens {
				receive(t, opened)
				if d := receive(t, st.done); d.Err == nil || !errors.Is(d.Err, failures[d.Name]) {
					t.Errorf("reported %+v", d)
				}
			}
		})
	}
	if len(st.done) > 0 {
		t.Errorf("a request that opened nothing was reported: %+v", <-st.done)
	}
}

func TestOptionsAreNegotiated(t *testing.T) {
	body := noise(3000)
	files := &shelf{files: map[string][]byte{"f": body}}
	st := start(t, Options{Open: files.Open}, nil)
	rom := newROM(t, st.addr)
	rom.ask("f", "TSIZE", "0", "blksize", "1468", "windowsize", "8")
	rom.expect("\x00\x06blksize\x001428\x00tsize\x003000\x00")
	rom.ack(0)
	if got := rom.rest(1, 1428); !bytes.Equal(got, body) {
		t.Errorf("got %d other bytes", len(got))
	}
	if d := receive(t, st.done); d.Err != nil || d.Bytes != 3000 {
		t.Errorf("reported %+v", d)
	}
}

func TestSizeProbe(t *testing.T) {
	files := &shelf{files: map[string][]byte{"f": noise(5000)}}
	st := start(t, Options{Open: files.Open}, nil)
	for _, code := range []byte{0, 4, 8} {
		rom := newROM(t, st.addr)
		rom.ask("f", "tsize", "0")
		rom.expect("\x00\x06tsize\x005000\x00")
		rom.send(rom.tid, errorPacket(code, "User aborted the transfer"))
		if d := receive(t, st.done); !errors.Is(d.Err, ErrAborted) {
			t.Errorf("code %d reported as %v", code, d.Err)
		}
		rom.expectNothing()
		// The same port asks for the file itself.
		rom.ask("f", "blksize", "1400")
		rom.expect("\x00\x06blksize\x001400\x00")
		rom.ack(0)
		if got := rom.rest(1, 1400); len(got) != 5000 {
			t.Errorf("got %d bytes", len(got))
		}
		receive(t, st.done)
	}
}

func TestClientReportsError(t *testing.T) {
	files := &shelf{files: map[string][]byte{"f": noise(5000)}}
	st := start(t, Options{Open: files.Open}, nil)
	rom := newROM(t, st.addr)
	rom.ask("f")
	rom.read()
	rom.send(rom.tid, errorPacket(3, "disk full"))
	if d := receive(t, st.done); d.Err == nil || errors.Is(d.Err, ErrAborted) || !strings.Contains(d.Err.Error(), `error 3, "disk full"`) {
		t.Errorf("reported as %v", d.Err)
	}
	rom.expectNothing()
}

func TestClientClosesItsPort(t *testing.T) {
	files := &shelf{files: map[string][]byte{"f": noise(5000)}}
	st := start(t, Options{Open: files.Open, Timeout: 10 * time.Millisecond}, nil)
	rom := newROM(t, st.addr)
	rom.ask("f")
	rom.read()
	rom.conn.Close()
	if d := receive(t, st.done); !errors.Is(d.Err, ErrAborted) {
		t.Errorf("reported as %v", d.Err)
	}
}

// A client that has all blocks may leave before its last acknowledgement is read, or without sending one.
func TestLastAcknowledgementLost(t *testing.T) {
	files := &shelf{files: map[string][]byte{"f": []byte("body"), "g": []byte("next")}}
	st := start(t, Options{Open: files.Open, Timeout: 10 * time.Millisecond}, nil)
	for _, leave := range []func(*rom){
		func(rom *rom) { rom.ask("g") },
		func(rom *rom) { rom.conn.Close() },
	} {
		rom := newROM(t, st.addr)
		rom.ask("f")
		rom.expect(dataPacket(1, "body"))
		leave(rom)
		d := receive(t, st.done)
		for d.Name != "f" {
			d = receive(t, st.done)
		}
		if d.Err != nil || d.Bytes != 4 {
			t.Errorf("reported %+v", d)
		}
		rom.conn.Close()
	}
}

func TestLengths(t *testing.T) {
	files := &shelf{files: map[string][]byte{}}
	for _, n := range []int{0, 1, 511, 512, 513, 1024, 1025} {
		files.files[fmt.Sprint(n)] = noise(n)
	}
	st := start(t, Options{Open: files.Open}, nil)
	for name, body := range files.files {
		rom := newROM(t, st.addr)
		rom.ask(name)
		if got := rom.rest(1, 512); !bytes.Equal(got, body) {
			t.Errorf("%s: got %d bytes", name, len(got))
		}
		if d := receive(t, st.done); d.Err != nil || d.Bytes != int64(len(body)) {
			t.Errorf("%s: reported %+v", name, d)
		}
	}
	if files.opened.Load() != files.closed.Load() {
		t.Errorf("%d files opened, %d closed", files.opened.Load(), files.closed.Load())
	}
}

func TestBlockNumbersWrap(t *testing.T) {
	body := noise(8*65540 + 3)
	files := &shelf{files: map[string][]byte{"f": body}}
	st := start(t, Options{Open: files.Open}, nil)
	rom := newROM(t, st.addr)
	rom.ask("f", "blksize", "8")
	rom.expect("\x00\x06blksize\x008\x00")
	rom.ack(0)
	if got := rom.rest(1, 8); !bytes.Equal(got, body) {
		t.Errorf("got %d other bytes", len(got))
	}
}

func TestLostPacketsAreSentAgain(t *testing.T) {
	body := noise(1000)
	files := &shelf{files: map[string][]byte{"f": body}}
	st := start(t, Options{Open: files.Open, Timeout: 20 * time.Millisecond, Retries: 100}, nil)
	rom := newROM(t, st.addr)
	rom.ask("f", "tsize", "0")
	oack := rom.read()
	rom.expect(oack)
	rom.ack(0)
	first := rom.read()
	for first == oack { // sent again before our acknowledgement arrived
		first = rom.read()
	}
	rom.expect(first)
	rom.ack(1)
	for {
		if second := rom.read(); second != first {
			if second != dataPacket(2, string(body[512:])) {
				t.Fatalf("got %.80q", second)
			}
			break
		}
	}
	rom.ack(2)
	if d := receive(t, st.done); d.Err != nil {
		t.Error(d.Err)
	}
}

// The sorcerer's apprentice: an acknowledgement that comes twice must not be answered twice.
func TestRepeatedAcknowledgement(t *testing.T) {
	body := noise(1500)
	files := &shelf{files: map[string][]byte{"f": body}}
	st := start(t, Options{Open: files.Open}, nil)
	rom := newROM(t, st.addr)
	rom.ask("f")
	rom.expect(dataPacket(1, string(body[:512])))
	for range 10 {
		rom.ack(1)
	}
	rom.send(rom.tid, "\x00\x04")
	rom.send(rom.tid, "garbage")
	rom.expect(dataPacket(2, string(body[512:1024])))
	rom.ack(2)
	rom.expect(dataPacket(3, string(body[1024:])))
	rom.ack(3)
	receive(t, st.done)
	rom.expectNothing()
}
