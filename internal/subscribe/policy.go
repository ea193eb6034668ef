package subscribe

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/internal/groups"
	"github.com/webhook-bridge/bridge/sinks/grpcstream"
)

// encodeFilter returns a filter in its canonical form: equal filters have equal forms. It is never nil.
func encodeFilter(f *streamv1.Filter) []byte {
	c := proto.CloneOf(f)
	if c == nil {
		c = &streamv1.Filter{}
	}
	for _, list := range []*[]string{&c.Types, &c.Sources, &c.Subjects} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	c.ProtoReflect().SetUnknown(nil)
	b, _ := proto.MarshalOptions{Deterministic: true}.Marshal(c) // Its texts are valid UTF-8: the request was decoded.
	return append([]byte{}, b...)
}

func decodeFilter(b []byte) (*streamv1.Filter, error) {
	f := &streamv1.Filter{}
	return f, proto.Unmarshal(b, f)
}

// Compile returns what makes the predicates of groups' filters, for [groups.Config]. Failures of expressions are counted with those of the
// streams.
func Compile(streams *grpcstream.Streams) func([]byte) (groups.Predicate, error) {
	return func(encoded []byte) (groups.Predicate, error) {
		f, err := decodeFilter(encoded)
		if err != nil {
			return nil, err
		}
		compiled, err := streams.NewFilter(f)
		if err != nil {
			return nil, err
		}
		return compiled.Passes, nil
	}
}

// policyOf returns nil for nil. Fields that are not set stay zero: package groups has the defaults.
func policyOf(p *streamv1.GroupPolicy) *groups.Policy {
	if p == nil {
		return nil
	}
	policy := &groups.Policy{
		AckDeadline: p.GetAckDeadline().AsDuration(), MaxAttempts: p.GetMaxAttempts(), StrictOrder: p.GetStrictOrder(),
		MinBackoff: pause(p.GetMinBackoff()), MaxBackoff: pause(p.GetMaxBackoff()), MaxOutstanding: int(p.GetMaxOutstanding()),
	}
	switch p.GetOnExpired() {
	case streamv1.OnExpired_ON_EXPIRED_EARLIEST:
		policy.OnExpired = groups.Earliest
	case streamv1.OnExpired_ON_EXPIRED_LATEST:
		policy.OnExpired = groups.Latest
	case streamv1.OnExpired_ON_EXPIRED_FAIL, streamv1.OnExpired_ON_EXPIRED_UNSPECIFIED:
		policy.OnExpired = groups.Fail
	}
	return policy
}

// pause returns 0 for one that is not set, and a negative one for one of 0.
func pause(d *durationpb.Duration) time.Duration {
	if d != nil && d.AsDuration() == 0 {
		return -1
	}
	return d.AsDuration()
}

// policyMessage returns a policy whose defaults are filled in.
func policyMessage(p groups.Policy) *streamv1.GroupPolicy {
	p = p.WithDefaults()
	m := &streamv1.GroupPolicy{
		AckDeadline: durationpb.New(p.AckDeadline), MaxAttempts: p.MaxAttempts, StrictOrder: p.StrictOrder,
		MinBackoff: durationpb.New(max(p.MinBackoff, 0)), MaxBackoff: durationpb.New(max(p.MaxBackoff, 0)),
		MaxOutstanding: uint32(p.MaxOutstanding),
		OnExpired:      streamv1.OnExpired_ON_EXPIRED_FAIL,
	}
	switch p.OnExpired {
	case groups.Earliest:
		m.OnExpired = streamv1.OnExpired_ON_EXPIRED_EARLIEST
	case groups.Latest:
		m.OnExpired = streamv1.OnExpired_ON_EXPIRED_LATEST
	case groups.Fail:
	}
	return m
}

// ackAnswer and nackAnswer return what the client says of deliveries.
func ackAnswer(a *streamv1.Ack) groups.Answer {
	return groups.Answer{IDs: a.GetIds().GetIds(), UpTo: a.GetUpTo(), Action: groups.Ack}
}

func nackAnswer(n *streamv1.Nack) groups.Answer {
	a := groups.Answer{IDs: n.GetIds(), Action: groups.Retry, Reason: n.GetReason()}
	switch n.GetAction() {
	case streamv1.NackAction_NACK_ACTION_PARK:
		a.Action = groups.Park
	case streamv1.NackAction_NACK_ACTION_SKIP:
		a.Action = groups.Skip
	case streamv1.NackAction_NACK_ACTION_RETRY, streamv1.NackAction_NACK_ACTION_UNSPECIFIED:
	}
	if n.GetDelay() != nil {
		delay := n.GetDelay().AsDuration()
		a.Delay = &delay
	}
	return a
}

func ackResult(r groups.Result) *streamv1.AckResult {
	return &streamv1.AckResult{Accepted: uint32(r.Accepted), Stale: r.Stale}
}
