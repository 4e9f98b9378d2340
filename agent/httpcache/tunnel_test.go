package httpcache

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestTunnels is RFC 9110 section 7.8 and RFC 6455: bytes go both ways as they are, and the tunnel ends on both sides when either
// side, or the cache, ends it.
func TestTunnels(t *testing.T) {
	open := func(t *testing.T) (s *site, client net.Conn, origin net.Conn) {
		conns := make(chan net.Conn, 1)
		o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Sec-Websocket-Key") != "AAAA" {
				t.Errorf("the origin gets %v", r.Header)
			}
			c, _, err := http.NewResponseController(w.(*countingWriter).ResponseWriter).Hijack()
			if err != nil {
				t.Error(err)
			}
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: BBBB\r\n\r\nearly")
			conns <- c
		})
		s = startSite(t, o.URL)
		client = s.dial()
		_, _ = io.WriteString(client, "GET /up/chat HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAA\r\n\r\n")
		r := bufio.NewReaderSize(client, 4096)
		head := ""
		for !strings.HasSuffix(head, "\r\n\r\n") {
			b, err := r.ReadByte()
			if err != nil {
				t.Fatal(head, err)
			}
			head += string(b)
		}
		if !strings.HasPrefix(head, "HTTP/1.1 101 ") || !strings.Contains(head, "Sec-Websocket-Accept: BBBB") || !strings.Contains(head, "Upgrade: websocket") {
			t.Errorf("head %q", head)
		}
		early := make([]byte, 5)
		if _, err := io.ReadFull(r, early); err != nil || string(early) != "early" {
			t.Errorf("%q, %v", early, err)
		}
		origin = <-conns
		t.Cleanup(func() { origin.Close() })
		_ = origin.SetDeadline(time.Now().Add(20 * time.Second))
		return s, client, origin
	}
	ends := func(t *testing.T, c net.Conn) {
		t.Helper()
		if n, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%d bytes, %v", n, err)
		} else if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
			t.Error("it does not end")
		}
	}
	t.Run("bytes both ways", func(t *testing.T) {
		_, client, origin := open(t)
		data := random(2 << 20)
		var both sync.WaitGroup
		for _, way := range [][2]net.Conn{{client, origin}, {origin, client}} {
			both.Go(func() { _, _ = way[0].Write(data) })
			both.Go(func() {
				got := make([]byte, len(data))
				if _, err := io.ReadFull(way[1], got); err != nil || !bytes.Equal(got, data) {
					t.Errorf("other bytes, or %v", err)
				}
			})
		}
		both.Wait()
	})
	t.Run("the client ends it", func(t *testing.T) {
		_, client, origin := open(t)
		client.Close()
		ends(t, origin)
	})
	t.Run("the client ends its half", func(t *testing.T) {
		_, client, origin := open(t)
		_ = client.(*net.TCPConn).CloseWrite()
		ends(t, origin)
		ends(t, client)
	})
	t.Run("the origin ends it, and its last words arrive", func(t *testing.T) {
		_, client, origin := open(t)
		_, _ = io.WriteString(origin, "bye")
		origin.Close()
		if got, err := io.ReadAll(client); err != nil || string(got) != "bye" {
			t.Errorf("%q, %v", got, err)
		}
	})
	t.Run("the cache ends it", func(t *testing.T) {
		s, client, origin := open(t)
		s.handler.Close()
		ends(t, client)
		ends(t, origin)
	})
}

// TestUpgradeBehindTLS is RFC 9113 section 8.6: HTTP/2 knows no Upgrade, so that it goes to an origin that speaks both by HTTP/1.1.
func TestUpgradeBehindTLS(t *testing.T) {
	o := &countingOrigin{}
	o.Server = newTLSServer(t, o.counting(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Proto", r.Proto)
		if r.Header.Get("Upgrade") == "" {
			return
		}
		c, _, err := http.NewResponseController(w.(*countingWriter).ResponseWriter).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\nhello", r.Header.Get("Upgrade"))
	}))
	transport := trusting(o.Server)
	for range 2 { // the second time the transport has spoken HTTP/2 already
		s := startSite(t, o.URL, func(opt *Options) { opt.Transport = transport })
		for _, protocol := range []string{"websocket", "echo"} {
			answer, err := s.raw("GET /up/a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: " + protocol + "\r\n\r\n")
			if err != nil || !strings.HasPrefix(answer, "HTTP/1.1 101 ") || !strings.HasSuffix(answer, "\r\n\r\nhello") {
				t.Errorf("%s: %q, %v", protocol, answer, err)
			}
		}
		if r := s.get("/up/a"); r.Header.Get("X-Proto") != "HTTP/2.0" || !strings.HasPrefix(r.Header.Get("Via"), "2 pureboot-") {
			t.Errorf("GET by %s, %s", r.Header.Get("X-Proto"), r.Header.Get("Via"))
		}
	}
}
