package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/pureboot/pureboot/central/wire"
)

// peer is a program that is measured.
type peer struct {
	name    string
	central bool // it speaks to the origin's face of central
	ours    bool // its promises are checked
	// memory says that its cache is in memory: it is meant to lose it, and no disk can be full.
	memory bool

	// version says what it is, or why it cannot be run.
	version func(ctx context.Context, b *bench) (string, error)
	// start starts it, a second time on what the first time left.
	start func(ctx context.Context, at place) (*process, string, error)
}

// place is where and for what a peer is started.
type place struct {
	bench  *bench
	origin *origin
	dir    string // the peer's own
	cache  string // within dir
	disk   *tmpfs // what cache is, if not nil
	config string // more of an agent's
	admin  bool   // an agent is to be operated
	size   int64  // of the only object, for what serves only one
	name   string // of it
	port   int    // to listen on
	log    string
}

// server is a running peer.
type server struct {
	*process
	peer  *peer
	place place
	base  string // of the objects' URLs
}

// startTime bounds how long a peer may take until it serves.
const startTime = 30 * time.Second

// startPeer starts a peer in a folder of its own and waits until it serves.
func startPeer(ctx context.Context, p *peer, at place) (*server, error) {
	at.dir = filepath.Join(at.dir, p.name)
	at.cache = filepath.Join(at.dir, "cache")
	at.log = filepath.Join(at.dir, "log")
	for _, dir := range []string{at.dir, at.cache} {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return nil, err
		}
		if err := os.Chmod(dir, 0o777); err != nil { // some work as a user of their own
			return nil, err
		}
	}
	if at.disk != nil {
		at.disk = &tmpfs{dir: at.cache, bytes: at.disk.bytes}
	}
	s := &server{peer: p, place: at}
	if err := s.restart(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", p.name, err)
	}
	return s, nil
}

// restart starts the peer on what it left.
func (s *server) restart(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	if s.place.port, err = freePort(); err != nil {
		return err
	}
	started, base, err := s.peer.start(ctx, s.place)
	if err != nil {
		return err
	}
	s.process, s.base = started, base
	if err := s.ready(ctx); err != nil {
		s.stop()
		return fmt.Errorf("%w: %s", err, s.tail())
	}
	return nil
}

// ready asks for what is not there until that is what the peer says.
func (s *server) ready(ctx context.Context) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+"nothing", nil)
		if err != nil {
			return err
		}
		res, err := client.Do(req)
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusNotFound {
				return nil
			}
			err = fmt.Errorf("status %d for what is not there", res.StatusCode)
		}
		if !s.alive() {
			return errors.New("it ended")
		}
		if sleep(ctx, 20*time.Millisecond) != nil {
			return fmt.Errorf("it does not serve: %w", err)
		}
	}
}

func (s *server) url(obj *object) string {
	if obj.central && obj.category != "" {
		return strings.TrimSuffix(s.base, wire.Images+"/") + obj.category + "/" + obj.name
	}
	return s.base + obj.name
}

// freePort returns a port of loopback that was free a moment ago.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func (at place) listen() string { return "127.0.0.1:" + strconv.Itoa(at.port) }

// write puts a configuration into the peer's folder and returns its name.
func (at place) write(name, text string) (string, error) {
	file := filepath.Join(at.dir, name)
	return file, os.WriteFile(file, []byte(text), 0o644)
}

func (at place) launch(args ...string) (*process, error) {
	return launch(command{args: args, log: at.log, tmpfs: at.disk, guard: at.bench.guard})
}

func (at place) base() string { return "http://" + at.listen() + originPrefix }
