package cache

import (
	"iter"
	"path"
	"strings"
)

// names gives each key a path of its own. Those who use a key's path (its published entry, its
// fills) hold it; while anyone does, nothing else gets a path that would stand in the way, and the
// directories above it stay. It is guarded by its Store's mu.
type names struct {
	strict bool
	held   map[Key]*held
	files  map[string]bool
	dirs   map[string]int // how many held paths lie below
}

type held struct {
	path    string
	holders int
}

func newNames(strict bool) *names {
	return &names{strict: strict, held: map[Key]*held{}, files: map[string]bool{}, dirs: map[string]int{}}
}

// hold returns key's path: the one it is held under, else its plain one, else the one aside.
func (n *names) hold(key Key) string {
	if h := n.held[key]; h != nil {
		h.holders++
		return h.path
	}
	p := escape(key, n.strict, false)
	if !n.adopt(key, p) {
		p = escape(key, n.strict, true)
		n.put(key, p)
	}
	return p
}

// adopt holds key under a path found on disk, unless something stands in its way.
func (n *names) adopt(key Key, p string) bool {
	if n.held[key] != nil || n.files[p] || n.dirs[p] > 0 {
		return false
	}
	for dir := range above(p) {
		if n.files[dir] {
			return false
		}
	}
	n.put(key, p)
	return true
}

func (n *names) put(key Key, p string) {
	n.held[key] = &held{path: p, holders: 1}
	n.files[p] = true
	for dir := range above(p) {
		n.dirs[dir]++
	}
}

// release undoes one hold and returns the directories that nobody needs any more, inner ones first.
func (n *names) release(key Key) (emptied []string) {
	h := n.held[key]
	if h.holders--; h.holders > 0 {
		return nil
	}
	delete(n.held, key)
	delete(n.files, h.path)
	for dir := range above(h.path) {
		if n.dirs[dir]--; n.dirs[dir] == 0 {
			delete(n.dirs, dir)
			emptied = append(emptied, dir)
		}
	}
	return emptied
}

// above yields the directories over p, inner ones first, the top itself left out.
func above(p string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for strings.Contains(p, "/") {
			if p = path.Dir(p); !yield(p) {
				return
			}
		}
	}
}
