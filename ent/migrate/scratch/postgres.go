// Package scratch starts a PostgreSQL server that lives as long as its caller: for tests, and for finding out what a
// migration has to do.
package scratch

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// ErrMissing says that PostgreSQL is not installed, and how to get it.
var ErrMissing = errors.New("no PostgreSQL server is installed: apt-get install postgresql")

// Server is a PostgreSQL server in a temporary folder. It listens on a Unix socket only, and it ends with this process
// even if that is killed.
type Server struct {
	dir  string
	wait func() error
	stop io.Closer // the standard input of the shell that minds the server
	next int
}

// mind runs a server until its standard input ends, which it does when we close it or die.
const mind = `"$@" & cat >/dev/null; kill -INT $!; wait $!; exit 0`

// Postgres starts a server, with settings as fsync=on in place of its own. The caller ends it with Stop.
func Postgres(ctx context.Context, settings ...string) (_ *Server, err error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	owner, err := unprivileged()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "pureboot-pg-")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, wait: func() error { return nil }, stop: io.NopCloser(nil)}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("start a scratch PostgreSQL: %w", err), s.Stop())
		}
	}()
	if owner != nil {
		if err := os.Chown(dir, int(owner.Uid), int(owner.Gid)); err != nil {
			return nil, err
		}
	}
	command := func(name string, args ...string) *exec.Cmd {
		c := exec.Command(name, args...)
		c.Dir, c.SysProcAttr = dir, &syscall.SysProcAttr{Credential: owner, Setpgid: true}
		return c
	}
	data := filepath.Join(dir, "data")
	initdb := command(filepath.Join(bin, "initdb"), "-D", data, "-U", "pureboot", "-A", "trust", "-E", "UTF8",
		"--locale", "C", "--no-sync")
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}

	var output bytes.Buffer
	args := []string{"-c", mind, "sh", filepath.Join(bin, "postgres"), "-D", data, "-k", dir}
	for _, setting := range append([]string{"listen_addresses=", "fsync=off", "max_connections=200"}, settings...) {
		args = append(args, "-c", setting)
	}
	server := command("sh", args...)
	server.Stdout, server.Stderr = &output, &output
	if s.stop, err = server.StdinPipe(); err != nil {
		return nil, err
	}
	if err := server.Start(); err != nil {
		return nil, err
	}
	s.wait = server.Wait
	if err := s.ready(ctx); err != nil {
		return nil, errors.Join(err, s.Stop(), errors.New(output.String()))
	}
	return s, nil
}

// Database makes an empty database and returns its URL. Not for use by several goroutines.
func (s *Server) Database(ctx context.Context) (string, error) {
	name, err := s.create(ctx, "template1")
	if err != nil {
		return "", err
	}
	return s.url(name), nil
}

// create makes a copy of a database that nobody is connected to, and returns its name.
func (s *Server) create(ctx context.Context, of string) (string, error) {
	db, err := sql.Open("pgx", s.url("postgres"))
	if err != nil {
		return "", err
	}
	defer db.Close()
	s.next++
	name := "scratch" + strconv.Itoa(s.next)
	if _, err := db.ExecContext(ctx, "CREATE DATABASE "+name+" TEMPLATE "+of); err != nil {
		return "", err
	}
	return name, nil
}

// Stop ends the server and deletes its data.
func (s *Server) Stop() error {
	err := errors.Join(s.stop.Close(), s.wait(), os.RemoveAll(s.dir))
	s.stop, s.wait = io.NopCloser(nil), func() error { return nil }
	return err
}

func (s *Server) url(database string) string {
	u := url.URL{Scheme: "postgres", User: url.User("pureboot"), Path: "/" + database}
	u.RawQuery = url.Values{"host": {s.dir}}.Encode()
	return u.String()
}

// ready waits until the server answers, for 30 seconds at most.
func (s *Server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	db, err := sql.Open("pgx", s.url("postgres"))
	if err != nil {
		return err
	}
	defer db.Close()
	for {
		err := db.PingContext(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// binaries returns the folder of the newest server; Debian keeps each version in its own, out of the PATH.
func binaries() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		found = append(found, path)
	}
	if len(found) == 0 {
		return "", ErrMissing
	}
	return filepath.Dir(slices.Max(found)), nil
}

// unprivileged returns whom the server runs as if we are root, which it refuses to; else nil.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(err1, err2)
	}
	return nil, errors.New("run a PostgreSQL server: we are root, and there is neither a user postgres nor nobody")
}
