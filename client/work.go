package client

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/durationpb"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
)

const (
	// saveEvery bounds how many events are handled before the token is saved.
	saveEvery = 100
	// maxReason bounds the text of a negative acknowledgement, in bytes.
	maxReason = 1024
	// maxDelay bounds the pause that a negative acknowledgement asks for.
	maxDelay = 12 * time.Hour
)

// work handles events until the queue is closed.
func (c *connection) work() error {
	unsaved := 0
	for {
		i, last, ok := c.queue.next()
		if !ok || c.over.Err() != nil {
			return c.save(unsaved)
		}
		switch {
		case c.s.cfg.Group != "":
			c.answer(i)
		case i.delivery == nil:
			c.s.token = i.token
			unsaved++
		default:
			if err := c.handleInOrder(i.delivery); err != nil {
				return err
			}
			unsaved++
		}
		if unsaved >= saveEvery || last {
			if err := c.save(unsaved); err != nil {
				return err
			}
			unsaved = 0
		}
	}
}

// save saves the token if it changed.
func (c *connection) save(unsaved int) error {
	if unsaved == 0 || c.s.cfg.Tokens == nil {
		return nil
	}
	// A token that was reached is worth saving, also when the connection is lost by now.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.handling), c.s.cfg.Grace)
	defer cancel()
	if err := c.s.cfg.Tokens.Save(ctx, c.s.token); err != nil {
		return &finalError{err}
	}
	return nil
}

// answer handles an event of a group, and acknowledges it.
func (c *connection) answer(i *item) {
	err := c.call(i.delivery, int(i.delivery.GetAttempt()))
	if c.handling.Err() != nil {
		return // the server gives the event to somebody else
	}
	ids := c.queue.finish(i)
	if err == nil {
		c.outbox.ack(ids)
		return
	}
	o := outcomeOf(err)
	n := &streamv1.Nack{Ids: ids, Action: o.action, Reason: reasonOf(o)}
	if o.delay > 0 {
		n.Delay = durationpb.New(min(o.delay, maxDelay))
	}
	c.outbox.nack(n)
}

// handleInOrder handles an event of no group until that succeeds.
func (c *connection) handleInOrder(d *streamv1.Delivery) error {
	pause := backoff{least: c.s.cfg.MinBackoff, most: c.s.cfg.MaxBackoff}
	// Once the stream is lost, the event comes again.
	for attempt := 1; c.handling.Err() == nil; attempt++ {
		err := c.call(d, attempt)
		if err == nil {
			c.done(d, true)
			return nil
		}
		o := outcomeOf(err)
		switch o.action {
		case streamv1.NackAction_NACK_ACTION_SKIP:
			c.done(d, false)
			return nil
		case streamv1.NackAction_NACK_ACTION_PARK:
			return &finalError{fmt.Errorf("client: handle event %s: %w", d.GetEvent().GetId(), err)}
		}
		wait := pause.next()
		if o.delay > 0 {
			wait = o.delay
		}
		c.s.cfg.Logger.WarnContext(c.handling, "event failed", "id", d.GetEvent().GetId(), "attempt", attempt, "pause", wait)
		select {
		case <-c.handling.Done():
			return nil
		case <-c.queue.ended:
			return nil
		case <-time.After(wait):
		}
	}
	return nil
}

// done moves the position of no group behind an event.
func (c *connection) done(d *streamv1.Delivery, handled bool) {
	c.s.token = d.GetToken()
	c.outbox.addCredit()
	c.s.board.count(func(st *Status) {
		st.Outstanding--
		if handled {
			st.Handled++
		} else {
			st.Failed++
		}
	})
}

// call calls the handler.
func (c *connection) call(d *streamv1.Delivery, attempt int) error {
	described := deliveryOf(d)
	described.Attempt = attempt
	return c.s.handle(context.WithValue(c.handling, deliveryKey{}, described), d.GetEvent())
}

// reasonOf returns the text of an error as protobuf can send it.
func reasonOf(err error) string {
	s := strings.ToValidUTF8(err.Error(), "\uFFFD")
	if len(s) <= maxReason {
		return s
	}
	end := maxReason
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}
