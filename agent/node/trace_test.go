package node

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	oneMAC   = "52:54:00:00:00:01"
	otherMAC = "52:54:00:00:00:02"
)

var (
	here  = netip.MustParseAddr("192.0.2.7")
	there = netip.MustParseAddr("192.0.2.8")
	begin = time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)
)

// after is a step so many minutes after the first.
func after(minutes int, s Step) Step {
	s.At = begin.Add(time.Duration(minutes) * time.Minute)
	return s
}

func tftpStep(file string) Step { return Step{Protocol: "tftp", File: file, Begins: true} }
func fileStep(file string) Step {
	return Step{Protocol: "http", Method: "GET", File: file, Status: 200}
}

func bootStep(mac string) Step {
	return Step{Protocol: "http", Method: "GET", File: "/boot/" + mac, Status: 200, MAC: mac}
}

func files(steps []Step) (names []string) {
	for _, s := range steps {
		names = append(names, s.File)
	}
	return names
}

func wantFiles(t *testing.T, traces *Traces, mac string, neighbours map[netip.Addr]string, want ...string) {
	t.Helper()
	if got := files(traces.ByMAC(mac, neighbours)); !slices.Equal(got, want) {
		t.Errorf("%s asked for %q, want %q", mac, got, want)
	}
}

func TestATraceIsOfTheMachineThatNamesItself(t *testing.T) {
	var traces Traces
	for i, s := range []Step{
		tftpStep("ipxe.efi"), bootStep(oneMAC), fileStep("/images/linux"),
		tftpStep("undionly.kpxe"), bootStep(otherMAC), fileStep("/images/other"), // who got the address after it
	} {
		traces.Of(here).Note(after(i, s))
	}
	traces.Of(there).Note(after(9, bootStep(oneMAC))) // the first one, at its new address
	wantFiles(t, &traces, oneMAC, nil, "ipxe.efi", "/boot/"+oneMAC, "/images/linux", "/boot/"+oneMAC)
	wantFiles(t, &traces, otherMAC, nil, "undionly.kpxe", "/boot/"+otherMAC, "/images/other")
	if got := traces.ByMAC(oneMAC, nil); got[0].Client != here || got[3].Client != there {
		t.Errorf("from %v and %v", got[0].Client, got[3].Client)
	}
	// Firmware that asked long before the next machine named itself was the machine's that had the address.
	traces = Traces{}
	traces.Of(here).Note(after(0, bootStep(oneMAC)))
	traces.Of(here).Note(after(1, tftpStep("ipxe.efi")))
	traces.Of(here).Note(after(60, bootStep(otherMAC)))
	wantFiles(t, &traces, oneMAC, nil, "/boot/"+oneMAC, "ipxe.efi")
}

// A machine may never get as far as its script.
func TestWhoNeverNamesItselfIsKnownByTheKernel(t *testing.T) {
	var traces Traces
	traces.Of(here).Note(after(0, tftpStep("ipxe.efi")))
	wantFiles(t, &traces, oneMAC, nil)
	arp := parseARP(strings.NewReader("IP address       HW type     Flags       HW address            Mask     Device\n" +
		"192.0.2.7        0x1         0x2         52:54:00:00:00:01     *        eth0\n" +
		"192.0.2.9        0x1         0x0         00:00:00:00:00:00     *        eth0\nnonsense\n"))
	if len(arp) != 1 {
		t.Errorf("read %v", arp)
	}
	wantFiles(t, &traces, oneMAC, arp, "ipxe.efi")
}

func TestWhatIsAskedForAgainAndAgainIsOneStep(t *testing.T) {
	var traces Traces
	trace := traces.Of(here)
	for i := range 5 {
		s := after(i, fileStep("/images/iso"))
		s.Bytes = 10
		trace.Note(s)
	}
	for i := range 3000 {
		s := after(i, fileStep(fmt.Sprintf("/debian/%d.deb", i)))
		s.Upstream = true
		trace.Note(s)
	}
	failed := fileStep("/debian/x.deb")
	failed.Upstream, failed.Status = true, 404
	trace.Note(failed)
	got := trace.list()
	if len(got) != 3 || got[0].Requests != 5 || got[0].Bytes != 50 || !got[0].At.Equal(begin.Add(4*time.Minute)) ||
		got[1].Requests != 3000 || got[1].File != "/debian/2999.deb" || got[2].Status != 404 {
		t.Errorf("%+v", got)
	}
}

func TestTracesAreBounded(t *testing.T) {
	var traces Traces
	trace := traces.Of(here)
	for i := range 3*maxSteps + 5 {
		trace.Note(after(i, fileStep(fmt.Sprintf("/images/%d%s", i, strings.Repeat("x", 1000)))))
	}
	got := trace.list()
	if len(got) != maxSteps || !strings.HasPrefix(got[0].File, fmt.Sprintf("/images/%dx", 2*maxSteps+5)) ||
		!strings.HasPrefix(got[maxSteps-1].File, fmt.Sprintf("/images/%dx", 3*maxSteps+4)) || len(got[0].File) > maxText+len("…") {
		t.Errorf("%d steps, from %.20s to %.20s", len(got), got[0].File, got[len(got)-1].File)
	}
	addr := netip.MustParseAddr("10.0.0.0")
	for i := range 3 * maxTraced {
		traces.Of(addr).Note(after(1000+i, bootStep(otherMAC)))
		addr = addr.Next()
	}
	all := 0
	for i := range traces.shards {
		all += len(traces.shards[i].of)
	}
	if all > maxTraced {
		t.Errorf("%d addresses are remembered", all)
	}
	if trace.Note(fileStep("/late")) {
		t.Error("the oldest takes steps although it is gone")
	}
	if same := traces.Of(netip.MustParseAddr("::ffff:192.0.2.7")); same != traces.Of(here) {
		t.Error("an IPv4 address is another one in IPv6's form")
	}
}

func TestTracesAreReadWhileTheyAreWritten(t *testing.T) {
	var traces Traces
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			addr := netip.AddrFrom4([4]byte{10, 0, 0, byte(w % 2)})
			for i := range 500 {
				traces.Of(addr).Note(after(i, fileStep(fmt.Sprint(i))))
				traces.Of(addr).Note(after(i, bootStep(oneMAC)))
			}
		})
	}
	all.Go(func() {
		for range 50 {
			traces.ByMAC(oneMAC, nil)
		}
	})
	all.Wait()
	if got := traces.ByMAC(oneMAC, nil); len(got) != 2*maxSteps {
		t.Errorf("%d steps", len(got))
	}
}

func BenchmarkNote(b *testing.B) {
	var traces Traces
	trace, steps := traces.Of(here), [2]Step{fileStep("/images/linux"), fileStep("/images/initrd")}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		trace.Note(steps[i%2])
	}
}

func TestNotingAStepAllocatesNothing(t *testing.T) {
	var traces Traces
	trace, steps, i := traces.Of(here), [2]Step{fileStep("/images/linux"), fileStep("/images/initrd")}, 0
	for range maxSteps {
		trace.Note(steps[i%2])
		i++
	}
	if n := testing.AllocsPerRun(100, func() { trace.Note(steps[i%2]); i++ }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
