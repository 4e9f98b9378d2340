package content

import (
	"context"
	"fmt"
	"sync"

	"github.com/google/uuid"
)

// turns lets one request at a time work on an upload session. The latest wins: whoever asks has lost the connection
// that came before it, which the kernel may take minutes to notice.
type turns struct {
	mu sync.Mutex
	of map[uuid.UUID]*turn
}

type turn struct {
	interrupt func()        // nil if it ends soon by itself
	done      chan struct{} // closed when the turn is over
}

// take interrupts whoever has the turn and waits for it. The caller calls release.
func (t *turns) take(ctx context.Context, id uuid.UUID, interrupt func()) (release func(), err error) {
	mine := &turn{interrupt: interrupt, done: make(chan struct{})}
	for {
		t.mu.Lock()
		other := t.of[id]
		if other == nil {
			if t.of == nil {
				t.of = map[uuid.UUID]*turn{}
			}
			t.of[id] = mine
			t.mu.Unlock()
			return func() {
				t.mu.Lock()
				delete(t.of, id)
				t.mu.Unlock()
				close(mine.done)
			}, nil
		}
		t.mu.Unlock()
		if other.interrupt != nil {
			other.interrupt()
		}
		select {
		case <-other.done:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for another request of the upload: %w", context.Cause(ctx))
		}
	}
}
