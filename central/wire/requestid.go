package wire

import "context"

// HeaderRequestID carries the name of a request from a machine to the agent and on to central, so that one id finds
// it in every log.
const HeaderRequestID = "X-Request-Id"

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
