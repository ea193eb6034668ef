package journal

import (
	"context"
	"time"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

// GroupShares is the number of shares of each group. It is stored with the group's shares, so it never changes.
const GroupShares = 256

// The limits of groups. A call that exceeds one is ErrLimit, and changes nothing. Names of groups and ids of members are UTF-8, and neither
// empty nor with a NUL in them.
const (
	MaxGroups     = 10_000
	MaxGroupName  = 200
	MaxDefinition = 1 << 20
	MaxShareState = 1 << 20
	// MaxMembers bounds the members of a group.
	MaxMembers    = 10_000
	MaxMemberID   = 200
	MaxMemberNote = 4 << 10
)

// GroupReader is the name under which a group's dead letters are parked, for [DeadLetters]. No sink has such a name.
func GroupReader(group string) string { return "group/" + group }

// Groups stores subscription groups. A group's events are divided into shares, by subject. A share belongs to one session at a
// time. A journal does not know what a definition, a state or a note means: package groups does.
//
// [DeadLetters] works for the name [GroupReader] of a group too, without a reader of that name: Parked, RequestRetry and DiscardParked.
// The parked events of groups are among those of all readers, and their retention is the same. What is given and returned belongs to the caller.
type Groups interface {
	// Enlist begins a session of this instance. Errors: ErrUnavailable, sinks.ErrClosed, ctx's.
	Enlist(ctx context.Context) (Session, error)
	// GroupNames returns the names of up to limit groups behind a name, in the order of their bytes. All are behind the empty name. Errors: ErrUnavailable, sinks.ErrClosed, ctx's.
	GroupNames(ctx context.Context, after string, limit int) ([]string, error)
	// Group returns a group as it is at one moment: definition, members and shares belong together. Members and owners of sessions that
	// have ended are left out. Errors: ErrNotFound, ErrUnavailable, sinks.ErrClosed, ctx's.
	Group(ctx context.Context, name string) (*GroupState, error)
	// SetGroup stores a group's definition, durably. Version 0 makes a new group, with all shares in the state of the reset, or in an empty one;
	// otherwise the definition of that version is replaced. A reset gives all shares the given state too, and takes them from their owners: every
	// change by an owner from before is refused. Parked events stay. It returns the new version. Errors: ErrConflict if the group has another version,
	// or there is one already, or none; ErrLimit, ErrUnavailable, sinks.ErrClosed, ctx's.
	SetGroup(ctx context.Context, name string, version uint64, definition []byte, reset *GroupReset) (uint64, error)
	// DeleteGroup removes a group, its members, its shares, its parked events and what was asked of them, durably. Errors: ErrNotFound,
	// ErrUnavailable, sinks.ErrClosed, ctx's.
	DeleteGroup(ctx context.Context, name string) error
	// Shares returns shares with their states, in the order of the indexes. Errors: those of Group, and that of an index that no share has.
	Shares(ctx context.Context, group string, indexes []int) ([]Share, error)
	// SaveShares writes shares, durably when it returns; each index at most once. A share whose epoch or version is not the given one is not
	// written, and nothing of its change happens. The others are written, all at once. It returns for each change whether it was written.
	// A write needs no session: the version is enough, so that any instance can acknowledge. After ErrUnavailable and ctx's error the changes
	// may have been written, all of those that could be: the versions tell. Errors: those of Shares, ErrLimit.
	SaveShares(ctx context.Context, group string, changes []ShareChange) (saved []bool, err error)
	// Replays returns the parked events of a group for which a retry was requested, by [DeadLetters].RequestRetry, in order; at most limit
	// of them from a position on. A retry is requested until the event is parked again, attempted or unparked, or discarded. Errors: ErrUnavailable, sinks.ErrClosed, ctx's.
	Replays(ctx context.Context, group string, from sinks.Position, limit int) ([]*journalv1.Parked, error)
}

// Session is one instance's part in the groups. The engine renews it. It is lost, with its members and its shares, when that did not
// succeed in time, and when the journal closes. Every method but Close fails with ErrLost then, and after Close.
type Session interface {
	// ID is unique.
	ID() string
	// Join adds a member to a group, or replaces its note. Every instance sees it when Join has returned. A member of another session becomes one
	// of this session. Errors: ErrNotFound for the group, ErrLimit, ErrLost, ErrUnavailable, sinks.ErrClosed, ctx's.
	Join(ctx context.Context, group, member string, note []byte) error
	// Leave removes a member. One that is no member of this session stays, without an error. Errors: those of Join.
	Leave(ctx context.Context, group, member string) error
	// Take makes the session the owner of those of the given shares that have no owner, or whose owner's session has ended, and returns
	// them, in the order of the indexes. Their epoch and version are higher than before, durably. Shares that it owns already are not among them.
	// After ErrUnavailable and ctx's error the session may own them: Group tells. Errors: those of Join.
	Take(ctx context.Context, group string, indexes []int) ([]Share, error)
	// Changed receives a value when something about groups may have changed, at any instance: a definition, a member, an
	// owner, a reset, a request: mostly within a second. Several changes may make one value, and a value may have no cause.
	Changed() <-chan struct{}
	// Lost is closed when the session can no longer be relied on, before another session can take its shares.
	Lost() <-chan struct{}
	// Close ends the session: its members leave, and its shares have no owner. Errors: ErrUnavailable, ctx's; it ends all the same, within
	// some seconds. It may be called again, and when the session is lost.
	Close(ctx context.Context) error
}

// GroupState is a group at one moment.
type GroupState struct {
	Name       string
	Definition []byte
	// Version is greater with each definition. It is never 0, and at most 1<<63-1, as all versions and epochs are.
	Version uint64
	// Members of sessions that live, ordered by id.
	Members []GroupMember
	// Owners has one entry for each share: the id of the session that owns it, or empty. Epochs has the shares' epochs.
	Owners []string
	Epochs []uint64
	// Parked is how many events the group has parked.
	Parked uint64
}

// GroupMember takes part in a group.
type GroupMember struct {
	ID string
	// Session is the session that it joined by, and Replica the name of the session's instance.
	Session, Replica string
	Joined           time.Time
	Note             []byte
}

// Share is a part of a group.
type Share struct {
	Index int
	// Epoch is greater with each owner and each reset. Version is greater with each write, and with each change of the epoch.
	Epoch, Version uint64
	State          []byte
}

// ShareChange writes a share. A write raises the share's version by one.
type ShareChange struct {
	// Index, Epoch and Version name the share as the writer knows it.
	Index          int
	Epoch, Version uint64
	State          []byte
	// Release leaves the share without an owner.
	Release bool
	// Park are events to park, with the rules of [Claim].Park, Attempted those of Claim.AddAttempt, and Unpark positions that are parked no
	// more. They are carried out in this order. Each ends the request to retry its event.
	Park, Attempted []*journalv1.Parked
	Unpark          []sinks.Position
}

// GroupReset is a state for all shares of a group.
type GroupReset struct {
	State []byte
}
