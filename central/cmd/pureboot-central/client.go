package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pureboot/pureboot/central"
	"github.com/pureboot/pureboot/central/wire"
)

// client speaks to the REST API of a central that serves, as an administrator. Its methods may be called at once from
// many goroutines.
type client struct {
	base  string // URL without a slash at its end
	token string
	http  *http.Client
}

// remote adds the flags of a REST client to a command and all below it. What it returns is called when one runs.
func remote(cmd *cobra.Command) func(*cobra.Command) (*client, error) {
	flags := cmd.PersistentFlags()
	at := flags.String("url", os.Getenv("PUREBOOT_URL"),
		"URL of central (PUREBOOT_URL; default: public_url of the configuration, or this machine)")
	ca := flags.String("ca", os.Getenv("PUREBOOT_CA"),
		"PEM file of the CA to trust (PUREBOOT_CA; default: central's own on its machine, else the system's)")
	token := flags.String("token-file", os.Getenv("PUREBOOT_TOKEN_FILE"),
		"file that holds an admin token, - for the standard input (PUREBOOT_TOKEN_FILE; or the token in PUREBOOT_TOKEN)")
	return func(cmd *cobra.Command) (*client, error) { return dial(cmd, *at, *ca, *token) }
}

// dial returns a client. An empty name means the default that its flag tells.
func dial(cmd *cobra.Command, at, ca, tokenFile string) (*client, error) {
	if at == "" {
		cfg, err := config(cmd)
		if err != nil {
			return nil, err
		}
		at = address(cfg)
		if ca == "" && cfg.TLS.Cert == "" {
			ca = filepath.Join(cfg.DataDir, "ca.crt")
			if _, err := os.Stat(ca); err != nil {
				return nil, fmt.Errorf("the CA of the central on this machine, which init makes (elsewhere use --url and --ca): %w", err)
			}
		}
	}
	base, err := url.Parse(at)
	if err != nil || base.Scheme != "https" || base.Host == "" || base.User != nil {
		return nil, errors.New("--url: want https://HOST[:PORT]")
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		text, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("--ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("--ca: %s holds no certificate", ca)
		}
	}
	token, err := readToken(cmd.InOrStdin(), tokenFile)
	if err != nil {
		return nil, err
	}
	return &client{base: "https://" + base.Host, token: token, http: &http.Client{Transport: &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second,
		TLSClientConfig:     config,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     time.Minute,
	}}}, nil
}

// address returns how this machine reaches the central of a configuration.
func address(cfg central.Config) string {
	if cfg.PublicURL != "" {
		return cfg.PublicURL
	}
	host, port, _ := net.SplitHostPort(cfg.Listen) // which is checked
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return "https://" + net.JoinHostPort(host, port)
}

// readToken returns the admin token.
func readToken(stdin io.Reader, file string) (string, error) {
	text := []byte(os.Getenv("PUREBOOT_TOKEN"))
	var err error
	switch {
	case file == "-":
		text, err = io.ReadAll(io.LimitReader(stdin, 4<<10))
	case file != "":
		text, err = os.ReadFile(file)
	case len(text) == 0:
		return "", errors.New("an admin token is needed: name its file with --token-file or PUREBOOT_TOKEN_FILE; central init makes the first one")
	}
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if !strings.HasPrefix(token, adminToken) || strings.ContainsAny(token, " \r\n") {
		return "", errors.New("--token-file: that is no admin token, which begins with pbt_")
	}
	return token, nil
}

// call sends in as JSON, unless it is nil, and reads the answer into out, unless that is nil. What central refuses is
// a *wire.Refusal.
func (c *client) call(ctx context.Context, method, path string, in, out any) error {
	return c.send(ctx, method, path, http.Header{}, in, out)
}

// send is call with headers.
func (c *client) send(ctx context.Context, method, path string, header http.Header, in, out any) error {
	res, err := c.sendJSON(ctx, method, path, header, in)
	if err != nil {
		return err
	}
	return decode(res, out)
}

// sendJSON is do with a body of JSON, unless in is nil.
func (c *client) sendJSON(ctx context.Context, method, path string, header http.Header, in any) (*http.Response, error) {
	if in == nil {
		return c.do(ctx, method, path, nil, header)
	}
	text, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	header.Set("Content-Type", "application/json")
	return c.do(ctx, method, path, bytes.NewReader(text), header)
}

// sized is a body whose length is known beforehand.
type sized struct {
	io.Reader
	size int64
}

// do sends a request. The caller closes the body of the answer, which is one of success; what central refuses is a
// *wire.Refusal.
func (c *client) do(ctx context.Context, method, path string, body io.Reader, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	if s, ok := body.(sized); ok {
		req.ContentLength = s.size
		if s.size == 0 {
			req.Body = http.NoBody // else nobody knows whether it is empty
		}
	}
	maps.Copy(req.Header, header)
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("User-Agent", "pureboot-central/"+version)
	res, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreached(err)
	}
	if res.StatusCode >= 300 {
		defer res.Body.Close()
		return nil, refusal(res)
	}
	return res, nil
}

// unreached says what is wrong if there is no answer.
func (c *client) unreached(err error) error {
	if asked, ok := errors.AsType[*url.Error](err); ok {
		err = asked.Err // which of central's routes it was helps nobody
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return fmt.Errorf("%s shows a certificate of another CA than --ca or the system trusts (central's is ca.crt in its data_dir): %w", c.base, err)
	}
	return fmt.Errorf("reach central at %s: %w", c.base, err)
}

// decode reads an answer and closes it.
func decode(res *http.Response, out any) error {
	defer res.Body.Close()
	if out == nil || res.StatusCode == http.StatusNoContent {
		return nil
	}
	if err := json.NewDecoder(res.Body).Decode(out); err != nil {
		return fmt.Errorf("central's answer to %s %s: %w", res.Request.Method, res.Request.URL.Path, err)
	}
	return nil
}

// refusal reads an answer that is no success. Every field at fault becomes part of the detail.
func refusal(res *http.Response) error {
	r := &wire.Refusal{Status: res.StatusCode}
	if kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); kind == wire.MediaTypeProblem {
		_ = json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&r.Problem) // the status says enough
	}
	if seconds, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil {
		r.RetryAfter = time.Duration(seconds) * time.Second
	}
	r.Problem.Detail = cmp.Or(r.Problem.Detail, http.StatusText(r.Status))
	if r.Gone() {
		r.Problem.Detail += ": " + res.Request.URL.Path
	}
	for _, f := range r.Problem.Errors {
		if f.Message != r.Problem.Detail {
			r.Problem.Detail += fmt.Sprintf("\n  %s: %s", f.Location, f.Message)
		}
	}
	return r
}

// list reads all pages of a list. The query selects; limit and cursor are set here.
func list[T any](ctx context.Context, c *client, path string, query url.Values) ([]T, error) {
	all, next := []T{}, url.Values{"limit": {"1000"}}
	maps.Copy(next, query)
	for {
		var page struct {
			Items      []T    `json:"items"`
			NextCursor string `json:"next_cursor"`
		}
		if err := c.call(ctx, "GET", path+"?"+next.Encode(), nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if page.NextCursor == "" {
			return all, nil
		}
		next.Set("cursor", page.NextCursor)
	}
}
