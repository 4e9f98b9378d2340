package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/pureboot/pureboot/central/content"
)

// tree is what lies below a directory.
type tree struct {
	root    *os.Root
	prefix  string // of the paths, with a slash at its end unless empty
	files   []source
	skipped []string // what is no file
	bytes   int64    // of all files
}

// source is a file below a directory, and the name that it gets.
type source struct {
	path, name string
	size       int64
}

// openTree finds the files below a directory, or a single file, and checks the names that they get, all at once.
// Links are followed to files below the directory, and to nothing else.
func openTree(dir, category, prefix string) (_ *tree, err error) {
	only := "."
	if info, err := os.Stat(dir); err != nil {
		return nil, err
	} else if !info.IsDir() {
		dir, only = filepath.Split(dir)
		dir = filepath.Join(dir, ".")
	}
	t := &tree{}
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		t.prefix = prefix + "/"
	}
	if t.root, err = os.OpenRoot(dir); err != nil {
		return nil, err
	}
	var faults []error
	err = fs.WalkDir(t.root.FS(), only, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return nil
		}
		info, err := t.root.Stat(name)
		if err != nil || !info.Mode().IsRegular() {
			t.skipped = append(t.skipped, name)
			return nil
		}
		at := t.prefix + path.Clean(name)
		if err := content.CheckPath(category, at); err != nil && len(faults) < 20 {
			faults = append(faults, err)
		}
		t.files = append(t.files, source{path: name, name: category + "/" + at, size: info.Size()})
		t.bytes += info.Size()
		return nil
	})
	if err = errors.Join(err, errors.Join(faults...)); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *tree) open(f source) (*os.File, error) { return t.root.Open(f.path) }

func (t *tree) close() { t.root.Close() }

// digest returns the SHA-256 of a file's first bytes, in hexadecimal, and says if there are not so many.
func digest(ctx context.Context, file *os.File, size int64) (string, error) {
	sum, buf := sha256.New(), make([]byte, 256<<10)
	body := io.NewSectionReader(file, 0, size)
	for left := size; left > 0; {
		n, err := body.Read(buf)
		sum.Write(buf[:n])
		left -= int64(n)
		switch {
		case ctx.Err() != nil:
			return "", context.Cause(ctx)
		case err == io.EOF && left > 0:
			return "", fmt.Errorf("it became %d bytes shorter", left)
		case err != nil && err != io.EOF:
			return "", err
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
