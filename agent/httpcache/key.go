package httpcache

import (
	"bytes"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// PrimaryKey names the resource that a request to the origin is for, whatever the method (RFC 9111
// section 2): HEAD looks where GET stores. It is the URL, normalised where RFC 9110 section 4.2.3 says
// that both forms mean the same: case of scheme and host, the default port, an empty path, and
// percent-encoding. The query is part of it as it is, a fragment and credentials are not. Dot
// segments stay: two keys for one resource cost a fetch, one key for two would be wrong.
func PrimaryKey(u *url.URL) string {
	var b strings.Builder
	scheme, host := origin(u)
	b.WriteString(scheme)
	b.WriteString("://")
	b.WriteString(host)
	path := u.EscapedPath()
	if !strings.HasPrefix(path, "/") {
		b.WriteByte('/')
	}
	normalizeEscapes(&b, path)
	if u.RawQuery != "" || u.ForceQuery {
		b.WriteByte('?')
		normalizeEscapes(&b, u.RawQuery)
	}
	return b.String()
}

// origin is what two URLs must share to be of the same one (RFC 9110 section 4.3.1).
func origin(u *url.URL) (scheme, host string) {
	scheme, host = strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	switch scheme {
	case "http":
		host = strings.TrimSuffix(host, ":80")
	case "https":
		host = strings.TrimSuffix(host, ":443")
	}
	return scheme, strings.TrimSuffix(host, ":")
}

// normalizeEscapes decodes the unreserved characters of an escaped part of a URL, escapes what has no
// place in one, and writes the digits of escapes in upper case (RFC 3986 section 6.2.2).
func normalizeEscapes(b *strings.Builder, s string) {
	const digits = "0123456789ABCDEF"
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '%' && i+2 < len(s) && unhex(s[i+1]) >= 0 && unhex(s[i+2]) >= 0:
			if c = byte(unhex(s[i+1])<<4 | unhex(s[i+2])); !unreserved(c) {
				b.WriteString(strings.ToUpper(s[i : i+3]))
			} else {
				b.WriteByte(c)
			}
			i += 2
		case c > ' ' && c < 0x7f && strings.IndexByte("\"<>\\^`{|}", c) < 0:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
}

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

// unhex is -1 for what is no hex digit.
func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c - 'a' + 10)
	case 'A' <= c && c <= 'F':
		return int(c - 'A' + 10)
	}
	return -1
}

// Vary is what of a request, beside its URL, selected a response (RFC 9110 section 12.5.5).
type Vary struct {
	Any    bool     // something that nobody can compare: "*" among the members, or no field's name
	Fields []string // canonical names, sorted; nil if Any
}

// ParseVary reads a response's Vary.
func ParseVary(h http.Header) Vary {
	var v Vary
	for m := range members(h["Vary"]) {
		if m == "*" || !isToken(m) {
			return Vary{Any: true}
		}
		v.Fields = append(v.Fields, http.CanonicalHeaderKey(m))
	}
	slices.Sort(v.Fields)
	v.Fields = slices.Compact(v.Fields)
	return v
}

// Select picks a request's values of the fields, normalised, by canonical name. What the request does
// not have is not in the map.
func (v Vary) Select(request http.Header) map[string]string {
	var selecting map[string]string
	for _, name := range v.Fields {
		if lines := request[name]; len(lines) > 0 {
			if selecting == nil {
				selecting = make(map[string]string, len(v.Fields))
			}
			selecting[name] = string(appendNormal(nil, name, lines))
		}
	}
	return selecting
}

// SecondaryKey tells the stored responses of one primary key apart: accept-encoding=gzip&origin, if
// the request had an Accept-Encoding and no Origin. It is empty without Vary, and made of unreserved
// characters, percent-escapes, "=", "&" and "+".
func (s *Stored) SecondaryKey() string {
	var b strings.Builder
	for i, name := range s.Vary.Fields {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(url.QueryEscape(strings.ToLower(name)))
		if value, had := s.Selecting[name]; had {
			b.WriteByte('=')
			b.WriteString(url.QueryEscape(value))
		}
	}
	return b.String()
}

// Selects is whether a request with these fields may be answered with s as far as Vary goes (RFC 9111
// section 4.1).
func (s *Stored) Selects(request http.Header) bool {
	if s.Vary.Any {
		return false
	}
	for _, name := range s.Vary.Fields {
		var buf [512]byte // on the stack
		lines := request[name]
		value, had := s.Selecting[name]
		if had != (len(lines) > 0) || had && string(appendNormal(buf[:0], name, lines)) != value {
			return false
		}
	}
	return true
}

// appendNormal appends a field's value so that those that mean the same are the same (RFC 9111
// section 4.1): its lines combined; in the fields known to be lists, optional whitespace and case
// evened out. The order stays: a server may prefer what comes first.
func appendNormal(dst []byte, name string, lines []string) []byte {
	start := len(dst)
	switch name {
	case "Accept-Charset", "Accept-Encoding", "Accept-Language":
		for m := range members(lines) {
			if len(dst) > start {
				dst = append(dst, ", "...)
			}
			dst = appendPlain(dst, m)
		}
	default:
		for i, line := range lines {
			if i > 0 {
				dst = append(dst, ", "...)
			}
			dst = append(dst, trim(line)...)
		}
	}
	return dst
}

// appendPlain appends a list's member in lower case and without the whitespace beside semicolons.
func appendPlain(dst []byte, m string) []byte {
	for i := 0; i < len(m); i++ {
		c := m[i]
		switch {
		case c == ';':
			dst = append(bytes.TrimRight(dst, " \t"), ';')
			for i+1 < len(m) && (m[i+1] == ' ' || m[i+1] == '\t') {
				i++
			}
			continue
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

// choose is the response to answer a request with: of those that Vary selects the most recent (RFC
// 9111 section 4). What was stored for HEAD answers HEAD only. selected is whether there was any.
func choose(r *http.Request, variants []*Stored) (chosen *Stored, selected bool) {
	for _, s := range variants {
		if !s.Selects(r.Header) {
			continue
		}
		selected = true
		if (s.Method == r.Method || s.Method == http.MethodGet) && (chosen == nil || newer(s, chosen)) {
			chosen = s
		}
	}
	return chosen, selected
}

// newer is whether a was made after b, by their Date.
func newer(a, b *Stored) bool {
	if byDate := a.Date.Truncate(time.Second).Compare(b.Date.Truncate(time.Second)); byDate != 0 {
		return byDate > 0
	}
	return a.Received.After(b.Received)
}
