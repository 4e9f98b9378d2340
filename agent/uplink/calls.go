package uplink

import (
	"context"
	"net/http"
	"net/url"

	"github.com/pureboot/pureboot/central/wire"
)

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

// Heartbeat reports to central, as this process of the agent, and takes a rotation of the credential a step further. The
// time that central says is the least for the checks of certificates from then on.
func (c *Client) Heartbeat(ctx context.Context, h wire.Heartbeat) (wire.HeartbeatAnswer, error) {
	h.BootID, h.Next = c.bootID, c.keys.announce()
	var sent heartbeatAnswer
	secret, err := c.exchange(ctx, http.MethodPost, wire.PathHeartbeat, nil, h, &sent)
	a := sent.HeartbeatAnswer
	if err != nil {
		return a, err
	}
	c.clock.learn(a.ServerTime, c.expires)
	news := c.proof.answered(a.Rotation)
	if c.keys.answered(secret, a.Rotation) || news {
		a.NextIn = 1 // a rotation is over within seconds
	}
	return a, nil
}

// Chunks asks what a file is now: its digest and those of its pieces.
func (c *Client) Chunks(ctx context.Context, category, path string) (wire.Chunks, error) {
	var ch wire.Chunks
	return ch, c.call(ctx, http.MethodGet, contentPath(category, path), url.Values{"chunks": {""}}, nil, &ch)
}
