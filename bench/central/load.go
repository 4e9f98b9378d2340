package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"runtime/pprof"
	"slices"
	"sync"
	"time"

	"github.com/pureboot/pureboot/agent/uplink"
	"github.com/pureboot/pureboot/central/wire"
)

// load is an open load: requests begin at their times, however long those before them take, and their times count from
// then. A process of its own makes it, so that what this one uses of the processor is central's alone.
type load struct {
	Kind    string // nodes, boots or heartbeats
	Base    string
	CA      string // the file
	Token   string // for nodes
	Agents  []loadAgent
	Nodes   int
	Rate    int // requests a second
	Seconds int
	Profile string // file for a profile of this process; empty is none
}

// loadAgent is an agent that central knows.
type loadAgent struct {
	Site, Secret string
	MACs         []string // of some of its nodes
}

// loadResult is what the other process found.
type loadResult struct {
	Times   []time.Duration // sorted
	Refused int             // that were told to come back later
	Failed  string          // the first failure of another kind; empty if there was none
}

// loadArg makes this program the other process.
const loadArg = "load"

// run has the other process make the load, and measures what this one does meanwhile.
func (l load) run(ctx context.Context) (figure, error) {
	self, err := os.Executable()
	if err != nil {
		return figure{}, err
	}
	plan, err := json.Marshal(l)
	if err != nil {
		return figure{}, err
	}
	cmd := exec.CommandContext(ctx, self, loadArg)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return figure{}, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return figure{}, err
	}
	if err := cmd.Start(); err != nil {
		return figure{}, err
	}
	f, err := l.measure(plan, in, bufio.NewReader(out))
	return f, errors.Join(err, in.Close(), cmd.Wait())
}

func (l load) measure(plan []byte, in io.Writer, out *bufio.Reader) (figure, error) {
	if _, err := in.Write(append(plan, '\n')); err != nil {
		return figure{}, err
	}
	if _, err := out.ReadString('\n'); err != nil { // it has met central
		return figure{}, err
	}
	stop, err := profile(l.Profile)
	if err != nil {
		return figure{}, err
	}
	before, began := processorTime(), time.Now()
	if _, err := in.Write([]byte("go\n")); err != nil {
		return figure{}, err
	}
	text, err := out.ReadBytes('\n')
	if err != nil {
		return figure{}, err
	}
	used, took := processorTime()-before, time.Since(began)
	if err := stop(); err != nil {
		return figure{}, err
	}
	var r loadResult
	if err := json.Unmarshal(text, &r); err != nil {
		return figure{}, err
	}
	if r.Failed != "" {
		return figure{}, errors.New(r.Failed)
	}
	f := summary(r.Times)
	f.refused = r.Refused
	f.cpu, f.core = used/time.Duration(f.n), used.Seconds()/took.Seconds()
	return f, nil
}

// profile writes a profile of the processor to a file until it is stopped.
func profile(name string) (stop func() error, err error) {
	if name == "" {
		return func() error { return nil }, nil
	}
	file, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return file.Close()
	}, nil
}

// serveLoad is the other process.
func serveLoad(ctx context.Context, in io.Reader, out io.Writer) error {
	lines := bufio.NewReader(in)
	text, err := lines.ReadBytes('\n')
	if err != nil {
		return err
	}
	var l load
	if err := json.Unmarshal(text, &l); err != nil {
		return err
	}
	do, meet, err := l.client()
	if err != nil {
		return err
	}
	for _, err := range atOnce(8, meet, do) {
		if err != nil {
			return fmt.Errorf("before the load: %w", err)
		}
	}
	if _, err := fmt.Fprintln(out, "ready"); err != nil {
		return err
	}
	if _, err := lines.ReadString('\n'); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(l.offer(ctx, do))
}

// offer begins each request at its time.
func (l load) offer(ctx context.Context, do func(context.Context, int) error) loadResult {
	n := l.Rate * l.Seconds
	times, errs := make([]time.Duration, n), make([]error, n)
	var wg sync.WaitGroup
	began := time.Now()
	for i := range n {
		at := began.Add(time.Duration(i) * time.Second / time.Duration(l.Rate))
		time.Sleep(time.Until(at))
		wg.Go(func() {
			errs[i] = do(ctx, i)
			times[i] = time.Since(at)
		})
	}
	wg.Wait()
	slices.Sort(times)
	r := loadResult{Times: times}
	for _, err := range errs {
		if refused, ok := errors.AsType[*wire.Refusal](err); ok && refused.RetryAfter > 0 {
			r.Refused++
		} else if err != nil && r.Failed == "" {
			r.Failed = err.Error()
		}
	}
	return r
}

