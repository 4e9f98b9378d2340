package cache

import (
	"context"
	"time"
)

// What nobody waits for stands back while somebody waits: not only where a rate is set and its share is to be given
// out, but on a line whose rate nobody has told.
const (
	calm   = 100 * time.Millisecond // after the last byte that somebody waited for
	glance = 2 * time.Millisecond   // between looks whether that is over, or who stands back is waited for by now
)

// Urgent says that somebody waits for what is yet to be asked for, until it is released.
func (b *Budget) Urgent() (release func()) {
	b.urgent.Add(1)
	return func() {
		b.hurried.Store(time.Now().UnixNano())
		b.urgent.Add(-1)
	}
}

// stand waits until a load may go on: at once if somebody waits for it, also if somebody only then comes to.
func (b *Budget) stand(ctx context.Context, load Load) error {
	if load.Foreground {
		b.hurried.Store(time.Now().UnixNano())
		return nil
	}
	for b.hurry() {
		if load.Awaited != nil && load.Awaited() {
			return nil
		}
		if err := sleep(ctx, glance); err != nil {
			return err
		}
	}
	return nil
}

// hurry is whether somebody waits for bytes, or has only just got some.
func (b *Budget) hurry() bool {
	return b.urgent.Load() > 0 || time.Since(time.Unix(0, b.hurried.Load())) < calm
}
