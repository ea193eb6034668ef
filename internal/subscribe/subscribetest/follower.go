package subscribetest

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

type tailing = pipe[streamv1.TailRequest, streamv1.TailResponse]

// follower is a client without a group. It keeps its position in tokens, and takes an old one at times.
//
// What it gets is exactly the events that pass, in order, from its start on: no hole, no repetition. With a token it goes on exactly behind the event, or the
// heartbeat, that carried it. What is left out is no longer kept, and said.
type follower struct {
	d         *driver
	name      string
	tail      bool // It uses Tail, otherwise Subscribe.
	filter    *streamv1.Filter
	passes    func(fact) bool
	onExpired streamv1.OnExpired

	// tokens are those that it got, with their places. The last one is the newest.
	tokens []bookmark
	// next is the place of the current stream: everything before it was received. end is the log's end when the server said where it begins.
	next, end sinks.Position
	log       []string      // For people.
	at        atomic.Uint64 // next, for other goroutines.
}

// bookmark is a token, and the lowest and the highest place where a stream may go on with it.
type bookmark struct {
	token     string
	low, high sinks.Position
	// goodbye: it may lie behind events that do not pass.
	goodbye bool
}

// maxTokens is how many tokens a follower keeps.
const maxTokens = 40

func newFollower(d *driver, i int) *follower {
	f := &follower{d: d, name: fmt.Sprint("follower-", i), tail: d.intN(2) == 0, passes: func(fact) bool { return true }}
	f.onExpired = streamv1.OnExpired(d.intN(4))
	switch d.intN(3) {
	case 0:
		f.filter, f.passes = &streamv1.Filter{Types: []string{"order.*"}}, func(e fact) bool { return e.kind != other }
	case 1:
		f.filter = &streamv1.Filter{Types: []string{changed}, Subjects: []string{"order/1", "order/2"}}
		f.passes = func(e fact) bool { return e.kind == changed && (e.subject == "order/1" || e.subject == "order/2") }
	}
	if f.tail {
		f.onExpired = streamv1.OnExpired_ON_EXPIRED_FAIL
	}
	return f
}

// note remembers what happened, for people.
func (f *follower) note(format string, args ...any) {
	f.log = append(f.log, time.Now().Format("04:05.000 ")+fmt.Sprintf(format, args...))
	if len(f.log) > 60 {
		f.log = f.log[1:]
	}
}

func (f *follower) breach(format string, args ...any) {
	f.d.breach("%s: "+format+"\n\t%s", append(append([]any{f.name}, args...), lines(f.log))...)
}

// follow lets the client subscribe again and again.
func (f *follower) follow(ctx context.Context) {
	for !f.d.isDone() {
		p := f.d.anyProcess(ctx)
		if p == nil {
			return
		}
		if f.tail {
			f.tailOnce(p)
		} else {
			f.subscribeOnce(p)
		}
		f.d.sleep(time.Second)
		if !f.d.isCalm() && f.d.intN(3) == 0 {
			f.d.sleep(2 * f.d.harness.Age) // So that its tokens expire.
		}
	}
}

// choose returns where to start, and what the place must be. The highest place is not set for the log's end.
func (f *follower) choose() (*streamv1.Start, bookmark) {
	if len(f.tokens) == 0 {
		if f.d.intN(2) == 0 {
			return &streamv1.Start{At: &streamv1.Start_Latest{Latest: &streamv1.Latest{}}}, bookmark{low: f.d.durable()}
		}
		return nil, bookmark{low: 1}
	}
	b := f.tokens[len(f.tokens)-1]
	if !f.d.isCalm() && f.d.intN(3) == 0 {
		b = f.tokens[f.d.intN(len(f.tokens))]
	}
	return &streamv1.Start{At: &streamv1.Start_Token{Token: b.token}}, b
}

// keep remembers a token.
func (f *follower) keep(token string, next sinks.Position) {
	if token == "" {
		f.breach("no token came with position %d", next)
		return
	}
	f.tokens = append(f.tokens, bookmark{token: token, low: next, high: next})
	if len(f.tokens) > maxTokens {
		f.tokens = f.tokens[1:]
	}
}

