package systemd

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// manager is the service manager's end of the notification socket.
func manager(t *testing.T) *net.UnixConn {
	t.Helper()
	dir, err := os.MkdirTemp("", "sd") // t.TempDir is too long for a socket's name in some places
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return conn
}

func receive(t *testing.T, conn *net.UnixConn) string {
	t.Helper()
	buf := make([]byte, 256)
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

func TestReadyAndStoppingReachTheManager(t *testing.T) {
	conn := manager(t)
	if err := Ready("serving"); err != nil {
		t.Fatal(err)
	}
	if got, want := receive(t, conn), "READY=1\nSTATUS=serving"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	if err := Stopping(); err != nil {
		t.Fatal(err)
	}
	if got, want := receive(t, conn), "STOPPING=1"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
}

func TestNobodyAsked(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "")
	if err := Ready("serving"); err != nil {
		t.Error(err)
	}
	if err := Watchdog(t.Context(), slog.New(slog.DiscardHandler), nil); err != nil {
		t.Error(err)
	}
}

func TestWatchdogFallsSilentWithTheDaemon(t *testing.T) {
	conn := manager(t)
	t.Setenv("WATCHDOG_USEC", "20000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	checks := 0
	failed := make(chan struct{})
	done := make(chan error)
	go func() {
		done <- Watchdog(ctx, slog.New(slog.DiscardHandler), func(context.Context) error {
			if checks++; checks <= 2 {
				return nil
			}
			if checks == 5 {
				close(failed)
			}
			return errors.New("stuck")
		})
	}()
	for range 2 {
		if got := receive(t, conn); got != "WATCHDOG=1" {
			t.Errorf("told %q, want WATCHDOG=1", got)
		}
	}
	<-failed
	if err := conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 64)); err == nil {
		t.Errorf("a stuck daemon still told %d bytes", n)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
