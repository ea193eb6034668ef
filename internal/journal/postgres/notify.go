package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/webhook-bridge/bridge/sinks"
)

// Announcements make readers fast and cheap: an instance tells the others, by NOTIFY, up to where its commits are confirmed. They then
// look at the head, and need no confirmation of their own. An announcement that is lost costs an instance the rest of the
// [pollInterval] and one confirmation, so nothing depends on them.

const (
	// notifyPause is how long the instance waits between two announcements. Other instances poll anyway.
	notifyPause = 2 * time.Millisecond
	// listenRetry is how long an instance waits before it listens again after a failure.
	listenRetry = time.Second
	// othersFor is how long an instance that is alone does not look for others. A new one polls meanwhile.
	othersFor = 5 * time.Second
)

// notifications tell other instances of commits. They are sent outside of the commit: a NOTIFY holds a lock of the whole
// server until its transaction ends, which would be the wait for the standbys.
type notifications struct {
	pending chan struct{}
	// groups gets a value when something about groups has changed.
	groups chan struct{}
}

func (n *notifications) init() { n.pending, n.groups = make(chan struct{}, 1), make(chan struct{}, 1) }

// wake has the head announced that [tail.committed] was told last. It never waits.
func (n *notifications) wake() { signal(n.pending) }

// channel is the channel of notifications.
func (c *Config) channel() string { return c.Schema }

// runNotifications sends announcements until the journal closes. While one is under way, all that are wanted become one. One that
// fails is left out. An instance that is alone sends none.
func (j *Journal) runNotifications() {
	var others, groups bool
	var looked time.Time
	for {
		select {
		case <-j.ctx.Done():
			return
		case <-j.notifications.pending:
			groups = false
		case <-j.notifications.groups:
			groups = true
		}
		if time.Since(looked) > othersFor {
			others, looked = j.hasOthers(), time.Now()
		}
		if !others {
			continue
		}
		text := groupsChanged
		if !groups {
			text = j.tail.committedHead.Load().announcement()
		}
		// Its transaction writes nothing, and does not wait for the standbys.
		_, _ = j.pool.Exec(j.ctx, `select set_config('synchronous_commit', 'off', true), pg_notify($1, $2)`, j.cfg.channel(), text)
		select {
		case <-j.ctx.Done():
			return
		case <-time.After(notifyPause):
		}
	}
}

// hasOthers reports whether other instances may be running.
func (j *Journal) hasOthers() (others bool) {
	err := j.pool.QueryRow(j.ctx, j.sql(`select exists (select from bridge.replica
		where id <> $1 and not ended and seen > clock_timestamp() - interval '1 minute')`), j.replica).Scan(&others)
	return others || err != nil
}

func (h *head) announcement() string {
	return fmt.Sprintf("%s %d %d %d", h.now, h.epoch, h.kept, h.next)
}

// parseAnnouncement returns nil for a text that is none.
func parseAnnouncement(text string) *head {
	var h head
	var kept, next uint64
	if _, err := fmt.Sscanf(text, "%s %d %d %d", &h.now, &h.epoch, &kept, &next); err != nil {
		return nil
	}
	h.kept, h.next = sinks.Position(kept), sinks.Position(next)
	return &h
}

// runListener hears the announcements of other instances, on a session of its own. Without it, polling goes on.
func (j *Journal) runListener() {
	failing := false
	for j.ctx.Err() == nil {
		err := j.listen(j.ctx, func() {
			if failing {
				j.cfg.Logger.Info("journal: hears of other instances' commits again")
			}
			failing = false
		})
		if j.ctx.Err() == nil && !failing {
			j.cfg.Logger.Warn("journal: does not hear of other instances' commits; readers ask for them instead", "error", describe(err))
		}
		failing = true
		select {
		case <-j.ctx.Done():
		case <-time.After(listenRetry):
		}
	}
}

// listen hears announcements until the session ends.
func (j *Journal) listen(ctx context.Context, ready func()) error {
	conn, err := j.connect(ctx)
	if err != nil {
		return err
	}
	defer disconnect(conn)
	if _, err := conn.Exec(ctx, "listen "+j.cfg.channel()); err != nil {
		return err
	}
	ready()
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		switch n.Payload {
		case readersChanged:
			j.readers.look()
			continue
		case groupsChanged:
			j.sessions.signal()
			continue
		}
		if a := parseAnnouncement(n.Payload); a != nil && j.tail.lags(a) {
			j.tail.announced.Store(a)
			signal(j.tail.notified)
		}
	}
}
