package httpcache

import (
	"context"
	"io"
	"net/http"

	"github.com/pureboot/pureboot/agent/cache"
)

// paidAtOnce bounds what is read before it is paid for, in bytes, so that what is urgent does not wait long.
const paidAtOnce = 32 << 10

// paid has what passes cost as much of the WAN as what is stored. A tunnel is left alone: who talks in it waits for
// answers.
func (h *Handler) paid(ctx context.Context, resp *http.Response) {
	if h.Admit != nil && resp.StatusCode != http.StatusSwitchingProtocols {
		resp.Body = &paidBody{resp.Body, func(n int) error {
			return h.Admit(ctx, n, cache.Load{Foreground: true, Size: resp.ContentLength})
		}}
	}
}

type paidBody struct {
	io.ReadCloser
	pay func(n int) error
}

func (b *paidBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p[:min(len(p), paidAtOnce)])
	if n > 0 {
		if unpaid := b.pay(n); unpaid != nil {
			return n, unpaid
		}
	}
	return n, err
}