// atOnce does something n times, some at once.
func atOnce(some, n int, do func(context.Context, int) error) []error {
	errs, next := make([]error, n), make(chan int)
	var wg sync.WaitGroup
	for range some {
		wg.Go(func() {
			for i := range next {
				errs[i] = do(context.Background(), i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	return errs
}

// client returns what the i-th request does, and how many of them meet everything that the load will use.
func (l load) client() (do func(context.Context, int) error, meet int, err error) {
	if l.Kind == "nodes" {
		client, err := trusting(l.CA)
		if err == nil { // one connection: a load that makes more when it has to wait would never let up
			client.Transport.(*http.Transport).ForceAttemptHTTP2 = true
		}
		return l.findNode(client), 100, err
	}
	clients, err := l.clients()
	if err != nil {
		return nil, 0, err
	}
	if l.Kind == "boots" {
		return l.boot(clients), len(clients), nil
	}
	return l.beat(clients), len(clients), nil
}

// clients are those of the agents, each with connections of its own.
func (l load) clients() ([]*uplink.Client, error) {
	ca, err := os.ReadFile(l.CA)
	if err != nil {
		return nil, err
	}
	clients := make([]*uplink.Client, len(l.Agents))
	for i, a := range l.Agents {
		id := uplink.Identity{CentralURL: l.Base, CA: string(ca), SiteID: a.Site, Secret: a.Secret}
		if clients[i], err = uplink.NewClient(id, uplink.ClientOptions{}); err != nil {
			return nil, err
		}
	}
	return clients, nil
}

// findNode looks a node up as an administrator does.
func (l load) findNode(client *http.Client) func(context.Context, int) error {
	return func(ctx context.Context, _ int) error {
		want := mac(rand.N(l.Nodes))
		req, err := http.NewRequestWithContext(ctx, "GET", l.Base+"/api/v1/nodes?mac="+want, nil)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+l.Token)
		res, err := client.Do(req)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(res.Body)
		if err = errors.Join(err, res.Body.Close()); err != nil {
			return err
		}
		if res.StatusCode != 200 || !bytes.Contains(text, []byte(`"mac_address":"`+want+`"`)) {
			return fmt.Errorf("node %s: %d %s", want, res.StatusCode, text)
		}
		return nil
	}
}

// boot asks for what a node boots, as its agent does.
func (l load) boot(clients []*uplink.Client) func(context.Context, int) error {
	return func(ctx context.Context, i int) error {
		k := i % len(clients)
		want := l.Agents[k].MACs[rand.N(len(l.Agents[k].MACs))]
		boot, err := clients[k].BootByMAC(ctx, want, "")
		if err == nil && boot.Node.MACAddress != want {
			err = fmt.Errorf("asked for %s, got %s", want, boot.Node.MACAddress)
		}
		return err
	}
}

// beat reports as the agents do in turn: each says what it learned from the answer before.
func (l load) beat(clients []*uplink.Client) func(context.Context, int) error {
	reports := make([]wire.Heartbeat, len(clients))
	for i := range reports {
		reports[i] = wire.Heartbeat{
			Hello:  wire.Hello{ProtocolVersion: wire.ProtocolVersion, Capabilities: []string{}, AgentVersion: "bench"},
			BootID: fmt.Sprint("boot-", i), Services: map[string]string{"http": "running", "tftp": "running", "admin": "running"},
			NodesSeenLastHour: 7, CacheSizeBytes: 12345678901, CacheEntries: 321, CacheHitRate: 0.97, NodeCacheEntries: 100, DiskUsagePercent: 41.5,
		}
	}
	return func(ctx context.Context, i int) error {
		report := &reports[i%len(reports)]
		report.Seq++
		report.UptimeSeconds += 50
		answer, err := clients[i%len(clients)].Heartbeat(ctx, *report)
		if err == nil && (answer.NextIn == 0 || answer.NodeEpoch.Stream == "") {
			err = fmt.Errorf("got %+v", answer)
		}
		report.NodeEpoch, report.ContentEpoch = answer.NodeEpoch, answer.ContentEpoch
		return err
	}
}
