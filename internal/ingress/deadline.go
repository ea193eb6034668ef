package ingress

import (
	"context"
	"sync/atomic"
	"time"
)

// commitTimeout is how long a webhook that was received may take to become durable.
const commitTimeout = 30 * time.Second

// deadlines hands out contexts that end between commitTimeout and a second more from now. All webhooks of a second share
// one, since a timer for each would be a good part of the work. Nothing else ends them: neither the sender, who may hang
// up once its webhook is read, nor a shutdown, which waits. The zero value is ready, and safe for concurrent use.
type deadlines struct{ current atomic.Pointer[deadline] }

type deadline struct {
	ctx context.Context
	// shared is until when it is handed out.
	shared time.Time
	// cancel is not called: the timer does the same.
	cancel context.CancelFunc
}

func (d *deadlines) after(now time.Time) context.Context {
	if c := d.current.Load(); c != nil && now.Before(c.shared) {
		return c.ctx
	}
	shared := now.Add(time.Second)
	c := &deadline{shared: shared}
	c.ctx, c.cancel = context.WithDeadline(context.Background(), shared.Add(commitTimeout)) //nolint:gosec // the timer cancels it
	d.current.Store(c)
	return c.ctx
}
