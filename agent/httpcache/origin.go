package httpcache

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// maxRedirects is how many redirects are followed for one request.
const maxRedirects = 10

// NewTransport makes a transport to origins: HTTP/2 where they offer it, proxies as the environment says. It leaves
// bodies as they are coded.
func NewTransport() *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		Protocols:              protocols,
		DisableCompression:     true,
		MaxIdleConns:           256,
		MaxIdleConnsPerHost:    64,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    10 * time.Second,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 128 << 10,
		ReadBufferSize:         64 << 10,
	}
}

// forUpgrades is t without HTTP/2, which has no Upgrade. Nothing of it is used twice.
func forUpgrades(t *http.Transport) *http.Transport {
	t = t.Clone()
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	t.ForceAttemptHTTP2, t.DisableKeepAlives = false, true
	if t.TLSClientConfig == nil {
		t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	// What has spoken HTTP/2 before would go on offering it.
	t.TLSClientConfig.NextProtos, t.TLSNextProto = []string{"http/1.1"}, nil
	return t
}

// target is the URL at the origin of a client's path: what follows the prefix as it is, behind the origin's own.
func (h *Handler) target(u *url.URL) (*url.URL, error) {
	path := "/" + strings.TrimLeft(u.EscapedPath(), "/")
	rest, ok := strings.CutPrefix(path, h.Prefix)
	if !ok {
		return nil, fmt.Errorf("%w: not below %s", ErrPath, h.Prefix)
	}
	plain := rest
	if strings.Contains(rest, "%") {
		var err error
		if plain, err = url.PathUnescape(rest); err != nil {
			return nil, ErrPath
		}
	}
	// An encoded slash parts no segments, but somebody behind the origin may think that it does.
	// So it is with a backslash, and with what follows a semicolon in a segment.
	for part := range strings.FieldsFuncSeq(plain, func(c rune) bool { return c == '/' || c == '\\' }) {
		if part, _, _ = strings.Cut(part, ";"); part == "." || part == ".." {
			return nil, ErrPath
		}
	}
	if strings.ContainsFunc(plain, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return nil, ErrPath
	}
	target := *h.Origin
	target.Path = strings.TrimSuffix(h.Origin.Path, "/") + "/" + plain
	target.RawPath = strings.TrimSuffix(h.Origin.EscapedPath(), "/") + "/" + rest
	target.RawQuery, target.ForceQuery, target.Fragment = u.RawQuery, u.ForceQuery, ""
	return &target, nil
}

// counted counts what goes to the origin and comes from it.
type counted struct {
	next  http.RoundTripper
	count *counters
}

func (t *counted) RoundTrip(r *http.Request) (*http.Response, error) {
	t.count.originRequests.Add(1)
	resp, err := t.next.RoundTrip(r)
	if err != nil {
		t.count.originFailures.Add(1)
		if r.Context().Err() == nil { // else nobody waited for it
			t.count.failing.Store(true)
		}
		return nil, err
	}
	t.count.failing.Store(false)
	if resp.StatusCode != http.StatusSwitchingProtocols { // whose body is also written to
		resp.Body = &countedBody{resp.Body, t.count}
	}
	return resp, nil
}

type countedBody struct {
	io.ReadCloser
	count *counters
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.count.originBytes.Add(int64(n))
	return n, err
}

// following follows redirects of requests that are safe and have no body. Credentials go no further than to the host
// that they were meant for.
type following struct{ next http.RoundTripper }

var errRedirects = errors.New("the origin redirects without end")

func (t *following) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead || r.Body != nil && r.Body != http.NoBody {
		return t.next.RoundTrip(r)
	}
	personal := false
	for range maxRedirects {
		resp, err := t.next.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		to, ok := redirect(resp, r.URL)
		if !ok {
			if personal {
				resp.Header.Add("Cache-Control", "private, no-store")
			}
			return resp, nil
		}
		// What a redirect leads to is stored in its place. If the redirect itself may not be, nor may that.
		c := ParseResponseControl(resp.Header)
		personal = personal || c.NoStore || c.Private.All
		_, _ = io.CopyN(io.Discard, resp.Body, 4<<10) // so that the connection can be used again
		resp.Body.Close()
		next := r.Clone(r.Context())
		next.URL, next.Host = to, to.Host
		if !sameOrigin(to, r.URL) {
			for _, name := range []string{"Authorization", "Cookie", "Proxy-Authorization", "Www-Authenticate"} {
				next.Header.Del(name)
			}
		}
		r = next
	}
	return nil, errRedirects
}

// redirect is where resp leads to, if it does.
func redirect(resp *http.Response, from *url.URL) (*url.URL, bool) {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, false
	}
	to, err := from.Parse(resp.Header.Get("Location"))
	if err != nil || resp.Header.Get("Location") == "" || to.Scheme != "http" && to.Scheme != "https" || to.Host == "" {
		return nil, false
	}
	to.Fragment, to.User = "", nil
	return to, true
}

// amend makes of an origin's header, or of a stored one, that of this hop: Via, with the protocol it came by, and
// references to what the origin has lead here.
func (h *Handler) amend(header http.Header, target *url.URL, protocol string) {
	via := h.via
	if protocol != "" {
		via = []string{protocol + " " + h.name}
	}
	if before := header["Via"]; len(before) > 0 {
		header["Via"] = append(slices.Clip(before), via...)
	} else {
		header["Via"] = via[:1:1]
	}
	h.relocate(header, "Location", target)
	h.relocate(header, "Content-Location", target)
}

// relocate makes of a reference to what is within the origin one to what is within the prefix. A relative one to
// anything else becomes absolute: here, it would mean something else.
func (h *Handler) relocate(header http.Header, name string, target *url.URL) {
	location, ok := single(header, name)
	if !ok {
		return
	}
	to, err := target.Parse(location)
	if err != nil || to.Host == "" {
		return
	}
	rest, within := strings.CutPrefix(cmp.Or(to.EscapedPath(), "/"), strings.TrimSuffix(h.Origin.EscapedPath(), "/")+"/")
	if !within || !sameOrigin(to, h.Origin) {
		if reference, err := url.Parse(location); err == nil && reference.Scheme == "" {
			header[name] = []string{to.String()}
		}
		return
	}
	here := h.Prefix + rest
	if strings.HasPrefix(here, "//") {
		here = "/." + here // a reference that begins with two slashes names a host (RFC 3986 section 4.2)
	}
	if to.RawQuery != "" || to.ForceQuery {
		here += "?" + to.RawQuery
	}
	if to.Fragment != "" {
		here += "#" + to.EscapedFragment()
	}
	header[name] = []string{here}
}
