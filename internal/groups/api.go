package groups

import (
	"context"
	"errors"
	"fmt"
	"time"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

// Errors of groups. Those of the log and the journal come through: sinks.ErrExpired, sinks.ErrForked, sinks.ErrFuture, sinks.ErrDamaged,
// sinks.ErrUnavailable, sinks.ErrClosed, and a context's.
var (
	// ErrNotFound means that there is no such group, or that it was deleted.
	ErrNotFound = errors.New("groups: no such group")
	// ErrOtherFilter means that the group has another filter.
	ErrOtherFilter = errors.New("groups: the group has another filter")
	// ErrTooManyMembers and ErrTooManyGroups mean that a limit is reached.
	ErrTooManyMembers = errors.New("groups: the group has too many members")
	ErrTooManyGroups  = errors.New("groups: there are too many groups")
	// ErrLost means that this instance lost its right to the group's shares. What was outstanding is delivered again. Join again at once.
	ErrLost = errors.New("groups: the right to the group's shares was lost")
	// ErrDrained means that the server is shutting down. Leave, and join again elsewhere.
	ErrDrained = errors.New("groups: the server is shutting down")
	// ErrLeft means that the member has left.
	ErrLeft = errors.New("groups: the member has left")
)

// NotParkedError means that the event at a position is not parked.
type NotParkedError struct{ Position sinks.Position }

func (e *NotParkedError) Error() string {
	return fmt.Sprintf("groups: the event at position %d is not parked", e.Position)
}

// ExpiredError is a [sinks.ErrExpired]: the group has not dealt with events that are no longer kept, and its policy says to fail.
type ExpiredError struct {
	// Position is the first that is no longer kept, and Earliest the first that is.
	Position, Earliest sinks.Position
}

func (e *ExpiredError) Error() string {
	return "groups: events that the group has not dealt with are no longer kept"
}

// Is makes the error a [sinks.ErrExpired].
func (e *ExpiredError) Is(target error) bool { return target == sinks.ErrExpired }

// Predicate decides whether an event passes a filter. It is called by one goroutine at a time, and keeps nothing of the record.
type Predicate func(*sinks.Record) bool

// Request is a request to join a group.
type Request struct {
	Group string
	// Filter is the filter in its canonical form, which is equal for equal filters. Nil stands for the filter that the group has; a group that is made by the request passes
	// all events then.
	Filter []byte
	// From returns where a new group starts. It is called only if there is no such group; its error is Join's. Nil: the earliest event kept.
	From func(context.Context) (sinks.Position, error)
	// Policy replaces the group's, if it is set. A zero field has its default.
	Policy *Policy
	// Label is a name of the member, for people.
	Label string
}

// Start says where a member starts. All of it was true at one moment, after which the member misses nothing.
type Start struct {
	// Member is the member's id, and Filter the group's.
	Member string
	Filter []byte
	Policy Policy
	// Position is the first one that the group has not dealt with. Bounds are the log's.
	Position sinks.Position
	Bounds   sinks.Bounds
}

// Delivery is an event for a member.
type Delivery struct {
	// ID names the delivery. It has at most 64 characters.
	ID string
	// Record is the event. Other readers may share its memory: it must not be changed, nor kept for long.
	Record sinks.Record
	// Attempt is 1 at first.
	Attempt uint32
	// FirstAt is when the event was delivered to the group first. Zero at the first attempt.
	FirstAt time.Time
	// Replayed says that the event is parked, and was asked for again.
	Replayed bool
}

// Budget limits what Next returns.
type Budget struct {
	// Events is how many events at most. Without any, Next waits for notices and errors alone.
	Events int
	// Bytes of events: the event that reaches the sum is the last one. 0 or less: not limited.
	Bytes int64
}

// Batch is a result of Next: deliveries, or a notice, or both.
type Batch struct {
	Deliveries []Delivery
	// CaughtUp says that everything in the log was looked at. It is set once, and again after each FellBehind, which says that the log's end is
	// far away.
	CaughtUp, FellBehind bool
	// Position is the next one to look at, and Lag how many positions lie between it and the log's end.
	Position sinks.Position
	Lag      uint64
}

// Action says what became of a delivery.
type Action int

// The actions.
const (
	// Ack: it was dealt with.
	Ack Action = iota
	// Retry: deliver it again, or park it if its attempts are used up.
	Retry
	// Park it.
	Park
	// Skip leaves the event out for good.
	Skip
)

// Answer says what became of deliveries.
type Answer struct {
	// IDs are the deliveries.
	IDs []string
	// UpTo, instead of IDs: this delivery, and all before it of the same member. A [Member] understands it, [Manager.Acknowledge] does not.
	UpTo   string
	Action Action
	// Delay before a retry. Nil: the policy decides.
	Delay *time.Duration
	// Reason is for people who look at parked events. It is cut at a kibibyte.
	Reason string
}

// Result says what became of an answer. What was accepted is durable.
type Result struct {
	// Accepted is how many deliveries it answered.
	Accepted int
	// Stale are ids of deliveries that were not outstanding.
	Stale []string
}

// Status is where a member stands.
type Status struct {
	// Position is the first one that the group has not dealt with, as far as this instance knows. It never goes back, except when the group is moved.
	Position sinks.Position
	// Lag is how many positions lie between there and the log's end.
	Lag uint64
	// Outstanding is how many deliveries to the member are outstanding, and Oldest the age of the oldest.
	Outstanding int
	Oldest      time.Duration
	// Waiting says that events are ready for the member, or that there are some that its shares have not looked at.
	Waiting bool
}

// Info describes a group.
type Info struct {
	Name      string
	Filter    []byte
	Policy    Policy
	CreatedAt time.Time
	// Position is the first one that is not dealt with, and Lag how many there are from there to the log's end.
	Position sinks.Position
	Lag      uint64
	// Outstanding deliveries, and since when the oldest is, as of some seconds ago. The time is zero without one.
	Outstanding uint64
	OldestAt    time.Time
	Parked      uint64
	Skipped     uint64
	Missed      uint64
	FreeShares  int
	// Members, ordered by id.
	Members []MemberInfo
}

// MemberInfo describes a member.
type MemberInfo struct {
	ID, Label, Replica string
	JoinedAt           time.Time
	// Shares is how many the member should have, and Outstanding how many deliveries it had some seconds ago.
	Shares      int
	Outstanding uint32
	OldestAt    time.Time
}

// ParkedEvent is a dead letter of a group.
type ParkedEvent struct {
	*journalv1.Parked
	// Replaying says that somebody asked to deliver it again, and it has not been dealt with since.
	Replaying bool
}
