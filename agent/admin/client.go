package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/pureboot/pureboot/central/wire"
)

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 64 << 20

// Client asks the agent that serves at a socket.
type Client struct {
	path string
	http *http.Client
}

// NewClient returns a client of the agent at the socket's path.
func NewClient(path string) *Client {
	return &Client{path: path, http: &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	}}}
}

// ReadStatus asks the agent that serves at the socket how it is doing.
func ReadStatus(ctx context.Context, path string) (Status, error) {
	var s Status
	return s, NewClient(path).Call(ctx, http.MethodGet, PathStatus, nil, nil, &s)
}

// Call sends in as JSON, unless it is nil, and reads the answer into out. An answer that is no success wraps a
// *wire.Refusal.
func (c *Client) Call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode a request: %w", err)
		}
		body = bytes.NewReader(text)
	}
	target := url.URL{Scheme: "http", Host: "agent", Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, target.String(), body)
	if err != nil {
		return err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.http.Do(req)
	if err != nil {
		return c.unanswered(err)
	}
	defer res.Body.Close()
	answer := io.LimitReader(res.Body, maxAnswer)
	if res.StatusCode >= 300 {
		return refused(res, answer)
	}
	if kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); kind != "application/json" {
		return fmt.Errorf("what serves at %s is no agent: it answered with %q", c.path, res.Header.Get("Content-Type"))
	}
	if err := json.NewDecoder(answer).Decode(out); err != nil {
		return fmt.Errorf("read the agent's answer: %w", err)
	}
	return nil
}

// unanswered says what is wrong if there is no answer.
func (c *Client) unanswered(err error) error {
	if asked, ok := errors.AsType[*url.Error](err); ok {
		err = asked.Err // no URL was meant
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("this user may not ask the agent at %s, root and its group may: %w", c.path, err)
	}
	return fmt.Errorf("no agent answers at %s (is it running?): %w", c.path, err)
}

// refused is what the agent had to say against a request.
func refused(res *http.Response, body io.Reader) error {
	r := &wire.Refusal{Status: res.StatusCode}
	if err := json.NewDecoder(body).Decode(&r.Problem); err != nil || r.Problem.Detail == "" {
		return fmt.Errorf("the agent answered %s", res.Status)
	}
	said := []string{r.Problem.Detail}
	for _, f := range r.Problem.Errors {
		said = append(said, f.Location+": "+f.Message)
	}
	return &refusedError{r, strings.Join(said, "\n  ")}
}

// refusedError says what a refusal is about without the protocol around it.
type refusedError struct {
	*wire.Refusal
	text string
}

func (e *refusedError) Error() string { return e.text }
func (e *refusedError) Unwrap() error { return e.Refusal }
