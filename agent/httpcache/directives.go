package httpcache

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// RequestControl is a request's Cache-Control (RFC 9111 section 5.2.1, RFC 5861 section 4).
type RequestControl struct {
	NoCache      bool
	NoStore      bool
	NoTransform  bool
	OnlyIfCached bool
	MaxAge       Seconds
	MinFresh     Seconds
	MaxStale     Seconds // without an argument it is 2^31 s: any staleness will do
	StaleIfError Seconds
}

// ResponseControl is a response's Cache-Control (RFC 9111 section 5.2.2, RFC 5861, RFC 8246).
type ResponseControl struct {
	NoStore              bool
	NoTransform          bool
	MustRevalidate       bool
	ProxyRevalidate      bool
	MustUnderstand       bool
	Public               bool
	Immutable            bool
	NoCache              Qualified
	Private              Qualified
	MaxAge               Seconds
	SMaxAge              Seconds
	StaleWhileRevalidate Seconds
	StaleIfError         Seconds
}

// Seconds is the argument of a directive such as max-age, between 0 and 2^31 s. What is no number of
// seconds reads as 0, which makes a response stale and opens no window (RFC 9111 section 4.2.1).
type Seconds struct {
	Given bool // the directive is there
	Value time.Duration
}

// Qualified is a directive that can be limited to some of the header's fields.
type Qualified struct {
	All    bool     // it is not limited
	Fields []string // their canonical names, sorted; nil if All
}

// ParseRequestControl reads Cache-Control or, where there is none, Pragma (RFC 9111 section 5.4).
//
// Here and in ParseResponseControl names are compared without regard to case, unknown directives are
// ignored, of several occurrences the first counts (RFC 9111 section 4.2.1), and arguments come as
// tokens or quoted strings. What is malformed can only restrict.
func ParseRequestControl(h http.Header) RequestControl {
	var c RequestControl
	lines := h["Cache-Control"]
	if len(lines) == 0 {
		for m := range members(h["Pragma"]) {
			c.NoCache = c.NoCache || parseDirective(m).name == "no-cache"
		}
		return c
	}
	for m := range members(lines) {
		d := parseDirective(m)
		switch d.name {
		case "no-cache":
			c.NoCache = true
		case "no-store":
			c.NoStore = true
		case "no-transform":
			c.NoTransform = true
		case "only-if-cached":
			c.OnlyIfCached = true
		case "max-age":
			c.MaxAge.first(d)
		case "min-fresh":
			c.MinFresh.first(d)
		case "max-stale":
			if !c.MaxStale.Given && d.bare {
				c.MaxStale = Seconds{Given: true, Value: maxDelta}
			}
			c.MaxStale.first(d)
		case "stale-if-error":
			c.StaleIfError.first(d)
		}
	}
	return c
}

// ParseResponseControl reads a response's Cache-Control. A response's Pragma has no meaning (RFC 9111
// section 5.4).
func ParseResponseControl(h http.Header) ResponseControl {
	var c ResponseControl
	for m := range members(h["Cache-Control"]) {
		d := parseDirective(m)
		switch d.name {
		case "no-store":
			c.NoStore = true
		case "no-transform":
			c.NoTransform = true
		case "must-revalidate":
			c.MustRevalidate = true
		case "proxy-revalidate":
			c.ProxyRevalidate = true
		case "must-understand":
			c.MustUnderstand = c.MustUnderstand || d.valid
		case "public":
			c.Public = c.Public || d.valid
		case "immutable":
			c.Immutable = c.Immutable || d.valid
		case "no-cache":
			c.NoCache.add(d)
		case "private":
			c.Private.add(d)
		case "max-age":
			c.MaxAge.first(d)
		case "s-maxage":
			c.SMaxAge.first(d)
		case "stale-while-revalidate":
			c.StaleWhileRevalidate.first(d)
		case "stale-if-error":
			c.StaleIfError.first(d)
		}
	}
	c.NoCache.finish()
	c.Private.finish()
	return c
}

// String is the field value that reads as c again; empty if it would say nothing.
func (c RequestControl) String() string {
	var p printed
	p.flag("no-cache", c.NoCache)
	p.flag("no-store", c.NoStore)
	p.flag("no-transform", c.NoTransform)
	p.flag("only-if-cached", c.OnlyIfCached)
	p.seconds("max-age", c.MaxAge)
	p.seconds("min-fresh", c.MinFresh)
	p.seconds("max-stale", c.MaxStale)
	p.seconds("stale-if-error", c.StaleIfError)
	return strings.Join(p, ", ")
}

// String is the field value that reads as c again; empty if it would say nothing.
func (c ResponseControl) String() string {
	var p printed
	p.flag("no-store", c.NoStore)
	p.flag("no-transform", c.NoTransform)
	p.flag("must-revalidate", c.MustRevalidate)
	p.flag("proxy-revalidate", c.ProxyRevalidate)
	p.flag("must-understand", c.MustUnderstand)
	p.flag("public", c.Public)
	p.flag("immutable", c.Immutable)
	p.qualified("no-cache", c.NoCache)
	p.qualified("private", c.Private)
	p.seconds("max-age", c.MaxAge)
	p.seconds("s-maxage", c.SMaxAge)
	p.seconds("stale-while-revalidate", c.StaleWhileRevalidate)
	p.seconds("stale-if-error", c.StaleIfError)
	return strings.Join(p, ", ")
}

// directive is one member of a Cache-Control field.
type directive struct {
	name  string // in lower case
	bare  bool   // nothing follows the name
	arg   string // unquoted
	valid bool   // bare, or with a token or a quoted string for an argument
}

func parseDirective(member string) directive {
	n := tokenLen(member)
	d := directive{name: strings.ToLower(member[:n]), bare: n == len(member), valid: n == len(member)}
	if !d.bare && member[n] == '=' {
		d.arg, d.valid = unquote(member[n+1:])
	}
	return d
}

func (s *Seconds) first(d directive) {
	if !s.Given {
		s.Given = true
		s.Value, _ = parseDelta(d.arg)
	}
}

func (q *Qualified) add(d directive) {
	if q.All {
		return
	}
	var names []string
	for name := range members([]string{d.arg}) {
		if !isToken(name) {
			d.valid = false
		}
		names = append(names, http.CanonicalHeaderKey(name))
	}
	if !d.valid || names == nil {
		*q = Qualified{All: true}
		return
	}
	q.Fields = append(q.Fields, names...)
}

func (q *Qualified) finish() {
	slices.Sort(q.Fields)
	q.Fields = slices.Compact(q.Fields)
}

// printed collects the members of a field value.
type printed []string

func (p *printed) flag(name string, is bool) {
	if is {
		*p = append(*p, name)
	}
}

func (p *printed) seconds(name string, s Seconds) {
	if s.Given {
		*p = append(*p, name+"="+strconv.FormatInt(wholeSeconds(s.Value), 10))
	}
}

func (p *printed) qualified(name string, q Qualified) {
	p.flag(name, q.All)
	if len(q.Fields) > 0 {
		*p = append(*p, name+`="`+strings.Join(q.Fields, ", ")+`"`)
	}
}
