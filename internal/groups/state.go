package groups

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

// maxMissed bounds the gaps of a state. Beyond it the nearest ones become one.
const maxMissed = 100

// state is what is known of a share. It is pure: an operation that is repeated on a newer state finds out whether it still holds.
type state struct {
	// position: all events of the share before it are done. done has those behind it. It may have positions that are not of the share.
	position sinks.Position
	done     ranges
	// failed are events that are not done, and replays parked events that are delivered again.
	failed, replays map[sinks.Position]failure
	// round numbers the replays.
	round   uint64
	skipped uint64
	missed  ranges
}

// failure is an event whose delivery failed so many times.
type failure struct {
	attempts  uint32
	first     time.Time // Of the first delivery.
	notBefore time.Time // Of the next one.
	round     uint64    // Of a replay.
}

// opKind is the kind of an operation.
type opKind int

const (
	opAck opKind = iota
	opFail
	opPark
	opSkip
	// opMiss marks an event that is no longer kept.
	opMiss
	// opBegin begins the replay of a parked event.
	opBegin
	// opDrop ends a replay of an event that is parked no more.
	opDrop
)

// op is a change of one event. round is not 0 for a parked event that is delivered again.
type op struct {
	kind     opKind
	position sinks.Position
	round    uint64
	// attempt is the delivery that ends by the operation. A park behind another event has none.
	attempt          uint32
	first, notBefore time.Time
	reason           string
}

// newState returns the state of a share that starts at a position.
func newState(p sinks.Position) *state {
	return &state{position: max(p, 1), failed: map[sinks.Position]failure{}, replays: map[sinks.Position]failure{}}
}

func (s *state) clone() *state {
	c := *s
	c.done, c.missed = slices.Clone(s.done), slices.Clone(s.missed)
	c.failed, c.replays = maps.Clone(s.failed), maps.Clone(s.replays)
	return &c
}

// isDone reports whether an event of the share is done.
func (s *state) isDone(p sinks.Position) bool { return p < s.position || s.done.has(p) }

// apply carries an operation out, and reports whether it holds: the delivery that it ends is the current one. Otherwise nothing changes.
func (s *state) apply(o op) bool {
	switch {
	case o.kind == opBegin:
		return s.begin(o)
	case o.round != 0:
		return s.applyReplay(o)
	case s.isDone(o.position):
		return false
	case o.kind != opMiss && o.attempt != s.failed[o.position].attempts+1 && o.attempt != 0:
		return false
	}
	switch o.kind {
	case opFail:
		s.failed[o.position] = failure{attempts: o.attempt, first: o.first, notBefore: o.notBefore}
		return true
	case opSkip:
		s.skipped++
	case opMiss:
		s.missed = s.missed.add(o.position, o.position+1).atMost(maxMissed)
	}
	s.finish(o.position, o.position+1)
	return true
}

// begin begins a replay, unless one is under way.
func (s *state) begin(o op) bool {
	if _, ok := s.replays[o.position]; ok || o.round != s.round+1 {
		return false
	}
	s.round++
	s.replays[o.position] = failure{round: s.round}
	return true
}

func (s *state) applyReplay(o op) bool {
	f, ok := s.replays[o.position]
	if !ok || f.round != o.round || o.kind != opDrop && f.attempts+1 != o.attempt {
		return false
	}
	if o.kind == opFail {
		s.replays[o.position] = failure{attempts: o.attempt, first: o.first, notBefore: o.notBefore, round: o.round}
		return true
	}
	if o.kind == opSkip {
		s.skipped++
	}
	delete(s.replays, o.position)
	return true
}

// finish marks positions as done.
func (s *state) finish(from, to sinks.Position) {
	if to <= s.position {
		return
	}
	s.done = s.done.add(max(from, s.position), to)
	if len(s.done) > 0 && s.done[0].from <= s.position {
		s.position = s.done[0].to
		s.done = slices.Delete(s.done, 0, 1)
	}
	if len(s.failed) > 0 {
		maps.DeleteFunc(s.failed, func(p sinks.Position, _ failure) bool { return from <= p && p < to })
	}
}

// advance marks all positions before scan as done, except the given ones, which are in order. It never makes an event undone.
func (s *state) advance(scan sinks.Position, undone []sinks.Position) {
	from := s.position
	for _, p := range undone {
		if p >= scan {
			break
		}
		if p >= from {
			s.finish(from, p)
			from = p + 1
		}
	}
	if from < scan {
		s.finish(from, scan)
	}
}

// pass marks positions as done that are no longer kept, and records the gap. Only an owner that has not looked at them yet may call it.
func (s *state) pass(from, to sinks.Position) {
	if from >= to {
		return
	}
	s.missed = s.missed.add(from, to).atMost(maxMissed)
	s.finish(from, to)
}

func (s *state) encode() ([]byte, error) {
	m := &journalv1.GroupShare{
		Position: uint64(s.position),
		Failed:   encodeFailures(s.failed),
		Replays:  encodeFailures(s.replays),
		Round:    s.round,
		Skipped:  s.skipped,
		Missed:   s.missed.pairs(),
	}
	at := s.position
	for _, r := range s.done {
		m.Done = append(m.Done, uint64(r.from-at), uint64(r.to-r.from))
		at = r.to
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("groups: encode a share: %w", err)
	}
	return b, nil
}

func encodeFailures(failures map[sinks.Position]failure) []*journalv1.GroupFailure {
	var encoded []*journalv1.GroupFailure
	for p, f := range failures {
		encoded = append(encoded, &journalv1.GroupFailure{
			Position: uint64(p), Attempts: f.attempts, FirstMs: millis(f.first), NotBeforeMs: millis(f.notBefore), Round: f.round,
		})
	}
	slices.SortFunc(encoded, func(a, b *journalv1.GroupFailure) int { return cmp.Compare(a.GetPosition(), b.GetPosition()) })
	return encoded
}

var errState = errors.New("groups: a share's state cannot be read")

// decodeState reads a stored state.
func decodeState(b []byte) (*state, error) {
	var m journalv1.GroupShare
	if err := proto.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("%w: %w", errState, err)
	}
	s := newState(sinks.Position(m.GetPosition()))
	s.round, s.skipped = m.GetRound(), m.GetSkipped()
	if len(m.GetDone())%2 != 0 {
		return nil, errState
	}
	at := uint64(s.position)
	for i := 0; i < len(m.GetDone()); i += 2 {
		from := at + m.GetDone()[i]
		to := from + m.GetDone()[i+1]
		if from <= at || to <= from {
			return nil, errState
		}
		s.done, at = append(s.done, span{sinks.Position(from), sinks.Position(to)}), to
	}
	var err error
	if s.missed, err = rangesOf(m.GetMissed()); err != nil {
		return nil, fmt.Errorf("%w: %w", errState, err)
	}
	for _, f := range m.GetFailed() {
		if p := sinks.Position(f.GetPosition()); !s.isDone(p) {
			s.failed[p] = decodeFailure(f)
		}
	}
	for _, f := range m.GetReplays() {
		s.replays[sinks.Position(f.GetPosition())] = decodeFailure(f)
	}
	return s, nil
}

func decodeFailure(f *journalv1.GroupFailure) failure {
	return failure{attempts: f.GetAttempts(), first: ofMillis(f.GetFirstMs()), notBefore: ofMillis(f.GetNotBeforeMs()), round: f.GetRound()}
}

// millis and ofMillis convert a time as it is stored. 0 is the zero time.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func ofMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
