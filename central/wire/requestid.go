package wire

import (
	"context"
	"regexp"
)

// HeaderRequestID carries the name of a request from a machine to the agent and on to central, so that one id finds
// it in every log.
const HeaderRequestID = "X-Request-Id"

var goodRequestID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// GoodRequestID says whether a stranger's name for a request may go into logs and on to the other side.
func GoodRequestID(id string) bool { return goodRequestID.MatchString(id) }

type requestID struct{}

// WithRequestID names the request that is worked on under the context.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestID{}, id)
}

// RequestID returns the name of the request that is worked on under the context, or nothing.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestID{}).(string)
	return id
}
