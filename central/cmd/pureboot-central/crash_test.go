package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/pureboot/pureboot/central/wire"
)

// rig is a central and what is needed to be its client.
type rig struct {
	t       *testing.T
	dir     string
	process *process
	token   string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir()}
	config, token, err := prepare(r.dir)
	if err != nil {
		t.Fatal(err)
	}
	r.token = token
	if out, err := exec.Command("pureboot-central", "init", "--config", config, "--token-file", token).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	r.serve("127.0.0.1:0")
	return r
}

// serve starts central, and again at the same address after it was killed.
func (r *rig) serve(listen string) {
	r.t.Helper()
	p, err := startProcess(r.dir, listen)
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(r.dir, "log"))
		r.t.Fatalf("central does not serve: %v\n%s", err, log)
	}
	r.process = p
	r.t.Cleanup(func() { p.stop(syscall.SIGTERM) })
}

func (r *rig) client() *client {
	r.t.Helper()
	c, err := dial(&cobra.Command{}, "https://"+r.process.address, filepath.Join(r.dir, "data", "ca.crt"), r.token)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(c.http.CloseIdleConnections)
	return c
}

// command is a client as a process of its own, at the address of central or before it.
func (r *rig) command(at string, args ...string) *exec.Cmd {
	cmd := exec.Command("pureboot-central", append([]string{"content"}, args...)...)
	cmd.Env = append(os.Environ(), "PUREBOOT_URL=https://"+at, "PUREBOOT_CA="+filepath.Join(r.dir, "data", "ca.crt"), "PUREBOOT_TOKEN_FILE="+r.token)
	return cmd
}

// waitFor waits until something is so.
func (r *rig) waitFor(what string, is func() bool) {
	r.t.Helper()
	for began := time.Now(); !is(); time.Sleep(time.Millisecond) {
		if time.Since(began) > time.Minute {
			r.t.Fatalf("in vain: %s", what)
		}
	}
}

// received says whether so many bytes are in the file of an upload.
func (r *rig) received(folder string, bytes int64) func() bool {
	return func() bool {
		files, _ := filepath.Glob(filepath.Join(r.dir, "data", "content", folder, "*"))
		for _, f := range files {
			if info, err := os.Stat(f); err == nil && info.Size() >= bytes {
				return true
			}
		}
		return false
	}
}

// image makes a file of random bytes.
func (r *rig) image(size int64) (dir string) {
	r.t.Helper()
	dir = r.t.TempDir()
	f, err := os.Create(filepath.Join(dir, "image"))
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.Copy(f, io.LimitReader(rand.NewChaCha8([32]byte{byte(size)}), size)); err != nil {
		r.t.Fatal(err)
	}
	return dir
}

const imageSize = 192 << 20

// Central is killed while it receives, twice, and the client goes on by itself once it is back. Little is sent twice,
// nothing half is visible, and however large the file is central needs little memory.
func TestCentralIsKilledDuringAnImport(t *testing.T) {
	r := newRig(t)
	dir := r.image(imageSize)
	var out bytes.Buffer
	network := &badNetwork{to: r.process.address, most: 56 << 20, stalls: 2}
	cmd := r.command(network.listen(t), "import", dir, "--category", "images", "-o", "json")
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var peak int64
	for i := range 2 {
		r.waitFor("bytes come", func() bool { return network.cut() > i })
		peak = max(peak, r.peak())
		r.process.stop(os.Kill)
		if files, _ := filepath.Glob(filepath.Join(r.dir, "data", "content", "blobs", "*", "*")); len(files) != 0 {
			t.Errorf("half a file is there: %v", files)
		}
		r.serve(r.process.address)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	peak = max(peak, r.peak())
	var results []imported
	if err := json.Unmarshal(out.Bytes(), &results); err != nil || len(results) != 1 || results[0].Outcome != stored {
		t.Fatalf("%v in %s", err, out.String())
	}
	// Of each cut what had not been noted, 32 MiB at most, and what was on its way.
	if sent := results[0].Sent; sent < imageSize || sent > imageSize+2*(48<<20) {
		t.Errorf("%d bytes were sent of %d", sent, int64(imageSize))
	}
	if peak > imageSize*2/3 {
		t.Errorf("central needed %d bytes of memory", peak)
	}
	if out, err := r.command(r.process.address, "verify").CombinedOutput(); err != nil || !strings.Contains(string(out), "1 files, 0 of them damaged") {
		t.Errorf("%v: %s", err, out)
	}
}

// peak is the most memory that central has had so far, in bytes.
func (r *rig) peak() int64 {
	r.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.process.cmd.Process.Pid))
	if err != nil {
		r.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kB, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				r.t.Fatal(err)
			}
			return kB << 10
		}
	}
	r.t.Fatal("no VmHWM")
	return 0
}

