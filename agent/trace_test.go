package agent

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/pureboot/pureboot/agent/admin"
	"github.com/pureboot/pureboot/central/wire"
)

// TestWhatAMachineAskedForIsTold is the question asked at night: what has that machine been sent?
func TestWhatAMachineAskedForIsTold(t *testing.T) {
	central := startCentral(t)
	central.put("bootloaders/ipxe.efi", 3000)
	central.put("images/linux", 300_000)
	central.nodes[mac] = wire.Boot{Node: wire.Node{ID: "6ba7b810-9dad-11d1-80b4-00c04fd430c8", MACAddress: mac, State: "active", Version: 1}}
	a := start(t, config(t, central))
	trace := func(of string) []string {
		t.Helper()
		var got admin.Trace
		if err := admin.NewClient(a.cfg.Listen.Admin).Call(t.Context(), http.MethodGet, admin.TracePath(of), nil, nil, &got); err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, s := range got.Items {
			line := strings.Join([]string{s.Protocol, s.Method, s.File, http.StatusText(s.Status), s.Tier}, " ")
			if s.Bytes == 0 != (s.Status == http.StatusNotFound && s.Method == http.MethodHead) && s.Error == "" || !s.Client.IsLoopback() || s.At.IsZero() {
				t.Errorf("%s: %+v", line, s)
			}
			if s.Error != "" {
				line += ": " + s.Error
			}
			lines = append(lines, line)
		}
		return lines
	}
	for _, ask := range []func() error{
		func() error { _, err := a.fetch("ipxe.efi"); return err },
		func() error { _, _, err := a.get("/boot.ipxe"); return err },
		func() error { _, _, err := a.get("/boot/" + strings.ReplaceAll(mac, ":", "-") + "?uuid=x"); return err },
		func() error { _, _, err := a.get("/images/linux"); return err },
		func() error { a.settled(t); _, _, err := a.get("/images/linux"); return err },
		func() error { _, _, err := a.get("/images/none"); return err },
	} {
		if err := ask(); err != nil {
			t.Fatal(err)
		}
	}
	_, _ = a.fetch("none.efi")
	want := []string{
		"tftp  ipxe.efi  fill",
		"http GET /boot.ipxe OK ",
		"http GET /boot/52-54-00-12-34-56 OK upstream", // central was asked who it is
		"http GET /images/linux OK fill",
		"http GET /images/linux OK hot",
		"http GET /images/none Not Found ",
	}
	// What was sent is noted as the client has it.
	var got []string
	eventually(t, "the last step is noted", func() bool {
		got = trace(mac)
		return len(got) > 0 && strings.HasPrefix(got[len(got)-1], "tftp  none.efi")
	})
	failed := got[len(got)-1]
	got = got[:len(got)-1]
	if len(got) != len(want) {
		t.Fatalf("told %q, want %q", got, want)
	}
	for i := range got {
		if strings.Contains(got[i], "/images/linux") {
			want[i] = got[i] // whether the hot tier has taken it yet is its own matter
		}
	}
	if !slices.Equal(got, want) || !strings.HasPrefix(failed, "tftp  none.efi") || !strings.Contains(failed, ": ") {
		t.Errorf("told %q and %q, want %q", got, failed, want)
	}
	if got := trace("52:54:00:99:99:99"); len(got) != 0 {
		t.Errorf("of a machine that asked for nothing: %q", got)
	}
	var none admin.Trace
	if err := admin.NewClient(a.cfg.Listen.Admin).Call(t.Context(), http.MethodGet, admin.TracePath("nonsense"), nil, nil, &none); err == nil {
		t.Error("what is no MAC address has a trace")
	}
}
