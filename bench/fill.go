package main

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"golang.org/x/sync/errgroup"
)

// fill asks for each of many small objects once, so that they are in the cache, on connections that are kept.
func (t *trial) fill(ctx context.Context, objects []*object) error {
	const conns = 32
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: conns, DisableCompression: true}}
	defer client.CloseIdleConnections()
	group, ctx := errgroup.WithContext(ctx)
	for lane := range conns {
		group.Go(func() error {
			for i := lane; i < len(objects); i += conns {
				if err := t.take(ctx, client, objects[i]); err != nil {
					return fmt.Errorf("%s: %w", objects[i].name, err)
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// take asks for one object and checks it.
func (t *trial) take(ctx context.Context, client *http.Client, obj *object) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.server.url(obj), nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, obj.size+1))
	switch {
	case err != nil:
		return err
	case res.StatusCode != http.StatusOK || int64(len(body)) != obj.size || !obj.current().text.matches(body, 0):
		return fmt.Errorf("status %d, %d bytes, or wrong ones", res.StatusCode, len(body))
	}
	return nil
}
