// Package uplink is everything that talks to central: enrolment, the heartbeat and the calls that other rooms need.
// A request leaves with the agent's own credential and nothing of the machine that caused it.
package uplink

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pureboot/pureboot/central/wire"
)

// Bounds of what is read from central, in bytes.
const (
	maxAnswer = 64 << 20 // a page of a manifest, or the chunk digests of a file of 250 GB
	maxRefuse = 64 << 10 // a problem
)

// headerTime is how long central may take to begin an answer.
const headerTime = 20 * time.Second

// Client calls central. It is safe for concurrent use.
type Client struct {
	base       *url.URL
	credential string
	http       *http.Client
	link       *Link
}

// NewClient returns a client with the identity that an enrolment left. Link is told how each call went.
func NewClient(id Identity, link *Link) (*Client, error) {
	base, err := parseCentralURL(id.CentralURL)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(id.CA)) {
		return nil, errors.New("the enrolment holds no certificate of central's CA")
	}
	return &Client{
		base:       base,
		credential: "pba_" + id.SiteID + "_" + id.Secret,
		http:       httpClient(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}),
		link:       link,
	}, nil
}

// httpClient follows no redirect and uses no proxy: central is the one that was enrolled with. It asks for no
// compression, since digests and ranges are those of the file itself.
func httpClient(conf *tls.Config) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:           (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
			TLSClientConfig:       conf,
			TLSHandshakeTimeout:   10 * time.Second,
			ResponseHeaderTimeout: headerTime,
			IdleConnTimeout:       90 * time.Second,
			MaxIdleConnsPerHost:   16,
			ForceAttemptHTTP2:     true,
			DisableCompression:    true,
			HTTP2:                 &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func parseCentralURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("central's URL: %w", err)
	}
	if u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("central's URL %q: want https://HOST[:PORT]", s)
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	return u, nil
}

// Close ends the idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// BootByMAC asks for the record of the node that has the MAC address, or else the system UUID.
func (c *Client) BootByMAC(ctx context.Context, mac, uuid string) (wire.Boot, error) {
	q := url.Values{"mac": {mac}}
	if uuid != "" {
		q.Set("uuid", uuid)
	}
	var boot wire.Boot
	return boot, c.call(ctx, http.MethodGet, wire.PathBoot, q, nil, &boot)
}

// BootByID asks for the record of a node.
func (c *Client) BootByID(ctx context.Context, id string) (wire.Boot, error) {
	var boot wire.Boot
	return boot, c.call(ctx, http.MethodGet, wire.PathBoot, url.Values{"id": {id}}, nil, &boot)
}

// Register announces a machine.
func (c *Client) Register(ctx context.Context, r wire.Registration) (wire.Node, error) {
	var n wire.Node
	return n, c.call(ctx, http.MethodPost, wire.PathNodes+"/register", nil, r, &n)
}

// ChangeState asks for a transition of a node.
func (c *Client) ChangeState(ctx context.Context, id string, change wire.StateChange) (wire.Node, error) {
	var n wire.Node
	return n, c.call(ctx, http.MethodPatch, wire.PathNodes+"/"+url.PathEscape(id)+"/state", nil, change, &n)
}

// Event passes on what a machine reports of itself.
func (c *Client) Event(ctx context.Context, id string, e wire.Event) (wire.Node, error) {
	var n wire.Node
	return n, c.call(ctx, http.MethodPost, wire.PathNodes+"/"+url.PathEscape(id)+"/event", nil, e, &n)
}

// Heartbeat reports to central.
func (c *Client) Heartbeat(ctx context.Context, h wire.Heartbeat) (wire.HeartbeatAnswer, error) {
	var a wire.HeartbeatAnswer
	return a, c.call(ctx, http.MethodPost, wire.PathHeartbeat, nil, h, &a)
}

// Manifest asks for a page of what changed in the content since an epoch; the zero epoch asks for all there is.
func (c *Client) Manifest(ctx context.Context, since wire.Epoch, cursor string) (wire.Manifest, error) {
	q := url.Values{}
	if since.Stream != "" {
		q.Set("since", since.String())
	}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	var m wire.Manifest
	return m, c.call(ctx, http.MethodGet, wire.PathManifest, q, nil, &m)
}

