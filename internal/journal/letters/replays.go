package letters

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
)

// HasEnded reports whether a replay is over.
func HasEnded(r *journalv1.Replay) bool { return r.GetEndedAt() != nil }

// CompareReplays orders replays as they were requested.
func CompareReplays(a, b *journalv1.Replay) int { return cmp.Compare(a.GetId(), b.GetId()) }

// AddReplay returns the ids of the ended replays that a reader's new replay takes the place of. known are the reader's replays, in
// their order. Errors: [journal.ErrLimit].
func AddReplay(known []*journalv1.Replay) (removed []string, err error) {
	var ended []string
	for _, r := range known {
		if HasEnded(r) {
			ended = append(ended, r.GetId())
		}
	}
	if n := len(known) - len(ended); n >= journal.MaxReplays {
		return nil, fmt.Errorf("%w: %d replays have not ended", journal.ErrLimit, n)
	}
	return ended[:max(len(ended)-journal.KeptReplays+1, 0)], nil
}

// CancelReplay returns the record of a replay that an operator ends at a time.
func CancelReplay(r *journalv1.Replay, now time.Time) *journalv1.Replay {
	next := proto.CloneOf(r)
	next.State, next.EndedAt = journalv1.ReplayState_REPLAY_STATE_CANCELLED, timestamppb.New(now)
	return next
}

// ActiveReplays returns copies of the replays that have not ended.
func ActiveReplays(all []*journalv1.Replay) (active []*journalv1.Replay) {
	for _, r := range all {
		if !HasEnded(r) {
			active = append(active, proto.CloneOf(r))
		}
	}
	slices.SortFunc(active, CompareReplays)
	return active
}
