package postgres

import (
	"context"
	"time"
)

// notifyPause is how long the instance waits between two notifications. Other instances poll anyway.
const notifyPause = 10 * time.Millisecond

// notifications tell other instances that there are new events. They are sent outside of the commit: a NOTIFY holds a lock of the whole
// server until its transaction ends, which would be the wait for the standbys.
type notifications struct{ pending chan struct{} }

func (n *notifications) init() { n.pending = make(chan struct{}, 1) }

// wake has a notification sent. It never waits.
func (n *notifications) wake() {
	select {
	case n.pending <- struct{}{}:
	default:
	}
}

// channel is the channel of notifications.
func (c *Config) channel() string { return c.Schema }

// runNotifications sends notifications until the journal closes. One that fails is left out.
func (j *Journal) runNotifications() {
	for {
		select {
		case <-j.ctx.Done():
			return
		case <-j.notifications.pending:
		}
		_ = j.notify(j.ctx) // other instances poll
		select {
		case <-j.ctx.Done():
			return
		case <-time.After(notifyPause):
		}
	}
}

// notify sends one notification. Its transaction does not wait for the standbys.
func (j *Journal) notify(ctx context.Context) error {
	conn, err := j.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	_, err = conn.Conn().PgConn().Exec(ctx, "begin; set local synchronous_commit = off; notify "+j.cfg.channel()+"; commit").ReadAll()
	return err
}
