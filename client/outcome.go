package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/anypb"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
)

// outcome is an error that says what becomes of the event.
type outcome struct {
	err    error
	action streamv1.NackAction
	delay  time.Duration
}

func (o *outcome) Error() string { return o.err.Error() }
func (o *outcome) Unwrap() error { return o.err }

// RetryAfter returns an error with which a handler asks for the event again, after a pause of its own, of at most 12 hours.
func RetryAfter(err error, pause time.Duration) error {
	return &outcome{err: orUnnamed(err), action: streamv1.NackAction_NACK_ACTION_RETRY, delay: pause}
}

// Park returns an error with which a handler refuses the event permanently. It becomes a dead letter of the group, see [Parked]. Its text is stored
// with the dead letter, as that of every error of a handler: it must have no secrets and no personal data. Without a group there are no dead letters, and Subscribe returns the error.
func Park(err error) error {
	return &outcome{err: orUnnamed(err), action: streamv1.NackAction_NACK_ACTION_PARK}
}

// Skip returns an error with which a handler leaves the event out for good. The server counts it.
func Skip(err error) error {
	return &outcome{err: orUnnamed(err), action: streamv1.NackAction_NACK_ACTION_SKIP}
}

func orUnnamed(err error) error {
	if err == nil {
		return errors.New("no reason given")
	}
	return err
}

// outcomeOf returns what a handler's error asks for.
func outcomeOf(err error) *outcome {
	var o *outcome
	if errors.As(err, &o) {
		return &outcome{err: err, action: o.action, delay: o.delay}
	}
	return &outcome{err: err, action: streamv1.NackAction_NACK_ACTION_RETRY}
}

// Delivery describes the delivery of the event that is being handled.
type Delivery struct {
	// Attempt is 1 when the event is delivered to the group first. Without a group it counts the attempts of this run.
	Attempt int
	// FirstDelivered is when the event was delivered first. Zero at the first attempt.
	FirstDelivered time.Time
	// Token resumes behind the event. Empty with a group.
	Token string
	// Replayed says that the event was a dead letter, and that an operator asked for it again.
	Replayed bool
	// Vendor is the typed vendor message, and Raw the webhook, if Config.Payload asked for them. Missing says why they are not there all the same.
	Vendor  *anypb.Any
	Raw     *streamv1.RawWebhook
	Missing string
}

type deliveryKey struct{}

// DeliveryFrom returns the delivery that a handler's context belongs to.
func DeliveryFrom(ctx context.Context) Delivery {
	d, _ := ctx.Value(deliveryKey{}).(Delivery)
	return d
}

// deliveryOf describes a delivery to its handler.
func deliveryOf(d *streamv1.Delivery) Delivery {
	described := Delivery{
		Attempt: int(d.GetAttempt()), Token: d.GetToken(), Replayed: d.GetReplayed(),
		Vendor: d.GetVendor(), Raw: d.GetRaw(), Missing: d.GetPayloadMissing(),
	}
	if d.GetFirstDeliveredAt() != nil {
		described.FirstDelivered = d.GetFirstDeliveredAt().AsTime()
	}
	return described
}

// ExpiredError means that events which were not received are no longer kept. They are lost to this subscriber: tell somebody. To go on, set
// Config.OnExpired, or the group's policy, or start at Earliest.
type ExpiredError struct {
	// Earliest is the token of the earliest event that is still kept. Received is when that event was received; zero if the log is empty.
	Earliest string
	Received time.Time
	// Err is the server's status.
	Err error
}

func (e *ExpiredError) Error() string {
	if e.Received.IsZero() {
		return fmt.Sprintf("client: subscribe: %v", e.Err)
	}
	return fmt.Sprintf("client: subscribe: %v; the earliest event was received at %s", e.Err, e.Received.Format(time.RFC3339))
}

func (e *ExpiredError) Unwrap() error { return e.Err }
