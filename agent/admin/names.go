package admin

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/agent/content"
	"github.com/pureboot/pureboot/agent/httpcache"
	"github.com/pureboot/pureboot/central/wire"
)

// CategoryUpstream is the category of what upstreams have brought.
const CategoryUpstream = "upstream"

// Categories are those of the cache's objects: the first part of their keys.
var Categories = append(slices.Clone(wire.Categories), CategoryUpstream)

// maxName bounds what an operator may name, in bytes.
const maxName = 4096

// match says which objects somebody means.
type match = func(cache.Entry) bool

// isURL is whether a name is the URL of an upstream's object, and not a key.
func isURL(name string) bool {
	return strings.HasPrefix(name, "http://") || strings.HasPrefix(name, "https://")
}

// isPattern is whether a name is a glob. A question mark begins the query of a URL.
func isPattern(name string) bool {
	return strings.ContainsAny(name, `*[{\`) || !isURL(name) && strings.Contains(name, "?")
}

func parseURL(name string) (*url.URL, error) {
	u, err := url.Parse(name)
	if err != nil || u.Host == "" || len(name) > maxName {
		return nil, errors.New("not a URL")
	}
	return u, nil
}

// owner returns the handler of the upstream that brought an object; nil if it is no upstream's, or of one that is
// configured no longer.
func (a *API) owner(key cache.Key) *httpcache.Handler {
	if !httpcache.IsKey(key) {
		return nil
	}
	var best *httpcache.Handler
	for _, h := range a.Upstreams {
		if h.Owns(key) && (best == nil || len(h.Prefix) > len(best.Prefix)) {
			best = h
		}
	}
	return best
}

// url is where an upstream's object comes from; "" if that is not known.
func (a *API) url(key cache.Key, meta []byte) string {
	if h := a.owner(key); h != nil {
		if at, ok := h.URL(key, meta); ok {
			return at
		}
	}
	return ""
}

// resources are the keys of what is at a URL, one for each upstream that leads there.
func (a *API) resources(u *url.URL) (map[cache.Key]bool, error) {
	keys := map[cache.Key]bool{}
	for _, h := range a.Upstreams {
		if key, ok := h.Resource(u); ok {
			keys[key] = true
		}
	}
	if len(keys) == 0 {
		return nil, httpcache.ErrNotBelow
	}
	return keys, nil
}

// byKey matches one object: central's file of that name, or all that is stored of a URL.
func (a *API) byKey(name string) (match, error) {
	if !isURL(name) {
		key := cache.Key(name)
		return func(e cache.Entry) bool { // of an upstream's, all variants
			return e.Key == key || httpcache.IsKey(e.Key) && httpcache.ResourceOf(e.Key) == key
		}, key.Validate()
	}
	u, err := parseURL(name)
	if err != nil {
		return nil, err
	}
	keys, err := a.resources(u)
	return func(e cache.Entry) bool { return keys[httpcache.ResourceOf(e.Key)] }, err
}

// byPrefix matches by the beginning of keys or URLs.
func (a *API) byPrefix(prefix string) (match, error) {
	if !isURL(prefix) {
		return func(e cache.Entry) bool { return strings.HasPrefix(string(e.Key), prefix) }, nil
	}
	u, err := parseURL(prefix)
	if err != nil {
		return nil, err
	}
	below := map[*httpcache.Handler]match{}
	for _, h := range a.Upstreams {
		below[h] = h.Below(u)
	}
	return func(e cache.Entry) bool {
		h := a.owner(e.Key)
		return h != nil && below[h](e)
	}, nil
}

func byCategory(category string) (match, error) {
	if !slices.Contains(Categories, category) {
		return nil, fmt.Errorf("want one of %s", strings.Join(Categories, ", "))
	}
	return func(e cache.Entry) bool { return categoryOf(e.Key) == category }, nil
}

func byTag(tag string) (match, error) { return httpcache.Tagged(tag), nil }

func categoryOf(key cache.Key) string {
	category, _ := content.Split(key)
	return category
}

// checkName says what is wrong with a key, a URL or a glob of either, if anything is.
func (a *API) checkName(name string) error {
	switch {
	case name == "":
		return errors.New("empty")
	case isPattern(name):
		_, err := content.ParseGlob(name)
		return err
	}
	_, err := a.byKey(name)
	return err
}