// begun checks where a stream begins.
func (f *follower) begun(s *streamv1.Subscribed, start *streamv1.Start, want bookmark) {
	at := sinks.Position(s.GetPosition())
	switch {
	case start == nil:
		want.high = f.d.world.kept()
	case want.high == 0:
		want.high = f.end
	case want.goodbye && at > want.low && !f.mayPass(want.low, at):
		f.next = want.low
		f.pass(at)
		want.high = at
	}
	f.note("subscribed at %d (%d to %d)", at, want.low, want.high)
	switch {
	case at < want.low:
		f.breach("it begins at %d, before %d", at, want.low)
	case at > want.high && !f.mayPass(want.low, at):
		f.breach("it begins at %d, behind %d", at, want.high)
	}
	f.next = at
	f.keep(s.GetToken(), at)
}

// mayPass reports whether the policy lets the server leave out what is between two places.
func (f *follower) mayPass(from, to sinks.Position) bool {
	switch f.onExpired {
	case streamv1.OnExpired_ON_EXPIRED_LATEST:
		first, ok := f.d.world.fact(from)
		return ok && first.expired
	case streamv1.OnExpired_ON_EXPIRED_UNSPECIFIED, streamv1.OnExpired_ON_EXPIRED_FAIL:
		return false
	case streamv1.OnExpired_ON_EXPIRED_EARLIEST:
	}
	for p := from; p < to; p++ {
		if e, _ := f.d.world.fact(p); !e.expired {
			return false
		}
	}
	return true
}

// moved is called when the server says in the middle of a stream that it goes on elsewhere.
func (f *follower) moved(s *streamv1.Subscribed) {
	at := sinks.Position(s.GetPosition())
	f.note("moved to %d", at)
	if at < f.next || !f.mayPass(f.next, at) {
		f.breach("it was moved from %d to %d", f.next, at)
	}
	f.next = at
	f.keep(s.GetToken(), at)
}

// event checks an event.
func (f *follower) event(e *eventv1.Event, token string) {
	p := f.d.world.position(e.GetId())
	f.note("event %d", p)
	got, ok := f.d.world.fact(p)
	switch {
	case !ok:
		f.breach("the event %s was never appended", e.GetId())
		return
	case got.kind != e.GetType() || got.subject != e.GetSubject() || !f.passes(got):
		f.breach("the event at %d came as %v", p, e)
	case p < f.next:
		f.breach("the event at %d comes again: everything before %d was sent", p, f.next)
	}
	f.pass(p)
	f.next = p + 1
	f.keep(token, f.next)
}

// beat checks a heartbeat.
func (f *follower) beat(h *streamv1.Heartbeat) {
	p := sinks.Position(h.GetPosition())
	f.note("heartbeat at %d", p)
	if p < f.next {
		f.breach("a heartbeat at %d follows position %d", p, f.next)
		return
	}
	f.pass(p)
	f.next = p
	f.keep(h.GetToken(), p)
}

// pass checks that nothing which passes lies between the place of the stream and another one.
func (f *follower) pass(to sinks.Position) {
	for p := f.next; p < to; p++ {
		if e, _ := f.d.world.fact(p); f.passes(e) {
			f.breach("the event at %d did not come, and position %d was reached", p, to)
			return
		}
	}
}

// ended checks the status of a stream that the server ended.
func (f *follower) ended(p *process, err error) {
	f.note("ended: %s", status.Convert(err).Message())
	if p.alive.Err() != nil {
		return
	}
	switch status.Code(err) {
	case codes.OK, codes.Unavailable, codes.Canceled, codes.DeadlineExceeded:
	case codes.OutOfRange:
		f.expired(err)
	default:
		f.breach("its stream ended with %v", err)
	}
}

// expired is called when the server says that the position is no longer kept. The client goes on at the earliest, as it was told.
func (f *follower) expired(err error) {
	detail := expiredDetail(err)
	if detail.GetEarliestToken() == "" {
		f.breach("its stream ended with %v, without the earliest position", err)
		return
	}
	if f.onExpired >= streamv1.OnExpired_ON_EXPIRED_EARLIEST {
		f.breach("its stream ended with %v, and it asked to go on", err)
	}
	f.tokens = []bookmark{{token: detail.GetEarliestToken(), low: 1, high: f.d.world.kept()}}
}

func (f *follower) interval() *durationpb.Duration {
	return durationpb.New(time.Duration(200+f.d.intN(3000)) * time.Millisecond)
}