// The client is killed, and the same command again goes on.
func TestTheImportIsKilled(t *testing.T) {
	r := newRig(t)
	dir := r.image(imageSize)
	network := &badNetwork{to: r.process.address, most: 80 << 20, stalls: 1}
	cmd := r.command(network.listen(t), "import", dir, "--category", "images")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.waitFor("bytes come", r.received("uploads", 64<<20))
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	out, err := r.command(r.process.address, "import", dir, "--category", "images", "-o", "json").CombinedOutput()
	var results []imported
	if jsonErr := json.Unmarshal(out, &results); err != nil || jsonErr != nil || len(results) != 1 {
		t.Fatalf("%v, %v: %s", err, jsonErr, out)
	}
	if sent := results[0].Sent; results[0].Outcome != stored || sent == 0 || sent > imageSize-(60<<20) {
		t.Errorf("%s, %d bytes were sent of %d", results[0].Outcome, sent, int64(imageSize))
	}
}

// A file that is sent with one request leaves nothing when central is killed, but what its next start deletes.
func TestCentralIsKilledDuringAPut(t *testing.T) {
	r := newRig(t)
	body, sender := io.Pipe()
	done := make(chan error)
	c := r.client()
	go func() {
		res, err := c.do(context.Background(), "PUT", wire.PathContent+"/images/a", body, nil)
		if err == nil {
			res.Body.Close()
		}
		done <- err
	}()
	go func() {
		_, err := io.Copy(sender, rand.NewChaCha8([32]byte{}))
		sender.CloseWithError(err)
	}()
	r.waitFor("bytes come", r.received("tmp", 8<<20))
	r.process.stop(os.Kill)
	if err := <-done; err == nil {
		t.Error("the upload succeeded")
	}
	body.Close()
	r.serve(r.process.address)
	r.waitFor("the rest is swept", func() bool { return !r.received("tmp", 0)() })
	files, err := list[wire.File](t.Context(), r.client(), wire.PathContent, nil)
	if err != nil || len(files) != 0 {
		t.Errorf("there is %v, %v", files, err)
	}
}

// The network between loses every connection after some bytes, and the import needs many.
func TestAnImportOverABadNetwork(t *testing.T) {
	r := newRig(t)
	const size = 24 << 20
	dir := r.image(size)
	if err := os.WriteFile(filepath.Join(dir, "small"), bytes.Repeat([]byte("x"), 1000), 0o644); err != nil {
		t.Fatal(err)
	}
	network := &badNetwork{to: r.process.address, most: 5 << 20}
	out, err := r.command(network.listen(t), "import", dir, "--category", "images", "-o", "json").CombinedOutput()
	var results []imported
	if jsonErr := json.Unmarshal(out, &results); err != nil || jsonErr != nil || len(results) != 2 {
		t.Fatalf("%v, %v: %s", err, jsonErr, out)
	}
	if sent := results[0].Sent; sent < size || sent > 2*size || network.cut() < 4 {
		t.Errorf("%d bytes were sent of %d over %d cuts", sent, int64(size), network.cut())
	}
	if out, err := r.command(r.process.address, "verify").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// badNetwork passes connections on, and after so many bytes from the client cuts each, or lets the first of them
// stand still until central ends.
type badNetwork struct {
	to     string
	most   int64
	stalls int // connections that stand still; the others are whole then

	mu    sync.Mutex
	cuts  int
	conns []net.Conn
}

func (b *badNetwork) listen(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { b.pass(conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		b.mu.Lock()
		for _, c := range b.conns {
			c.Close()
		}
		b.mu.Unlock()
		all.Wait()
	})
	return l.Addr().String()
}

func (b *badNetwork) pass(client net.Conn) {
	defer client.Close()
	central, err := net.Dial("tcp", b.to)
	if err != nil {
		return
	}
	defer central.Close()
	b.mu.Lock()
	b.conns = append(b.conns, client, central)
	whole := b.stalls > 0 && b.cuts >= b.stalls
	b.mu.Unlock()
	var answers sync.WaitGroup
	answers.Go(func() {
		_, _ = io.Copy(client, central)
		client.Close()
	})
	if whole {
		_, _ = io.Copy(central, client)
	} else if n, _ := io.CopyN(central, client, b.most); n == b.most {
		b.mu.Lock()
		b.cuts++
		b.mu.Unlock()
		if b.stalls > 0 {
			answers.Wait()
		}
	}
	central.Close()
	answers.Wait()
}

// cut returns how many connections were cut, or stand still.
func (b *badNetwork) cut() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cuts
}
