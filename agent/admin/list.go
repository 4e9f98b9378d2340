package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/pureboot/pureboot/durable"
)

// maxItems bounds a list of names.
const maxItems = 1000

// list is a list of names on disk: keys, URLs, or globs of either. It is safe for concurrent use.
type list struct {
	file string

	writing sync.Mutex // held while the file is replaced
	mu      sync.Mutex
	items   []string // sorted; replaced, never changed in place
}

// listFile is a list's form on disk.
type listFile struct {
	Items []string `json:"items"`
}

// loadList reads a list; a file that is not there is an empty one. After an error the list is empty, and can be used.
func loadList(file string) (*list, error) {
	l := &list{file: file}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return l, err
	}
	var f listFile
	if err := json.Unmarshal(text, &f); err != nil {
		return l, fmt.Errorf("%s is damaged: %w", file, err)
	}
	l.items = sorted(f.Items)
	return l, nil
}

func sorted(items []string) []string {
	items = slices.Clone(items)
	slices.Sort(items)
	return slices.Compact(items)
}

func (l *list) get() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.items
}

// change replaces the list by what edit makes of it, on disk before in memory: a crash leaves the old list or the new
// one, whole.
func (l *list) change(edit func([]string) []string) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	items := sorted(edit(slices.Clone(l.get())))
	if err := l.write(items); err != nil {
		return fmt.Errorf("keep %s: %w", filepath.Base(l.file), err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.items = items
	return nil
}

func (l *list) write(items []string) error {
	text, err := json.MarshalIndent(listFile{items}, "", "  ")
	if err != nil {
		return err
	}
	return durable.Replace(l.file, append(text, '\n'), 0o600)
}

// Names are the body of requests that change a list.
type Names struct {
	Items []string `json:"items"`
}

// names reads such a body, or answers why it cannot be taken; known are the names that are on the list anyway.
func (a *API) names(w http.ResponseWriter, r *http.Request, known []string) ([]string, bool) {
	var body Names
	if !decode(w, r, &body) {
		return nil, false
	}
	var faults invalid
	for i, name := range body.Items {
		if slices.Contains(known, name) {
			continue
		}
		if err := a.checkName(name); err != nil {
			faults.add(fmt.Sprintf("body.items[%d]", i), "%v", err)
		}
	}
	if len(sorted(append(slices.Clone(known), body.Items...))) > maxItems {
		faults.add("body.items", "a list has at most %d names", maxItems)
	}
	return body.Items, !faults.refuse(w)
}

// without returns an edit that takes names off a list, those of the query's item, and answers why it cannot be made. A
// name that is not on the list is one of them: it may be a typo.
func without(w http.ResponseWriter, r *http.Request, l *list) (edit func([]string) []string, ok bool) {
	gone := r.URL.Query()["item"]
	var faults invalid
	if len(gone) == 0 {
		faults.add("query.item", "want the names to take off the list")
	}
	for _, name := range gone {
		if !slices.Contains(l.get(), name) {
			faults.add("query.item", "%q is not on the list", name)
		}
	}
	return func(items []string) []string {
		return slices.DeleteFunc(items, func(name string) bool { return slices.Contains(gone, name) })
	}, !faults.refuse(w)
}