// subscribeOnce is one stream of Subscribe.
func (f *follower) subscribeOnce(p *process) {
	start, want := f.choose()
	credit := 1 + f.d.intN(20)
	f.note("subscribe at %s with %v", p.name, start)
	seen := func(r *streamv1.SubscribeResponse) {
		if r.GetSubscribed() != nil {
			f.end = f.d.world.next()
		}
	}
	s := dial(p.alive, 1+f.d.intN(20), seen, &f.d.calls, func(s *subscribing) error { return p.Subscribe(s) })
	s.ask(&streamv1.SubscribeRequest{Message: &streamv1.SubscribeRequest_Start{Start: &streamv1.SubscribeStart{
		Filter: f.filter, From: start, OnExpired: f.onExpired, HeartbeatInterval: f.interval(), Credit: &streamv1.Credit{Events: uint32(credit)},
	}}})
	begun := false
	for f.goesOn() {
		r, ok := receive(s, f.d)
		if !ok {
			break
		}
		switch m := r.GetMessage().(type) {
		case *streamv1.SubscribeResponse_Subscribed:
			if begun {
				f.moved(m.Subscribed)
			} else {
				f.begun(m.Subscribed, start, want)
			}
			begun = true
		case *streamv1.SubscribeResponse_Batch:
			for _, d := range m.Batch.GetDeliveries() {
				f.event(d.GetEvent(), d.GetToken())
			}
			if credit -= len(m.Batch.GetDeliveries()); credit < 0 {
				f.breach("%d events came without credit", -credit)
			}
		case *streamv1.SubscribeResponse_Heartbeat:
			f.beat(m.Heartbeat)
		case *streamv1.SubscribeResponse_Goodbye:
			f.keep(m.Goodbye.GetToken(), f.next)
			f.tokens[len(f.tokens)-1].goodbye = true
		}
		if more := 1 + f.d.intN(20) - credit; more > 0 {
			credit += more
			s.ask(&streamv1.SubscribeRequest{Message: &streamv1.SubscribeRequest_Credit{Credit: &streamv1.Credit{Events: uint32(more)}}})
		}
	}
	f.hangUp(s.ctx, p, s.cut, s.ended, &s.status)
}

// tailOnce is one stream of Tail.
func (f *follower) tailOnce(p *process) {
	start, want := f.choose()
	f.note("tail at %s with %v", p.name, start)
	r := &streamv1.TailRequest{Start: start, Filter: f.filter, HeartbeatInterval: f.interval()}
	seen := func(r *streamv1.TailResponse) {
		if r.GetSubscribed() != nil {
			f.end = f.d.world.next()
		}
	}
	s := dial(p.alive, 1+f.d.intN(20), seen, &f.d.calls, func(s *tailing) error { return p.Tail(r, s) })
	for f.goesOn() {
		r, ok := receive(s, f.d)
		if !ok {
			break
		}
		switch m := r.GetMessage().(type) {
		case *streamv1.TailResponse_Subscribed:
			f.begun(m.Subscribed, start, want)
		case *streamv1.TailResponse_Events:
			for _, e := range m.Events.GetEvents() {
				f.event(e.GetEvent(), e.GetToken())
			}
		case *streamv1.TailResponse_Heartbeat:
			f.beat(m.Heartbeat)
		case *streamv1.TailResponse_Goodbye:
			f.keep(m.Goodbye.GetToken(), f.next)
			f.tokens[len(f.tokens)-1].goodbye = true
		}
	}
	f.hangUp(s.ctx, p, s.cut, s.ended, &s.status)
}

// goesOn decides whether a stream goes on. It also makes the client slow, and has it stop reading.
func (f *follower) goesOn() bool {
	f.at.Store(uint64(f.next))
	if f.d.isDone() {
		return false
	}
	if f.d.isCalm() {
		return true
	}
	switch f.d.intN(60) {
	case 0, 1, 2:
		return false
	case 3:
		f.d.sleep(f.d.Pace.Longest)
	case 4, 5:
		f.d.sleep(2 * time.Second)
	}
	return true
}

// receive waits for the next message.
func receive[Req, Resp any](s *pipe[Req, Resp], d *driver) (*Resp, bool) {
	select {
	case r := <-s.sent:
		return r, true
	case <-d.done:
		return nil, false
	case <-s.ended:
	}
	select {
	case r := <-s.sent: // What was sent before the end.
		return r, true
	default:
		return nil, false
	}
}

// hangUp ends a stream, if the server has not.
func (f *follower) hangUp(ctx context.Context, p *process, cut context.CancelFunc, ended <-chan struct{}, err *error) {
	if ctx.Err() == nil {
		cut()
		<-ended
		f.note("hung up")
		return
	}
	<-ended
	f.ended(p, *err)
}
