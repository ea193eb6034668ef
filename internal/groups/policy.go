package groups

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

// OnExpired says what a group does at events that are no longer kept.
type OnExpired int

// The choices. Their numbers are stored.
const (
	// Fail ends its members' Next with an [ExpiredError], until somebody seeks or changes the policy.
	Fail OnExpired = 1
	// Earliest goes on at the earliest event kept.
	Earliest OnExpired = 2
	// Latest goes on at the log's end.
	Latest OnExpired = 3
)

// Policy says how a group treats its events. A zero field stands for its default.
type Policy struct {
	// AckDeadline is how long a delivery may be outstanding. Default 30s.
	AckDeadline time.Duration
	// MaxAttempts is the number of failed deliveries after which an event is parked. Default 5.
	MaxAttempts uint32
	// MinBackoff is the pause before the second attempt, which doubles with each further one up to MaxBackoff. Default 1s, and 5min or MinBackoff. A negative
	// one stands for no pause.
	MinBackoff, MaxBackoff time.Duration
	// StrictOrder parks the later events of a parked event's subject behind it.
	StrictOrder bool
	// OnExpired: default [Fail].
	OnExpired OnExpired
	// MaxOutstanding is how many deliveries a member may have outstanding. Default 1,000.
	MaxOutstanding int
}

// WithDefaults returns the policy with the defaults filled in.
func (p Policy) WithDefaults() Policy {
	orDefault(&p.AckDeadline, 30*time.Second)
	orDefault(&p.MaxAttempts, 5)
	orDefault(&p.MinBackoff, time.Second)
	orDefault(&p.MaxBackoff, max(5*time.Minute, p.MinBackoff))
	orDefault(&p.OnExpired, Fail)
	orDefault(&p.MaxOutstanding, 1000)
	p.MinBackoff = max(p.MinBackoff, -1)
	p.MaxBackoff = max(p.MaxBackoff, p.MinBackoff, -1)
	return p
}

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// pause returns how long to wait after so many failed attempts.
func (p Policy) pause(attempts uint32) time.Duration {
	pause := max(p.MinBackoff, 0)
	for i := uint32(1); i < attempts && pause < p.MaxBackoff; i++ {
		pause *= 2
	}
	return max(min(pause, p.MaxBackoff), 0)
}

// definition is a group's stored definition.
type definition struct {
	filter    []byte
	policy    Policy
	createdAt time.Time
	// skipped and missed are counts from before the last seek.
	skipped uint64
	missed  ranges
	seeks   uint64
	// start is where the group started, or was moved to last.
	start sinks.Position
}

func (d definition) encode() ([]byte, error) {
	m := &journalv1.GroupDefinition{
		Filter:         d.filter,
		AckDeadline:    durationpb.New(d.policy.AckDeadline),
		MaxAttempts:    d.policy.MaxAttempts,
		MinBackoff:     durationpb.New(d.policy.MinBackoff),
		MaxBackoff:     durationpb.New(d.policy.MaxBackoff),
		StrictOrder:    d.policy.StrictOrder,
		OnExpired:      uint32(d.policy.OnExpired),
		MaxOutstanding: uint32(d.policy.MaxOutstanding),
		CreatedAt:      timestamppb.New(d.createdAt),
		Skipped:        d.skipped,
		Missed:         d.missed.pairs(),
		Seeks:          d.seeks,
		Start:          uint64(d.start),
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("groups: encode a definition: %w", err)
	}
	return b, nil
}

func decodeDefinition(b []byte) (definition, error) {
	var m journalv1.GroupDefinition
	if err := proto.Unmarshal(b, &m); err != nil {
		return definition{}, fmt.Errorf("groups: decode a definition: %w", err)
	}
	missed, err := rangesOf(m.GetMissed())
	if err != nil {
		return definition{}, fmt.Errorf("groups: decode a definition: %w", err)
	}
	return definition{
		filter: m.GetFilter(),
		policy: Policy{
			AckDeadline:    m.GetAckDeadline().AsDuration(),
			MaxAttempts:    m.GetMaxAttempts(),
			MinBackoff:     m.GetMinBackoff().AsDuration(),
			MaxBackoff:     m.GetMaxBackoff().AsDuration(),
			StrictOrder:    m.GetStrictOrder(),
			OnExpired:      OnExpired(m.GetOnExpired()),
			MaxOutstanding: int(m.GetMaxOutstanding()),
		}.WithDefaults(),
		createdAt: m.GetCreatedAt().AsTime(),
		skipped:   m.GetSkipped(),
		missed:    missed,
		seeks:     m.GetSeeks(),
		start:     sinks.Position(m.GetStart()),
	}, nil
}

func encodeNote(label string, n note) ([]byte, error) {
	m := &journalv1.GroupNote{Label: label, Outstanding: uint32(n.outstanding)}
	if !n.oldest.IsZero() {
		m.OldestAt = timestamppb.New(n.oldest)
	}
	b, err := proto.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("groups: encode a note: %w", err)
	}
	return b, nil
}
