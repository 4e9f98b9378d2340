package uplink

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/pureboot/pureboot/central/wire"
)

// ReadContent reads length bytes of a file from offset on, or to its end when length is 0. Central refuses (412) when
// the file is no longer of that digest, so that bytes of two versions are never mixed. A whole file may come in the
// coding zstd, if that is smaller; a range never does, so who asks for bytes 0 to the last gets the file as it is. The
// caller ends ctx when the transfer stands still, and reads no more than the file's size, whatever there is.
func (c *Client) ReadContent(ctx context.Context, category, path, sha256 string, offset, length int64) (io.ReadCloser, error) {
	req, err := c.request(ctx, http.MethodGet, contentPath(category, path), nil, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("If-Match", `"`+sha256+`"`)
	want := http.StatusOK
	whole := offset == 0 && length == 0
	if whole {
		req.Header.Set("If-Match", `"`+sha256+`", "`+sha256+`-zstd"`)
		req.Header.Set("Accept-Encoding", "zstd")
	} else {
		to := ""
		if length > 0 {
			to = strconv.FormatInt(offset+length-1, 10)
		}
		req.Header.Set("Range", "bytes="+strconv.FormatInt(offset, 10)+"-"+to)
		want = http.StatusPartialContent
	}
	res, _, err := c.do(req)
	if err != nil {
		return nil, err
	}
	err = checkPart(res, want, offset)
	body := res.Body
	if err == nil {
		body, err = decoded(res, whole)
	}
	if err != nil {
		c.failed(ctx)
		res.Body.Close()
		return nil, err
	}
	c.link.worked()
	return body, nil
}

// checkPart says whether an answer begins where it was asked to (RFC 9110, sections 14.4 and 15.3.7).
func checkPart(res *http.Response, want int, offset int64) error {
	if res.StatusCode != want {
		return fmt.Errorf("central answered %d to a content request, want %d", res.StatusCode, want)
	}
	part := res.Header.Get("Content-Range")
	if want == http.StatusPartialContent && !strings.HasPrefix(part, fmt.Sprintf("bytes %d-", offset)) {
		return fmt.Errorf("central answered with %q to a range from %d", part, offset)
	}
	return nil
}

func contentPath(category, path string) string {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return wire.PathContent + "/" + url.PathEscape(category) + "/" + strings.Join(parts, "/")
}
