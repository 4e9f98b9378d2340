package uplink

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/pureboot/pureboot/central/wire"
)

// maxItems bounds the files on a page of a manifest; central sends 2000 at most. In JSON an item may be two bytes long,
// and costs a hundred here.
const maxItems = 50_000

// maxList bounds the list of what workflows name, in bytes of JSON.
const maxList = 8 << 20

// Manifest asks for a page of what changed in the content.
func (c *Client) Manifest(ctx context.Context, query wire.ManifestQuery) (wire.Manifest, error) {
	q := url.Values{}
	if query.Since.Stream != "" {
		q.Set("since", query.Since.String())
	}
	if query.Cursor != "" {
		q.Set("cursor", query.Cursor)
	}
	if query.Needed != "" {
		q.Set("needed", query.Needed)
	}
	var p manifestPage
	err := c.call(ctx, http.MethodGet, wire.PathManifest, q, nil, &p)
	return p.Manifest, err
}

// manifestPage is read item by item, so that one with millions of them is refused before they are all in memory.
type manifestPage struct{ wire.Manifest }

// UnmarshalJSON implements json.Unmarshaler.
func (p *manifestPage) UnmarshalJSON(text []byte) error {
	var page struct {
		wire.Manifest
		Items  json.RawMessage `json:"items"`
		Needed json.RawMessage `json:"needed"`
	}
	if err := json.Unmarshal(text, &page); err != nil {
		return err
	}
	p.Manifest = page.Manifest
	if len(page.Needed) > maxList {
		return fmt.Errorf("a list of what workflows name that has %d bytes", len(page.Needed))
	}
	if len(page.Needed) > 0 {
		if err := json.Unmarshal(page.Needed, &p.Needed); err != nil {
			return err
		}
	}
	if len(page.Items) == 0 || string(page.Items) == "null" {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(page.Items))
	if start, err := d.Token(); err != nil || start != json.Delim('[') {
		return fmt.Errorf("a manifest's items are no list")
	}
	for d.More() {
		if len(p.Items) == maxItems {
			return fmt.Errorf("a page of a manifest with more than %d files", maxItems)
		}
		var item wire.ManifestItem
		if err := d.Decode(&item); err != nil {
			return fmt.Errorf("a manifest's item: %w", err)
		}
		p.Items = append(p.Items, item)
	}
	return nil
}
