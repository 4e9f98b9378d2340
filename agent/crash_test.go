package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/central/wire"
)

const (
	crashEnv       = "PUREBOOT_TEST_CRASH_CONFIG" // makes the test program an agent with this configuration
	crashLimitEnv  = "PUREBOOT_TEST_CRASH_LIMIT"  // bytes that it may store
	crashRoundsEnv = "PUREBOOT_TEST_CRASH_ROUNDS" // how often it is killed
	crashRounds    = 15                           // unless told otherwise; make crash has 100

	roomy  = 256 << 20 // bytes that hold all there is
	narrow = 6 << 20   // and those that make the load evict
)

// crashChild is an agent with a back door, by which the test learns what is published and purges it.
func crashChild(file string) {
	err := func() error {
		cfg, err := Load(file)
		if err != nil {
			return err
		}
		a, err := New(context.Background(), cfg, "test", slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		limit, err := strconv.ParseInt(os.Getenv(crashLimitEnv), 10, 64)
		if err != nil {
			return err
		}
		a.cache.SetLimits(limit, 0)
		back, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		mux := http.NewServeMux()
		mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) { send(w, a.cache.Stats()) })
		mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
			keys := []cache.Key{}
			for e := range a.cache.All() {
				keys = append(keys, e.Key)
			}
			send(w, keys)
		})
		mux.HandleFunc("POST /purge", func(w http.ResponseWriter, r *http.Request) {
			prefix := r.URL.Query().Get("prefix")
			if _, err := a.cache.Purge(func(e cache.Entry) bool { return strings.HasPrefix(string(e.Key), prefix) }); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		})
		go func() { _ = http.Serve(back, mux) }() // until it is killed
		fmt.Println(back.Addr())
		return a.Run(context.Background(), os.NewFile(3, "ready"))
	}()
	fmt.Fprintln(os.Stderr, "the agent has ended:", err)
	os.Exit(1)
}

// victim is an agent that runs in a process of its own.
type victim struct {
	cmd        *exec.Cmd
	http, back string // its addresses
	killing    sync.Once
}

func startVictim(t *testing.T, file string, limit int64) *victim {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	v := &victim{cmd: exec.Command(self)}
	v.cmd.Env = append(os.Environ(), crashEnv+"="+file, crashLimitEnv+"="+strconv.FormatInt(limit, 10))
	v.cmd.Stderr, v.cmd.ExtraFiles = os.Stderr, []*os.File{write}
	stdout, err := v.cmd.StdoutPipe()
	if err == nil {
		err = v.cmd.Start()
	}
	write.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.kill)
	var at map[string]string
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err == nil {
		err = json.NewDecoder(read).Decode(&at)
	}
	if err != nil {
		t.Fatalf("the agent does not start: %v", err)
	}
	v.back, v.http = strings.TrimSpace(line), at["http"]
	return v
}

// kill may be called again, by anybody.
func (v *victim) kill() {
	v.killing.Do(func() {
		_ = v.cmd.Process.Kill()
		_ = v.cmd.Wait()
	})
}

// keys of what is published.
func (v *victim) keys() (keys []string, err error) {
	res, err := http.Get("http://" + v.back + "/keys")
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	return keys, json.NewDecoder(res.Body).Decode(&keys)
}

func (v *victim) purge(prefix string) error {
	res, err := http.Post("http://"+v.back+"/purge?prefix="+url.QueryEscape(prefix), "", nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if text, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusOK {
		return fmt.Errorf("purge: %s: %s, %w", res.Status, text, err)
	}
	return nil
}

// TestKilledAtAnyMoment kills an agent under mixed load, again and again: content of central, upstreams' resources with
// and without validators and lengths, some of which change, ranges, purges, and in every third round evictions. No
// answer that looks whole is wrong, nothing that was published is lost or fetched again, nothing that was
// purged comes back, and a transfer that was interrupted goes on where it was.
func TestKilledAtAnyMoment(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	rounds := crashRounds
	if text := os.Getenv(crashRoundsEnv); text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	w := newCrashWorld(t)
	cfg := config(t, w.central)
	file := filepath.Join(filepath.Dir(cfg.DataDir), "agent.yaml")
	text := fmt.Sprintf("data_dir: %s\nlisten: {http: \"127.0.0.1:0\", tftp: \"\", admin: \"\"}\ncache: {min_free_gb: 0}\n"+
		"upstreams:\n  - {prefix: /up/, url: \"%s\"}\n", cfg.DataDir, w.origin.URL)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for w.round = 1; w.round <= rounds; w.round++ {
		w.limit = roomy
		if w.round%3 == 0 {
			w.limit = narrow
		}
		w.begin()
		v := startVictim(t, file, w.limit)
		w.load(v, time.Duration(20+rand.IntN(400))*time.Millisecond)
		v = startVictim(t, file, roomy)
		w.check(v)
		v.kill()
		if t.Failed() {
			t.Fatalf("in round %d", w.round)
		}
	}
	t.Logf("%d kills: %d answers checked, %d of them cut by the kill; %d published objects kept, %d purged; interrupted transfers cost %.3fx at most",
		rounds, w.checked.Load(), w.cut.Load(), w.keptCount, len(w.purged), w.worst)
	if w.keptCount == 0 || len(w.purged) == 0 || w.interrupted == 0 {
		t.Error("the kills came too early to say anything")
	}
}

// check is what must be so after a kill.
func (w *crashWorld) check(v *victim) {
	t := w.t
	w.killed.Store(false)
	keys, err := v.keys()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range w.purged {
		if slices.Contains(keys, key) {
			t.Errorf("%s was purged and is back", key)
		}
	}
	for key := range w.finished {
		if w.limit == narrow && !strings.HasPrefix(key, wire.Bootloaders) {
			continue // it may have been evicted
		}
		if !slices.Contains(keys, key) {
			t.Errorf("%s was published and is gone", key)
		}
	}
	w.finished = map[string]bool{}
	for _, key := range keys {
		w.finished[key] = true
		name := nameOf(key)
		if strings.Contains(name, "changing") {
			continue // may be asked about
		}
		w.keptCount++
		sent := w.sentOf(name)
		w.get(v, name, "")
		if again := w.sentOf(name) - sent; again != 0 {
			t.Errorf("%d bytes of %s are fetched again", again, key)
		}
	}
	var clients sync.WaitGroup
	costs := map[string]float64{} // beyond one transfer, in bytes
	for i, name := range slices.Concat(w.large(), w.sparse()) {
		if w.sentOf(name) == 0 || slices.Contains(keys, keyOf(name)) {
			continue
		}
		costs[name] = -largeSize
		if i >= 2 {
			costs[name] -= float64(w.ranges[i-2].Load()) * (1 << 20)
		}
		clients.Go(func() { w.get(v, name, "") })
	}
	clients.Wait()
	for name, cost := range costs {
		cost = (cost + float64(w.sentOf(name))) / largeSize
		w.interrupted, w.worst = w.interrupted+1, max(w.worst, 1+cost)
		if cost > 0.05 {
			t.Errorf("%s cost %.3fx and 1 MiB per range", name, 1+cost)
		}
	}
	if err := v.purge("upstream/up/large"); err != nil {
		t.Error(err)
	}
	if err := v.purge("images/large"); err != nil {
		t.Error(err)
	}
	for key := range w.finished {
		if strings.Contains(key, "large") {
			delete(w.finished, key)
		}
	}
}
