package subscribetest

import (
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/internal/groups"
)

// Pace is how fast a history goes: fast on a clock of its own, slow on the computer's.
type Pace struct {
	// Steps is how many things go wrong at most, and Pause how long it is from one to the next, at most.
	Steps int
	Pause time.Duration
	// Deadline is the least ack_deadline. The longest is three times as long. Longest bounds how long a client may stop reading.
	Deadline, Longest time.Duration
	// Tolerance is how much later a delivery may be seen than it began, and Grace how long after a seek one from before may come.
	Tolerance, Grace time.Duration
	// Calm bounds the time until everything has come to rest in the end.
	Calm time.Duration
}

// Plan says how a history goes.
type Plan struct {
	Seed   uint64
	Pace   Pace
	Groups []GroupPlan
	// Followers is how many clients there are without a group.
	Followers int
	Subjects  int
	Before    int // Webhooks before the groups begin.
	// What goes wrong.
	Kills, Restarts, Freezes, Seeks, Expiries, Letters bool
}

// GroupPlan is the part of a group.
type GroupPlan struct {
	Policy           groups.Policy
	Latest           bool // Start at the log's end.
	All              bool // Without a filter.
	Members, Pullers int
}

func newRand(seed, stream uint64) *rand.Rand {
	return rand.New(rand.NewPCG(seed, stream)) //nolint:gosec // A test can be repeated only with the same numbers.
}

// RandomPlan makes a plan of a seed.
func RandomPlan(seed uint64, pace Pace) Plan {
	r := newRand(seed, 10)
	p := Plan{
		Seed: seed, Pace: pace, Followers: r.IntN(4), Subjects: 1 + r.IntN(10), Before: r.IntN(10),
		Kills: r.IntN(2) == 0, Restarts: r.IntN(3) == 0, Freezes: r.IntN(2) == 0, Seeks: r.IntN(4) == 0, Expiries: r.IntN(3) == 0,
		Letters: r.IntN(3) > 0,
	}
	p.Pace.Steps = 1 + r.IntN(pace.Steps)
	p.Pace.Pause = 1 + time.Duration(r.Int64N(int64(pace.Pause)))
	for range 1 + r.IntN(2) {
		g := GroupPlan{
			Policy: groups.Policy{
				AckDeadline: pace.Deadline + time.Duration(r.Int64N(int64(2*pace.Deadline))), MaxAttempts: uint32(1 + r.IntN(4)),
				MinBackoff: time.Duration(r.IntN(2000)+1) * time.Millisecond, MaxBackoff: 3 * time.Second,
				StrictOrder: r.IntN(3) == 0, OnExpired: groups.OnExpired(1 + r.IntN(3)), MaxOutstanding: 1 + r.IntN(40),
			}.WithDefaults(),
			Latest: r.IntN(3) == 0, All: r.IntN(4) == 0, Members: 1 + r.IntN(4), Pullers: r.IntN(3),
		}
		p.Groups = append(p.Groups, g)
	}
	return p
}

// message returns a policy as clients send it.
func message(p groups.Policy) *streamv1.GroupPolicy {
	return &streamv1.GroupPolicy{
		AckDeadline: durationpb.New(p.AckDeadline), MaxAttempts: p.MaxAttempts, MinBackoff: durationpb.New(p.MinBackoff),
		MaxBackoff: durationpb.New(p.MaxBackoff), StrictOrder: p.StrictOrder, OnExpired: streamv1.OnExpired(p.OnExpired),
		MaxOutstanding: uint32(p.MaxOutstanding),
	}
}