// Chunks asks what a file is now: its digest and those of its pieces.
func (c *Client) Chunks(ctx context.Context, category, path string) (wire.Chunks, error) {
	var ch wire.Chunks
	return ch, c.call(ctx, http.MethodGet, contentPath(category, path), url.Values{"chunks": {""}}, nil, &ch)
}

// ReadContent reads length bytes of a file from offset on, or to its end when length is 0. Central refuses (412) when
// the file is no longer of that digest, so that bytes of two versions are never mixed. The caller
// ends ctx when the transfer stands still.
func (c *Client) ReadContent(ctx context.Context, category, path, sha256 string, offset, length int64) (io.ReadCloser, error) {
	req, err := c.request(ctx, http.MethodGet, contentPath(category, path), nil, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("If-Match", `"`+sha256+`"`)
	want := http.StatusOK
	if offset > 0 || length > 0 {
		to := ""
		if length > 0 {
			to = strconv.FormatInt(offset+length-1, 10)
		}
		req.Header.Set("Range", "bytes="+strconv.FormatInt(offset, 10)+"-"+to)
		want = http.StatusPartialContent
	}
	res, err := c.do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusPartialContent &&
		!strings.HasPrefix(res.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", offset)) {
		err = fmt.Errorf("central answered %q to a range from %d", res.Header.Get("Content-Range"), offset)
	} else if res.StatusCode != want {
		err = fmt.Errorf("central answered %d to a content request, want %d", res.StatusCode, want)
	}
	if err != nil {
		res.Body.Close()
		return nil, err
	}
	return res.Body, nil
}

func contentPath(category, path string) string {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return wire.PathContent + "/" + url.PathEscape(category) + "/" + strings.Join(parts, "/")
}

// call sends in as JSON, unless it is nil, and reads the answer into out.
func (c *Client) call(ctx context.Context, method, path string, q url.Values, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode a request to central: %w", err)
		}
		body = bytes.NewReader(text)
	}
	req, err := c.request(ctx, method, path, q, body)
	if err != nil {
		return err
	}
	res, err := c.do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return decode(res, out)
}

func (c *Client) request(ctx context.Context, method, path string, q url.Values, body io.Reader) (*http.Request, error) {
	target := c.base.String() + path
	if len(q) > 0 {
		target += "?" + q.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, fmt.Errorf("request to central: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+c.credential)
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if id := wire.RequestID(ctx); id != "" {
		req.Header.Set(wire.HeaderRequestID, id)
	}
	return req, nil
}

// do sends the request and turns every answer of 300 and above into a *wire.Refusal.
func (c *Client) do(req *http.Request) (*http.Response, error) {
	res, err := c.http.Do(req)
	if err != nil {
		if !errors.Is(req.Context().Err(), context.Canceled) {
			c.link.failed()
		}
		return nil, fmt.Errorf("ask central: %w", err)
	}
	if res.StatusCode < 300 {
		c.link.worked()
		return res, nil
	}
	defer res.Body.Close()
	refusal := refuse(res)
	if refusal.Status >= 500 {
		c.link.failed()
	} else {
		c.link.worked()
	}
	return nil, refusal
}

// refuse reads the problem of an answer that is no success.
func refuse(res *http.Response) *wire.Refusal {
	r := &wire.Refusal{Status: res.StatusCode}
	if kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); kind == wire.MediaTypeProblem {
		// A body that cannot be read leaves the status, which says enough.
		_ = json.NewDecoder(io.LimitReader(res.Body, maxRefuse)).Decode(&r.Problem)
	}
	if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && s > 0 {
		r.RetryAfter = time.Duration(min(s, 3600)) * time.Second
	}
	return r
}

func decode(res *http.Response, out any) error {
	if kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); kind != "application/json" {
		return fmt.Errorf("central answered %d with %q, not JSON", res.StatusCode, res.Header.Get("Content-Type"))
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(out); err != nil {
		return fmt.Errorf("decode central's answer: %w", err)
	}
	return nil
}

// Online says whether it is worth waiting for central.
func (c *Client) Online() bool { return c.link.Online() }
