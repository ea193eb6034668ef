package subscribetest

import (
	"context"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/internal/groups/groupstest"
	"github.com/webhook-bridge/bridge/sinks"
)

type subscribing = pipe[streamv1.SubscribeRequest, streamv1.SubscribeResponse]

// reply is an Ack or a Nack whose result has not been sent.
type reply struct {
	answer *groupstest.Answer
	upTo   bool
}

// member is one life of a member of a group, on a stream.
type member struct {
	g       *group
	process *process
	name    string
	stream  *subscribing

	mu sync.Mutex
	// replies are the answers without a result, in order. credit is what the client gave, less what the server used.
	replies []reply
	credit  int

	// open are the deliveries that were received and not answered, silent those that will not be.
	open, silent []string
}

// members is a client that joins again and again.
func (g *group) members(ctx context.Context) {
	d := g.driver
	for !d.isDone() {
		p := d.anyProcess(ctx)
		if p == nil {
			return
		}
		m := g.join(p, g.name, d.intN(20))
		m.live()
		m.leave()
		d.sleep(300 * time.Millisecond)
	}
}

// join begins a stream.
func (g *group) join(p *process, label string, credit int) *member {
	d := g.driver
	m := &member{g: g, process: p, name: g.member(p), credit: credit}
	start := &streamv1.SubscribeStart{
		Group: g.name, Policy: message(g.Policy), Label: label, Credit: &streamv1.Credit{Events: uint32(credit)},
		HeartbeatInterval: durationpb.New(time.Duration(500+d.intN(5000)) * time.Millisecond),
	}
	if d.intN(2) == 0 {
		start.Filter = g.filter()
	}
	m.stream = dial(p.alive, 1+d.intN(20), m.seen, &d.calls, func(s *subscribing) error {
		defer g.history.Leaving(m.name)
		return p.Subscribe(s)
	})
	m.stream.ask(&streamv1.SubscribeRequest{Message: &streamv1.SubscribeRequest_Start{Start: start}})
	return m
}

// seen records what the server hands over.
func (m *member) seen(r *streamv1.SubscribeResponse) {
	h := m.g.history
	switch r := r.GetMessage().(type) {
	case *streamv1.SubscribeResponse_Subscribed:
		m.g.joined(r.Subscribed.GetMember(), m.name)
		h.Position(m.name, sinks.Position(r.Subscribed.GetPosition()))
	case *streamv1.SubscribeResponse_Heartbeat:
		h.Position(m.name, sinks.Position(r.Heartbeat.GetPosition()))
	case *streamv1.SubscribeResponse_Batch:
		m.use(len(r.Batch.GetDeliveries()))
		for _, d := range r.Batch.GetDeliveries() {
			m.g.sent(m.name, d)
		}
	case *streamv1.SubscribeResponse_AckResult:
		m.result(r.AckResult)
	case *streamv1.SubscribeResponse_Goodbye:
		m.g.history.Leaving(m.name)
	}
}

// use checks that the server has credit for what it sends.
func (m *member) use(events int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.credit -= events; m.credit < 0 {
		m.g.history.Breach("%s got %d events without credit", m.name, -m.credit)
	}
}

// result records the result of the first answer that has none.
func (m *member) result(r *streamv1.AckResult) {
	m.mu.Lock()
	if len(m.replies) == 0 {
		m.mu.Unlock()
		m.g.history.Breach("%s got a result that it did not ask for", m.name)
		return
	}
	first := m.replies[0]
	m.replies = m.replies[1:]
	m.mu.Unlock()
	if first.upTo {
		first.answer.ResultUpTo(int(r.GetAccepted()))
	} else {
		first.answer.Result(int(r.GetAccepted()), r.GetStale())
	}
}

// live is the life of the member.
func (m *member) live() {
	d := m.g.driver
	for !d.isDone() {
		act := time.NewTimer(time.Duration(d.intN(2000)+1) * time.Millisecond)
		select {
		case r := <-m.stream.sent:
			for _, got := range r.GetBatch().GetDeliveries() {
				m.open = append(m.open, got.GetId())
			}
			if r.GetGoodbye() != nil {
				return
			}
		case <-act.C:
		case <-m.stream.ctx.Done():
			return
		}
		act.Stop()
		m.answer()
		m.refill()
		if d.isCalm() {
			continue
		}
		switch d.intN(60) {
		case 0:
			return
		case 1: // It is slow.
			d.sleep(2 * m.g.Policy.AckDeadline)
		case 2: // It stops reading. The server finds out when it is cut off, or never.
			d.sleep(d.Pace.Longest)
			if d.intN(2) == 0 {
				return
			}
		}
	}
}

