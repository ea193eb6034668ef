// Package letters has the rules for dead letters, gaps and readers' names that all engines share. It is pure: it stores nothing.
package letters

import (
	"errors"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
)

// The bounds of letters and gaps, and the times of readers.
const (
	// MaxAttempts bounds the history of a parked event, and MaxReason each of its texts in bytes.
	MaxAttempts = 10
	MaxReason   = 2 << 10
	// MaxGaps bounds the gaps of a reader. The oldest are removed first.
	MaxGaps = 1000
	// MaxRetries bounds how many parked events a call of Requests returns.
	MaxRetries = 100
	// ReaderGrace is how long the cursor of a reader that is no longer registered still holds retention, and ReaderTouch how often
	// the time of a registered cursor is renewed.
	ReaderGrace = 24 * time.Hour
	ReaderTouch = time.Hour
	// CheckEvery is how often the ages of parked events are checked. That reads all of them.
	CheckEvery = time.Hour
)

// ErrReader is the error of a reader's name that cannot be part of a key.
var ErrReader = errors.New("journal: a reader's name must not be empty or have a NUL in it")

// CheckReader returns an error for a name that no reader can have.
func CheckReader(name string) error {
	if name == "" || strings.ContainsRune(name, 0) {
		return ErrReader
	}
	return nil
}

// Park returns the record of an event that a reader parks at a time. If it was parked before, as known says, the record keeps the
// first time and the history. The ten latest attempts are kept, and long texts are truncated. p is not changed.
func Park(reader string, p, known *journalv1.Parked, now time.Time) *journalv1.Parked {
	next := proto.CloneOf(p)
	next.Sink, next.ParkedAt = reader, timestamppb.New(now)
	if known != nil {
		next.FirstAttemptAt = known.GetFirstAttemptAt()
		next.AttemptCount += known.GetAttemptCount()
		next.Attempts = append(known.GetAttempts(), next.GetAttempts()...)
	}
	next.Attempts = next.GetAttempts()[max(0, len(next.GetAttempts())-MaxAttempts):]
	for _, a := range next.GetAttempts() {
		a.Error = truncate(a.GetError())
	}
	next.Reason = truncate(next.GetReason())
	return next
}

// truncate bounds an error's text, which a sink wrote.
func truncate(s string) string {
	if len(s) > MaxReason {
		s = s[:MaxReason] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// mergeGap widens a gap by the known gaps that it touches. It returns these, and the number of positions that are new.
func mergeGap(gap *journalv1.Gap, known []*journalv1.Gap) (merged []*journalv1.Gap, added uint64) {
	var covered uint64
	for _, k := range known {
		if k.GetTo() < gap.GetFrom() || k.GetFrom() > gap.GetTo() {
			continue
		}
		merged = append(merged, k)
		covered += k.GetTo() - k.GetFrom()
		if k.GetFirstAt().AsTime().Before(gap.GetFirstAt().AsTime()) {
			gap.FirstAt = k.GetFirstAt()
		}
		gap.From, gap.To = min(gap.GetFrom(), k.GetFrom()), max(gap.GetTo(), k.GetTo())
	}
	return merged, gap.GetTo() - gap.GetFrom() - covered
}

// AddGap returns the gaps that a reader's new gap replaces, and the number of positions that are new. It widens the gap by the known
// gaps, which are in order, that it touches. If there are too many gaps, the oldest one is replaced too.
func AddGap(gap *journalv1.Gap, known []*journalv1.Gap) (replaced []*journalv1.Gap, added uint64) {
	replaced, added = mergeGap(gap, known)
	if len(known)-len(replaced) >= MaxGaps {
		replaced = append(replaced, known[0])
	}
	return replaced, added
}
