package central

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// smallDisk makes the data folder of a configuration a disk of a few megabytes.
func smallDisk(t *testing.T, cfg Config) {
	t.Helper()
	if err := syscall.Mount("pureboot-test", cfg.DataDir, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("a small disk needs the right to mount one: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(cfg.DataDir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// occupy takes what is left of a disk, to the last byte.
func occupy(t *testing.T, dir string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "ballast"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, size := range []int{1 << 20, 4 << 10, 1} {
		for block := make([]byte, size); err == nil; {
			_, err = f.Write(block)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		err = nil
	}
}

func release(t *testing.T, dir string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, "ballast")); err != nil {
		t.Fatal(err)
	}
}

// post makes a node and returns the status.
func (s *serving) post(t *testing.T, n int) int {
	t.Helper()
	body := fmt.Sprintf(`{"mac_address": "52:54:00:00:%02x:%02x", "params": {"x": %q}}`, n>>8, n&255, strings.Repeat("x", 4000))
	res := s.do(t, "POST", "/api/v1/nodes", strings.NewReader(body), "Content-Type", "application/json")
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 201 && res.StatusCode != 507 {
		t.Errorf("it says %s %s, %v", res.Status, text, err)
	}
	return res.StatusCode
}

// nodes returns how many there are.
func (s *serving) nodes(t *testing.T) int {
	t.Helper()
	var page struct{ Total int }
	if err := json.Unmarshal([]byte(read(t, s.do(t, "GET", "/api/v1/nodes?limit=1", nil), 200)), &page); err != nil {
		t.Fatal(err)
	}
	return page.Total
}

// On a full disk central refuses what it cannot keep and goes on reading; it starts on one too; and it writes again as
// soon as there is room.
func TestAFullDisk(t *testing.T) {
	cfg := config(t)
	smallDisk(t, cfg)
	s := serve(t, cfg)
	made := 0
	full := func(what string) {
		t.Helper()
		occupy(t, cfg.DataDir)
		for tries := 0; ; tries++ { // the log of the database may have room in itself
			if s.post(t, made) == http.StatusInsufficientStorage {
				break
			}
			if made++; tries > 2000 {
				t.Fatalf("%s a full disk takes everything", what)
			}
		}
		if got := s.nodes(t); got != made {
			t.Errorf("%s there are %d nodes, and %d were made", what, got, made)
		}
	}
	room := func(what string) {
		t.Helper()
		release(t, cfg.DataDir)
		if status := s.post(t, made); status != http.StatusCreated {
			t.Errorf("%s there is room, and central says %d", what, status)
		}
		made++
	}
	full("while it runs")
	room("while it runs")

	// It ends in need, so that what it could not tidy up is still there, and then in peace, so that it has to make its
	// files anew.
	full("before it ends")
	for _, how := range []string{"after an end on a full disk", "after an end with room"} {
		if err := s.stop(); err != nil {
			t.Errorf("it ended with %v", err)
		}
		occupy(t, cfg.DataDir)
		token := s.token
		s = start(t, cfg)
		s.token = token
		if got := s.nodes(t); got != made {
			t.Errorf("%s there are %d nodes, and %d were made", how, got, made)
		}
		read(t, s.do(t, "GET", "/readyz", nil), 200)
		full(how)
		room(how)
	}
}