// leave ends the stream, and checks how it ended.
func (m *member) leave() {
	if m.stream.ctx.Err() == nil {
		m.g.history.Leaving(m.name)
		m.stream.cut()
		<-m.stream.ended
		return
	}
	<-m.stream.ended
	if m.process.alive.Err() != nil {
		return
	}
	m.g.ended(m.name, m.stream.status)
}

// ended checks the status of a call that the server ended.
func (g *group) ended(name string, err error) {
	switch status.Code(err) {
	case codes.OK, codes.Unavailable, codes.Canceled, codes.DeadlineExceeded:
	case codes.OutOfRange:
		g.expired(name, err)
	default:
		g.history.Breach("%s ended with %v", name, err)
	}
}

// expired is called when a client was told that events are no longer kept. Then somebody moves the group.
func (g *group) expired(name string, err error) {
	detail := expiredDetail(err)
	if detail == nil || detail.GetEarliestToken() == "" {
		g.history.Breach("%s ended with %v, without the earliest position", name, err)
		return
	}
	if !g.history.MayFail() {
		g.history.Breach("%s ended with %v, and nothing is gone", name, err)
	}
	g.seekTo(&streamv1.Start{At: &streamv1.Start_Earliest{Earliest: &streamv1.Earliest{}}})
}

func expiredDetail(err error) *streamv1.PositionExpired {
	for _, d := range status.Convert(err).Details() {
		if detail, ok := d.(*streamv1.PositionExpired); ok {
			return detail
		}
	}
	return nil
}

// refill gives credit.
func (m *member) refill() {
	d := m.g.driver
	m.mu.Lock()
	more := d.intN(10) - m.credit
	if d.isCalm() {
		more = 100 - m.credit
	}
	if more > 0 {
		m.credit += more
	}
	m.mu.Unlock()
	if more > 0 {
		m.stream.ask(&streamv1.SubscribeRequest{Message: &streamv1.SubscribeRequest_Credit{Credit: &streamv1.Credit{Events: uint32(more)}}})
	}
}

// answer answers some of what is open.
func (m *member) answer() {
	if len(m.open) == 0 {
		return
	}
	d := m.g.driver
	n := 1 + d.intN(len(m.open))
	kind := d.intN(10)
	if d.isCalm() {
		kind, n = 9, len(m.open)
	}
	first, last := slices.Clone(m.open[:n]), slices.Clone(m.open[len(m.open)-n:])
	switch kind {
	case 0: // Later.
	case 1: // Never.
		m.open, m.silent = nil, append(m.silent, m.open...)
	case 2, 3:
		m.open = m.open[:len(m.open)-n]
		m.send(d.nack(last))
	case 4, 5:
		ids := slices.Concat(m.silent, first)
		m.open, m.silent = m.open[n:], nil
		m.send(answering{action: groupstest.Ack, ids: ids, request: &streamv1.SubscribeRequest{Message: &streamv1.SubscribeRequest_Ack{
			Ack: &streamv1.Ack{Which: &streamv1.Ack_UpTo{UpTo: first[n-1]}},
		}}, upTo: true})
	default:
		m.open = m.open[n:]
		m.send(answering{action: groupstest.Ack, ids: first, request: &streamv1.SubscribeRequest{Message: &streamv1.SubscribeRequest_Ack{
			Ack: &streamv1.Ack{Which: &streamv1.Ack_Ids{Ids: &streamv1.DeliveryIds{Ids: first}}},
		}}})
	}
}

// answering is an Ack or a Nack, as the history and as the server know it.
type answering struct {
	action  groupstest.Action
	delay   *time.Duration
	ids     []string
	request *streamv1.SubscribeRequest
	upTo    bool
}

func (m *member) send(a answering) {
	m.mu.Lock()
	m.replies = append(m.replies, reply{m.g.history.Answering(a.action, a.delay, a.ids...), a.upTo})
	m.mu.Unlock()
	m.stream.ask(a.request)
}

// nack makes a negative acknowledgement.
func (d *driver) nack(ids []string) answering {
	n := &streamv1.Nack{Ids: ids, Reason: "the test says so"}
	a := answering{action: groupstest.Retry, ids: ids, request: &streamv1.SubscribeRequest{Message: &streamv1.SubscribeRequest_Nack{Nack: n}}}
	switch d.intN(4) {
	case 0:
		a.action, n.Action = groupstest.Park, streamv1.NackAction_NACK_ACTION_PARK
	case 1:
		a.action, n.Action = groupstest.Skip, streamv1.NackAction_NACK_ACTION_SKIP
	case 2:
		delay := time.Duration(d.intN(3000)) * time.Millisecond
		a.delay, n.Delay = &delay, durationpb.New(delay)
	}
	return a
}
