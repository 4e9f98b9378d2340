package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
)

// barePeers are what Go's own library makes of the same bytes: a handler that writes them from memory, and one that
// calls http.ServeFile. They are processes of their own, as the others are.
func barePeers() []*peer {
	start := func(kind string) func(context.Context, place) (*process, string, error) {
		return func(_ context.Context, at place) (*process, string, error) {
			self, err := os.Executable()
			if err != nil {
				return nil, "", err
			}
			p, err := at.launch(self, "child", kind, at.listen(), at.name, strconv.FormatInt(at.size, 10), at.cache)
			return p, at.base(), err
		}
	}
	version := func(context.Context, *bench) (string, error) { return "", nil }
	return []*peer{
		{name: "bare", version: version, start: start("bare")},
		{name: "servefile", version: version, start: start("servefile")},
	}
}

var errChild = errors.New("not for people to call")

// child is what this program does where it starts itself.
func child(args []string) error {
	if len(args) == 2 && args[0] == "guard" {
		return watch(os.Stdin, args[1])
	}
	if len(args) < 3 {
		return errChild
	}
	if args[0] == "tmpfs" {
		bytes, err := strconv.ParseInt(args[2], 10, 64)
		if err != nil || len(args) < 4 {
			return errChild
		}
		return (&tmpfs{dir: args[1], bytes: bytes}).enter(args[3:])
	}
	if len(args) != 5 {
		return errChild
	}
	kind, listen, name, dir := args[0], args[1], args[2], args[4]
	size, err := strconv.ParseInt(args[3], 10, 64)
	if err != nil {
		return err
	}
	var all bytes.Buffer
	if _, err := io.Copy(&all, textOf(name, 0).reader(size)); err != nil {
		return err
	}
	mux := http.NewServeMux()
	switch kind {
	case "bare":
		body, length := all.Bytes(), strconv.FormatInt(size, 10)
		mux.HandleFunc(originPrefix+name, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", length)
			w.Header().Set("Content-Type", "application/octet-stream")
			_, _ = w.Write(body) // the client may have left
		})
	case "servefile":
		file := filepath.Join(dir, "file")
		if err := os.WriteFile(file, all.Bytes(), 0o644); err != nil {
			return err
		}
		mux.HandleFunc(originPrefix+name, func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, file) })
	default:
		return fmt.Errorf("%w: %s", errChild, kind)
	}
	return http.ListenAndServe(listen, mux)
}
