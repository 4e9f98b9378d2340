package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// load is what clients got that asked for one warm object again and again, each on a connection of its own.
type load struct {
	requests int64
	took     time.Duration   // of all together
	each     []time.Duration // by request
}

// errLoad says that an answer was not what it should be.
var errLoad = errors.New("a warm answer is wrong")

// pound asks for so long. It reads no more of HTTP than it has to, so that the clients take little of the machine, but
// checks every byte.
func pound(ctx context.Context, target string, obj *object, conns int, during time.Duration) (load, error) {
	u, err := url.Parse(target)
	if err != nil {
		return load{}, err
	}
	ask := fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", u.EscapedPath(), u.Host)
	open := make([]net.Conn, conns)
	for i := range open {
		conn, err := net.Dial("tcp", u.Host)
		if err != nil {
			return load{}, err
		}
		defer conn.Close()
		defer context.AfterFunc(ctx, func() { conn.Close() })()
		open[i] = conn
	}
	times, errs := make([][]time.Duration, conns), make([]error, conns)
	began := time.Now()
	var all sync.WaitGroup
	for i, conn := range open {
		all.Go(func() {
			in := bufio.NewReaderSize(conn, 64<<10)
			for sent := time.Now(); sent.Sub(began) < during && errs[i] == nil; {
				if _, errs[i] = conn.Write(ask); errs[i] != nil {
					return
				}
				errs[i] = receive(in, obj)
				now := time.Now()
				times[i] = append(times[i], now.Sub(sent))
				sent = now
			}
		})
	}
	all.Wait()
	l := load{took: time.Since(began)}
	for _, t := range times {
		l.requests += int64(len(t))
		l.each = append(l.each, t...)
	}
	return l, errors.Join(append(errs, ctx.Err())...)
}

// receive reads one whole answer.
func receive(in *bufio.Reader, obj *object) error {
	length := int64(-1)
	for first := true; ; first = false {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first && !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
			return fmt.Errorf("%w: %q", errLoad, line)
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64); err != nil {
				return err
			}
		}
	}
	if length != obj.size {
		return fmt.Errorf("%w: content-length %d, want %d", errLoad, length, obj.size)
	}
	buf := buffers.Get().(*[maxPiece]byte)
	defer buffers.Put(buf)
	c := checker{texts: []text{obj.versions[0].text}}
	for c.offset < length {
		n, err := in.Read(buf[:min(int64(len(buf)), length-c.offset)])
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		if err := c.check(buf[:n]); err != nil {
			return err
		}
	}
	return nil
}
