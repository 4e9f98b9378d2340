// Package uplink is everything that talks to central: enrolment, the heartbeat and the calls that other rooms need.
// A request leaves with the agent's own credential and nothing of the machine that caused it but its request id.
package uplink

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
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
	maxHeader = 256 << 10
	maxAnswer = 64 << 20 // a page of a manifest, or the chunk digests of a file of 250 GB
	maxRefuse = 64 << 10 // a problem
	maxRest   = 4 << 10  // what may follow an answer before its connection is given up
)

// Bounds of how long central may take.
const (
	dialTime   = 5 * time.Second
	shakeTime  = 10 * time.Second
	headerTime = 20 * time.Second // to begin an answer
	callTime   = 2 * time.Minute  // to end one that is not a file, where the caller is not stricter
)

// maxTries bounds how often a request is sent, of which all but the last were refused for the credential.
const maxTries = 3

// maxRetryAfter bounds what is believed of a Retry-After.
const maxRetryAfter = time.Hour

// Client calls central. It is safe for concurrent use. What is no success is a *wire.Refusal if it is central that
// says so; any other error means that central was not reached, or not understood.
type Client struct {
	base    *url.URL
	http    *http.Client
	link    *Link
	clock   *Clock
	expires time.Time // of central's CA
	log     *slog.Logger

	keys     *keyring // nil until enrolled
	bootID   string   // of this process, as far as central can tell
	proof    *proof   // nil: by the credential
	standing standing
}

// ClientOptions says what a client works with. Each may be left out.
type ClientOptions struct {
	Link  *Link        // is told how each call went
	State string       // folder that a new credential is kept in; empty: none is kept
	Clock *Clock       // nil means the machine's own
	Log   *slog.Logger // nil means slog.Default()
}

// NewClient returns a client with the identity that an enrolment left. An agent has one, since central knows the process
// by it.
func NewClient(id Identity, o ClientOptions) (*Client, error) {
	base, err := parseCentralURL(id.CentralURL)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode([]byte(id.CA))
	if block == nil {
		return nil, errors.New("the enrolment holds no certificate of central's CA")
	}
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read central's CA in the enrolment: %w", err)
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	c := newClient(base, ca, o)
	c.keys, c.bootID = newKeyring(id, o.State, o.Log), rand.Text()
	return c, nil
}

// newClient follows no redirect and uses no proxy: central is the one that was enrolled with. Its transport asks for no
// compression, since digests and ranges are those of the file itself; a request that may come compressed says so.
func newClient(base *url.URL, ca *x509.Certificate, o ClientOptions) *Client {
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	if o.Link == nil {
		o.Link = new(Link)
	}
	transport := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: dialTime, KeepAlive: 15 * time.Second}).DialContext,
		TLSClientConfig:        o.Clock.config(base.Hostname(), roots),
		TLSHandshakeTimeout:    shakeTime,
		ResponseHeaderTimeout:  headerTime,
		MaxResponseHeaderBytes: maxHeader,
		IdleConnTimeout:        90 * time.Second,
		MaxIdleConnsPerHost:    16,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second},
	}
	return &Client{base: base, link: o.Link, clock: o.Clock, expires: ca.NotAfter, log: o.Log, http: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// parseCentralURL reads the URL of a central. Errors do not repeat it: somebody may have put a password in it.
func parseCentralURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return nil, errors.New("central's URL: want https://HOST[:PORT]")
	}
	u.Path, u.RawPath = strings.TrimSuffix(u.Path, "/"), ""
	return u, nil
}

// Close ends the idle connections.
func (c *Client) Close() {
	c.http.CloseIdleConnections()
	c.proof.close()
}

// BootID names this process to central, which tells two agents with one credential apart by it.
func (c *Client) BootID() string { return c.bootID }

// Online says whether it is worth waiting for central.
func (c *Client) Online() bool { return c.link.Online() }

// call sends in as JSON, unless it is nil, and reads the answer into out.
func (c *Client) call(ctx context.Context, method, path string, q url.Values, in, out any) error {
	_, err := c.exchange(ctx, method, path, q, in, out)
	return err
}

// exchange is call, and says which secret central took.
func (c *Client) exchange(ctx context.Context, method, path string, q url.Values, in, out any) (secret string, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return "", fmt.Errorf("encode a request to central: %w", err)
		}
		body = bytes.NewReader(text)
	}
	req, err := c.request(ctx, method, path, q, body)
	if err != nil {
		return "", err
	}
	req.Header.Set("Accept-Encoding", "zstd")
	res, secret, err := c.do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	if err := decode(res, out); err != nil {
		c.failed(ctx)
		return "", err
	}
	c.link.worked()
	return secret, nil
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
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if id := wire.RequestID(ctx); id != "" {
		req.Header.Set(wire.HeaderRequestID, id)
	}
	return req, nil
}

