package content

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/central/wire"
)

// maxGlobs bounds the patterns of a policy, or of a list of what workflows name.
const maxGlobs = 1000

// Policy says which of central's files the site is to have before anybody asks for them. It never changes.
type Policy struct {
	name  string
	globs []Glob
}

// NewPolicy returns the policy of a name of wire.Policies. The patterns, globs of CATEGORY/PATH in which ** crosses
// slashes, count for wire.PolicyPattern alone, and are checked for all. The error says all that is wrong.
func NewPolicy(name string, patterns []string) (*Policy, error) {
	p := &Policy{name: name}
	var faults []error
	if !slices.Contains(wire.Policies, name) {
		faults = append(faults, fmt.Errorf("policy %.80q: want one of %s", name, strings.Join(wire.Policies, ", ")))
	}
	if len(patterns) > maxGlobs {
		return nil, fmt.Errorf("more than %d patterns", maxGlobs)
	}
	for _, pattern := range patterns {
		g, err := ParseGlob(pattern)
		if err != nil {
			faults = append(faults, err)
		}
		p.globs = append(p.globs, g)
	}
	return p, errors.Join(faults...)
}

// Name is that of the policy.
func (p *Policy) Name() string { return p.name }

// Reason is why a file is wanted. A larger one is a better one.
type Reason int

// The reasons.
const (
	Unwanted      Reason = iota
	ForMirror            // the site is to have everything
	ForPattern           // a pattern selects it
	ForAssignment        // it is assigned to the site
	ForWorkflow          // a workflow of the site's nodes names it
	ForLoading           // it is a bootloader
)

// reason returns why the policy wants a file.
func (p *Policy) reason(key cache.Key, assigned bool, n *needed) Reason {
	switch category, _ := Split(key); {
	case category == wire.Bootloaders:
		return ForLoading
	case n.has(key):
		return ForWorkflow
	case p.name == wire.PolicyMinimal:
		return Unwanted
	case assigned:
		return ForAssignment
	case p.name == wire.PolicyAssigned:
		return Unwanted
	case matches(p.globs, key):
		return ForPattern
	case p.name == wire.PolicyPattern:
		return Unwanted
	}
	return ForMirror
}

// needed is what the workflows of the site's nodes name; nil: central has not said. It never changes.
type needed struct {
	said  wire.Needed
	names map[cache.Key]bool
	globs []Glob
}

// maxNeeded bounds such a list.
const maxNeeded = 100_000

// newNeeded takes central's list over. A name on it that cannot be one of a file selects nothing.
func newNeeded(said wire.Needed) (*needed, error) {
	if len(said.Names) > maxNeeded || len(said.Globs) > maxGlobs || len(said.Tag) > maxTag {
		return nil, fmt.Errorf("the workflows name %d files and %d patterns, which is too many", len(said.Names), len(said.Globs))
	}
	n := &needed{said: said, names: make(map[cache.Key]bool, len(said.Names))}
	for _, name := range said.Names {
		n.names[cache.Key(name)] = true
	}
	for _, pattern := range said.Globs {
		g, err := ParseGlob(pattern)
		if err != nil {
			return nil, fmt.Errorf("what the workflows name: %w", err)
		}
		n.globs = append(n.globs, g)
	}
	return n, nil
}

// maxTag bounds the tag of such a list, in bytes.
const maxTag = 100

func (n *needed) has(key cache.Key) bool { return n != nil && (n.names[key] || matches(n.globs, key)) }

// tag is what central is told of the list that is known.
func (n *needed) tag() string {
	if n == nil {
		return wire.NeededNone
	}
	return cmp.Or(n.said.Tag, wire.NeededNone)
}
