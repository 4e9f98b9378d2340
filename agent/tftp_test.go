package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pureboot/pureboot/agent/content"
	"github.com/pureboot/pureboot/tftp"
)

func TestTFTPNames(t *testing.T) {
	central := startCentral(t)
	loader, script, image := central.put("bootloaders/ipxe.efi", 100), central.put("scripts/late.sh", 200), central.put("images/debian-12/linux", 300)
	nested := central.put("bootloaders/arm64/snp.efi", 400)
	a := start(t, config(t, central))
	for name, want := range map[string][]byte{
		"ipxe.efi": loader, "bootloaders/ipxe.efi": loader, "arm64/snp.efi": nested, "scripts/late.sh": script, "images/debian-12/linux": image,
		"/ipxe.efi": loader, "//bootloaders//ipxe.efi": loader, `\images\debian-12\linux`: image, "ipxe.efi\xff": loader,
	} {
		if got, err := a.fetch(name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%q: %d bytes, %v; want %d", name, len(got), err, len(want))
		}
	}
	for name, code := range map[string]string{
		"none.efi": "code: 1,", "images": "code: 1,", "bootloaders/": "code: 1,", "../secret": "code: 4,", "images/../../secret": "code: 4,",
		"a\x01b": "code: 4,", "upstream/x": "code: 1,", "boot.ipxe/x": "code: 1,",
	} {
		if got, err := a.fetch(name); err == nil || !strings.Contains(err.Error(), code) {
			t.Errorf("%q: %d bytes, %v; want %s", name, len(got), err, code)
		}
	}
}

func TestTheBootstrapNamesTheAddressThatWasAsked(t *testing.T) {
	a := start(t, config(t, nil))
	_, port, _ := strings.Cut(a.at["http"], ":")
	for _, name := range []string{"boot.ipxe", "autoexec.ipxe", "bootloaders/autoexec.ipxe"} {
		for local, host := range map[string]string{"10.0.0.1": "10.0.0.1", "::ffff:10.0.0.1": "10.0.0.1", "fd00::1": "[fd00::1]"} {
			f, err := a.openTFTP(t.Context(), tftp.Request{Name: name, Local: netip.MustParseAddr(local)})
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(f)
			if want := fmt.Sprintf("http://%s:%s/boot/", host, port); err != nil || !strings.Contains(string(text), want) || f.Size() != int64(len(text)) {
				t.Errorf("%s at %s: %v, no %s in\n%s", name, local, err, want, text)
			}
			f.Close()
		}
	}
}

func TestTFTPErrorsCarryWhatTheServerNeeds(t *testing.T) {
	a := start(t, config(t, startCentral(t)))
	for name, want := range map[string]error{"none": fs.ErrNotExist, strings.Repeat("x", 300): content.ErrName} {
		f, err := a.openTFTP(t.Context(), tftp.Request{Name: name})
		if f != nil || !errors.Is(err, want) {
			t.Errorf("%.20s: %v, %v; want %v", name, f, err, want)
		}
	}
}

func FuzzNothingOutsideTheCacheIsReadByTFTP(f *testing.F) {
	for _, seed := range []string{"ipxe.efi", "../secret", "images/../../secret", "/etc/passwd", `..\secret`, "images/x\xff", "\x00", "boot.ipxe", "%2e%2e/x"} {
		f.Add(seed)
	}
	cfg := config(f, nil)
	a, err := New(f.Context(), cfg, "test", slog.New(slog.DiscardHandler))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { a.close() })
	for _, dir := range []string{cfg.DataDir, cfg.StateDir(), cfg.CacheDir(), filepath.Dir(cfg.DataDir)} {
		if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("SECRET"), 0o600); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, raw string) {
		name, err := tftp.CleanName(raw)
		if err != nil {
			return
		}
		file, err := a.openTFTP(t.Context(), tftp.Request{Name: name, Local: netip.MustParseAddr("10.0.0.1")})
		if err != nil {
			return
		}
		defer file.Close()
		if text, err := io.ReadAll(file); err != nil || !strings.HasPrefix(string(text), "#!ipxe\n") {
			t.Errorf("%q is %q, %v", raw, text, err)
		}
	})
}

func TestStockClients(t *testing.T) {
	central := startCentral(t)
	files := map[string][]byte{}
	for _, n := range []int{1, 512, 1428, 300_000} {
		name := fmt.Sprintf("bootloaders/boot/%d.bin", n)
		files[name] = central.put(name, n)
	}
	a := start(t, config(t, central))
	_, port, _ := strings.Cut(a.at["tftp"], ":")
	for _, tt := range []struct {
		program, debian string
		args            func(name, to string) []string
	}{
		{"tftp", "tftp-hpa", func(name, to string) []string {
			return []string{"-m", "binary", "127.0.0.1", port, "-c", "get", name, to}
		}},
		{"atftp", "atftp", func(name, to string) []string {
			return []string{"--option", "blksize 1428", "--option", "tsize", "--get", "-r", name, "-l", to, "127.0.0.1", port}
		}},
		{"curl", "curl", func(name, to string) []string {
			return []string{"-sS", "-o", to, "tftp://127.0.0.1:" + port + "/" + name}
		}},
		{"curl", "curl", func(name, to string) []string {
			return []string{"-sSf", "-o", to, "http://" + a.at["http"] + "/" + name}
		}},
		{"wget", "wget", func(name, to string) []string {
			return []string{"-q", "-O", to, "http://" + a.at["http"] + "//" + name}
		}},
	} {
		t.Run(tt.program, func(t *testing.T) {
			program, err := exec.LookPath(tt.program)
			if err != nil {
				t.Skipf("%s is not installed: apt-get install %s", tt.program, tt.debian)
			}
			for name, body := range files {
				to := filepath.Join(t.TempDir(), "got")
				out, err := exec.CommandContext(t.Context(), program, tt.args(name, to)...).CombinedOutput()
				if err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				if got, err := os.ReadFile(to); err != nil || !bytes.Equal(got, body) {
					t.Errorf("%s: %d bytes, %v, want %d\n%s", name, len(got), err, len(body), out)
				}
			}
		})
	}
	for name := range files {
		if sent := central.contentRequests(name); sent != 1 {
			t.Errorf("central sent %s %d times, want once", name, sent)
		}
	}
}