// do sends the request with the credential and turns every answer of 300 and above into an error, which the link learns
// of. A success is the caller's to judge; it says which secret central took.
func (c *Client) do(req *http.Request) (res *http.Response, secret string, err error) {
	for tries := 1; ; tries++ {
		by := c.authorize(req)
		if res, err = c.send(req, by.http); c.keys == nil {
			return res, "", err
		}
		refusal, own := errors.AsType[*wire.Refusal](err)
		switch {
		case by.cert != nil && alerted(err):
			c.proof.deny(by.cert)
		case err != nil && !own || !c.judge(by, refusal):
			return res, by.secret, err
		}
		if tries == maxTries {
			return res, by.secret, err
		}
		if req, err = again(req); err != nil {
			return nil, "", err
		}
	}
}

// alerted says whether it was in the handshake that central refused: a certificate of another CA, or one that has expired by
// its clock.
func alerted(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error"
}

// voucher is what a request was sent with.
type voucher struct {
	http   *http.Client
	cert   *tls.Certificate // nil: the secret
	secret string
	era    int // of the secret
}

// authorize adds the name of this process to a request, and the credential unless it goes by a certificate.
func (c *Client) authorize(req *http.Request) (by voucher) {
	by.http = c.http
	if c.keys == nil {
		return by
	}
	req.Header.Set(wire.HeaderBoot, c.bootID)
	if client, cert := c.proof.client(c.http); cert != nil {
		req.Header.Del("Authorization")
		by.http, by.cert = client, cert
		return by
	}
	by.secret, by.era = c.keys.secret()
	req.Header.Set("Authorization", "Bearer pba_"+c.keys.site+"_"+by.secret)
	return by
}

// again returns a request that can be sent once more.
func again(req *http.Request) (*http.Request, error) {
	next := req.Clone(req.Context())
	if req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			return nil, fmt.Errorf("ask central again: %w", err)
		}
		next.Body = body
	}
	return next, nil
}

func (c *Client) send(req *http.Request, by *http.Client) (*http.Response, error) {
	res, err := by.Do(req)
	if err != nil {
		c.failed(req.Context())
		return nil, fmt.Errorf("ask central: %w", err)
	}
	if res.StatusCode < 300 {
		return res, nil
	}
	defer res.Body.Close()
	refusal, own := refuse(res)
	if own && refusal.Status < 500 {
		c.link.worked() // that central says no is no fault of the way to it
	} else {
		c.failed(req.Context())
	}
	if !own && refusal.Final() {
		// A proxy with a default page must not have the agent forget its machines and files.
		return nil, fmt.Errorf("ask central: a %d of type %q came back, which is not its own", res.StatusCode, res.Header.Get("Content-Type"))
	}
	return nil, refusal
}

// failed tells the link, unless it was the caller who gave up.
func (c *Client) failed(ctx context.Context) {
	if !errors.Is(ctx.Err(), context.Canceled) {
		c.link.failed()
	}
}

// refuse reads an answer that is no success. It is central's own if it is a problem.
func refuse(res *http.Response) (r *wire.Refusal, own bool) {
	r = &wire.Refusal{Status: res.StatusCode, RetryAfter: retryAfter(res.Header)}
	own = mediaType(res) == wire.MediaTypeProblem
	if own {
		// A body that cannot be read leaves the status, which says enough.
		_ = json.NewDecoder(io.LimitReader(res.Body, maxRefuse)).Decode(&r.Problem)
		r.Problem.Title, r.Problem.Detail = fmt.Sprintf("%.200s", r.Problem.Title), fmt.Sprintf("%.1000s", r.Problem.Detail)
		_, _ = io.CopyN(io.Discard, res.Body, maxRest) // at its end the connection can be used again
	}
	return r, own
}

// retryAfter reads Retry-After, in seconds or as a date of central's clock (RFC 9110, section 10.2.3).
func retryAfter(h http.Header) time.Duration {
	text := h.Get("Retry-After")
	seconds, err := strconv.Atoi(text)
	if at, dateErr := http.ParseTime(text); err != nil && dateErr == nil {
		now, err := http.ParseTime(h.Get("Date"))
		if err != nil {
			now = time.Now()
		}
		seconds = int(at.Sub(now) / time.Second)
	}
	return time.Duration(min(max(seconds, 0), int(maxRetryAfter/time.Second))) * time.Second
}

// decode reads an answer into out, whose method most, if it has one, bounds the bytes.
func decode(res *http.Response, out any) error {
	if mediaType(res) != "application/json" {
		return fmt.Errorf("central answered %d of type %q, not JSON", res.StatusCode, res.Header.Get("Content-Type"))
	}
	body, err := decoded(res, true)
	if err != nil {
		return err
	}
	most := int64(maxAnswer)
	if short, ok := out.(interface{ most() int64 }); ok {
		most = short.most()
	}
	rest := &io.LimitedReader{R: body, N: most}
	if err := json.NewDecoder(rest).Decode(out); rest.N == 0 && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) {
		return fmt.Errorf("central's answer is longer than %d bytes", most)
	} else if err != nil {
		return fmt.Errorf("decode central's answer: %w", err)
	}
	_, _ = io.CopyN(io.Discard, body, maxRest) // at its end the connection can be used again
	return nil
}

func mediaType(res *http.Response) string {
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")) // no type is none that is wanted
	return kind
}
