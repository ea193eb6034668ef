package subscribe

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/internal/groups"
	"github.com/webhook-bridge/bridge/internal/tracing"
	"github.com/webhook-bridge/bridge/sinks/grpcstream"
)

const (
	// startPatience is how long a client may take to send the start.
	startPatience = 10 * time.Second
	// answerPatience bounds the wait for acknowledgements at the end of a stream, and leavePatience the member's leaving.
	answerPatience, leavePatience = 5 * time.Second, 5 * time.Second
	// maxPendingAnswers and maxPendingIDs bound the acknowledgements that wait to be written. A client that sends more is read no further
	// until they are.
	maxPendingAnswers, maxPendingIDs = 256, 10_000
)

// feed is where a stream's deliveries come from: a group, or the log itself. One goroutine calls next, one sent and place.
type feed interface {
	// next waits for deliveries within a budget, and returns what the client is to be sent. Without a budget it waits for what needs
	// none. A chunk without content only moves the place.
	next(ctx context.Context, budget groups.Budget) (chunk, error)
	// sent says that a chunk was sent.
	sent(c chunk)
	// place is where the client stands.
	place() place
	// answer passes on what the client says of deliveries. The receipt has the result when it is durable.
	answer(a groups.Answer) (*groups.Receipt, error)
	// patience is for how long the client may take no events while some wait for it. 0: as long as it likes.
	patience() time.Duration
	// waiting reports whether events wait for the client, and it has none.
	waiting() bool
	// status maps an error to the client's status.
	status(ctx context.Context, err error) error
	// leave gives back what is outstanding.
	leave(ctx context.Context)
}

// place is where a stream stands, for its messages.
type place struct {
	token         string
	position, lag uint64
	// oldest is the age of the oldest outstanding delivery, or 0.
	oldest time.Duration
}

// pending is an Ack or a Nack whose result has not been sent.
type pending struct {
	receipt *groups.Receipt
	// weight is what it takes of maxPendingIDs.
	weight int64
}

// stream is one call of Subscribe. One goroutine receives, one sends, one gets deliveries from the feed, one waits for results. None of
// them reads ahead: each hands over one thing at a time.
type stream struct {
	server   *Server
	out      grpc.BidiStreamingServer[streamv1.SubscribeRequest, streamv1.SubscribeResponse]
	credit   *credit
	started  chan *streamv1.SubscribeStart
	opened   chan struct{} // Closed when there is a feed.
	interval time.Duration
	end      context.CancelCauseFunc
	abandon  context.CancelCauseFunc

	feed    feed
	open    atomic.Pointer[feed] // The feed, for other goroutines.
	chunks  chan chunk
	answers chan pending // In the client's order.
	room    *semaphore.Weighted
	results chan groups.Result
	// unsent is the answer whose result was waited for when the stream ended. It belongs to the one who waits, then to the sender.
	unsent *pending
	// beat fires when a heartbeat is due.
	beat *time.Timer
	// sending is since when a Send is under way, in nanoseconds. 0: none is.
	sending atomic.Int64
}

// Subscribe implements [streamv1.EventStreamServiceServer].
func (s *Server) Subscribe(out grpc.BidiStreamingServer[streamv1.SubscribeRequest, streamv1.SubscribeResponse]) error {
	st := &stream{
		server: s, out: out, credit: newCredit(), started: make(chan *streamv1.SubscribeStart), opened: make(chan struct{}),
		chunks: make(chan chunk), results: make(chan groups.Result),
		answers: make(chan pending, maxPendingAnswers), room: semaphore.NewWeighted(maxPendingIDs),
	}
	return s.tail.Serve(out.Context(), st.unread, st.run)
}

func (s *stream) unread() uint64 {
	if f := s.open.Load(); f != nil {
		return (*f).place().lag
	}
	return 0
}

// run serves the stream until it ends; the result is its status.
func (s *stream) run(ctx context.Context, abandon context.CancelCauseFunc) error {
	ctx, s.end = context.WithCancelCause(ctx)
	defer s.end(nil)
	s.abandon = abandon
	go s.receive(ctx) // It ends when the handler has returned: only that unblocks it.
	subscribed, err := s.begin(ctx)
	if err != nil {
		return s.refused(ctx, err)
	}
	defer s.leave(ctx)
	if err := s.send(subscribed); err != nil {
		return err
	}
	var group sync.WaitGroup
	group.Go(func() { s.fetch(ctx) })
	group.Go(func() { s.collect(ctx) })
	group.Go(func() { s.watch(ctx) })
	err = s.serve(ctx)
	s.end(err)
	group.Wait()
	return s.finish(ctx, err)
}

// begin waits for the start and opens the feed.
func (s *stream) begin(ctx context.Context) (*streamv1.SubscribeResponse, error) {
	late := time.NewTimer(startPatience)
	defer late.Stop()
	var start *streamv1.SubscribeStart
	select {
	case start = <-s.started:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-late.C:
		return nil, status.Errorf(codes.DeadlineExceeded, "no start came within %s", startPatience)
	}
	if err := s.credit.add(start.GetCredit()); err != nil {
		return nil, grpcstream.Invalid(err)
	}
	s.interval = grpcstream.Interval(start.GetHeartbeatInterval())
	s.beat = time.NewTimer(s.interval)
	f, subscribed, err := s.server.open(ctx, s.out, start)
	if err != nil {
		return nil, err
	}
	s.feed = f
	s.open.Store(&f)
	close(s.opened)
	subscribed.HeartbeatInterval = durationpb.New(s.interval)
	return &streamv1.SubscribeResponse{Message: &streamv1.SubscribeResponse_Subscribed{Subscribed: subscribed}}, nil
}

// refused returns the status of a stream that never began.
func (s *stream) refused(ctx context.Context, err error) error {
	var ending *grpcstream.EndError
	switch {
	case s.out.Context().Err() != nil:
		return status.FromContextError(s.out.Context().Err()).Err()
	case errors.As(context.Cause(ctx), &ending):
		return ending.Status()
	}
	return s.server.status(ctx, err)
}

// receive reads what the client sends, as fast as it can be dealt with.
func (s *stream) receive(ctx context.Context) {
	for first := true; ; first = false {
		m, err := s.out.Recv()
		if errors.Is(err, io.EOF) {
			return // The client sends no more, and may still receive.
		}
		if err == nil {
			err = s.received(ctx, m, first)
		}
		if err != nil {
			s.end(err)
			return
		}
	}
}

func (s *stream) received(ctx context.Context, m *streamv1.SubscribeRequest, first bool) error {
	if err := grpcstream.Validate(m); err != nil {
		return err
	}
	start := m.GetStart()
	if first != (start != nil) {
		return grpcstream.Invalid(errors.New("start must be the first message, and no other"))
	}
	switch m := m.GetMessage().(type) {
	case *streamv1.SubscribeRequest_Start:
		select {
		case s.started <- start:
		case <-ctx.Done():
		}
		return nil
	case *streamv1.SubscribeRequest_Credit:
		if err := s.credit.add(m.Credit); err != nil {
			return grpcstream.Invalid(err)
		}
		return nil
	case *streamv1.SubscribeRequest_Ack:
		return s.answered(ctx, ackAnswer(m.Ack))
	case *streamv1.SubscribeRequest_Nack:
		return s.answered(ctx, nackAnswer(m.Nack))
	}
	return nil
}

// answered passes on an answer, and waits before that until there is room for its result.
func (s *stream) answered(ctx context.Context, a groups.Answer) error {
	select {
	case <-s.opened:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	p := pending{weight: int64(max(len(a.IDs), 1))}
	if s.room.Acquire(ctx, p.weight) != nil {
		return context.Cause(ctx)
	}
	var err error
	if p.receipt, err = s.feed.answer(a); err != nil {
		return err
	}
	select {
	case s.answers <- p:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// fetch gets deliveries from the feed, as far as there is credit, and hands them to the sender.
func (s *stream) fetch(ctx context.Context) {
	for {
		c, err := s.fetchNext(ctx)
		if err != nil {
			s.end(err)
			return
		}
		s.credit.use(c.events, c.bytes)
		select {
		case s.chunks <- c:
		case <-ctx.Done():
			return
		}
	}
}

// fetchNext returns the next chunk. Without credit, it looks for what needs none until there is some.
func (s *stream) fetchNext(ctx context.Context) (chunk, error) {
	for {
		events, bytes := s.credit.left()
		if events > 0 {
			return s.feed.next(ctx, groups.Budget{Events: events, Bytes: int64(bytes)})
		}
		waiting, cancel := s.credit.waiting(ctx)
		c, err := s.feed.next(waiting, groups.Budget{})
		credited := waiting.Err() != nil && ctx.Err() == nil
		cancel()
		if err == nil || !credited {
			return c, err
		}
	}
}

// collect waits for the results of the answers, in their order, and hands them to the sender.
func (s *stream) collect(ctx context.Context) {
	for {
		var p pending
		select {
		case p = <-s.answers:
		case <-ctx.Done():
			return
		}
		r, err := p.receipt.Wait(ctx)
		if err != nil {
			s.unsent = &p
			return
		}
		select {
		case s.results <- r:
			s.room.Release(p.weight)
		case <-ctx.Done():
			s.unsent = &p
			return
		}
	}
}

// sendRest sends the results of the answers that have come when the stream ends.
func (s *stream) sendRest(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerPatience)
	defer cancel()
	for {
		p := s.unsent
		if s.unsent = nil; p == nil {
			select {
			case next := <-s.answers:
				p = &next
			default:
				return nil
			}
		}
		r, err := p.receipt.Wait(ctx)
		if err != nil {
			return nil
		}
		if err := s.sendResult(r); err != nil {
			return err
		}
	}
}

// watch ends a stream that takes no events while others of its group could.
func (s *stream) watch(ctx context.Context) {
	patience := s.feed.patience()
	if patience == 0 {
		return
	}
	tick := time.NewTicker(patience / 4)
	defer tick.Stop()
	var idle time.Time // since when there is no credit and events wait
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now := time.Now()
		if began := s.sending.Load(); began != 0 && now.Sub(time.Unix(0, began)) > patience && s.feed.place().lag > 0 {
			s.end(errIdle)
			s.abandon(errIdle.Status())
			return
		}
		switch events, _ := s.credit.left(); {
		case events > 0 || !s.feed.waiting():
			idle = time.Time{}
		case idle.IsZero():
			idle = now
		case now.Sub(idle) > patience:
			s.end(errIdle)
			return
		}
	}
}

// serve sends until the stream ends, and returns why.
func (s *stream) serve(ctx context.Context) error {
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var err error
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case c := <-s.chunks:
			err = s.sendChunk(c)
		case r := <-s.results:
			err = s.sendResult(r)
		case <-s.beat.C:
			err = s.sendHeartbeat()
		}
		if err != nil {
			return err
		}
	}
}

// finish sends the results that are left, says goodbye if it is the server that ends the stream, and returns the stream's status.
func (s *stream) finish(ctx context.Context, cause error) error {
	if s.out.Context().Err() != nil {
		return status.FromContextError(s.out.Context().Err()).Err()
	}
	ending := endingOf(cause)
	if ending == nil {
		return s.feed.status(ctx, cause)
	}
	if err := s.sendRest(ctx); err != nil {
		return err
	}
	err := s.send(&streamv1.SubscribeResponse{Message: &streamv1.SubscribeResponse_Goodbye{Goodbye: &streamv1.Goodbye{
		Token: s.feed.place().token, Reason: ending.Reason, Cause: ending.Cause,
	}}})
	if err != nil {
		return err
	}
	return ending.Status()
}

func (s *stream) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leavePatience)
	defer cancel()
	s.beat.Stop()
	s.feed.leave(ctx)
}

func (s *stream) sendChunk(c chunk) error {
	if c.behind {
		p := s.feed.place()
		if err := s.send(&streamv1.SubscribeResponse{Message: &streamv1.SubscribeResponse_FellBehind{FellBehind: &streamv1.FellBehind{
			Position: p.position, Lag: p.lag,
		}}}); err != nil {
			return err
		}
	}
	if c.moved != nil {
		if err := s.send(&streamv1.SubscribeResponse{Message: &streamv1.SubscribeResponse_Subscribed{Subscribed: c.moved}}); err != nil {
			return err
		}
	}
	if err := s.sendEvents(&c); err != nil {
		return err
	}
	s.feed.sent(c)
	if !c.caughtUp {
		return nil
	}
	return s.send(&streamv1.SubscribeResponse{Message: &streamv1.SubscribeResponse_CaughtUp{CaughtUp: &streamv1.CaughtUp{
		Position: uint64(c.next), At: timestamppb.Now(),
	}}})
}

// sendEvents sends a chunk's deliveries, within a span if some of them belong to traces.
func (s *stream) sendEvents(c *chunk) error {
	span := c.traced.Begin(s.server.tracer, tracing.Start{Name: "send stream", Kind: tracing.Producer, Attributes: []tracing.Attribute{
		tracing.String("messaging.system", "bridge"), tracing.String("messaging.operation.type", "send"),
		tracing.Int("messaging.batch.message_count", c.events),
	}}, false)
	defer span.End()
	for _, wire := range c.wires {
		if err := s.send(batchResponse(wire)); err != nil {
			span.Fail("closed")
			return err
		}
	}
	return nil
}

func (s *stream) sendResult(r groups.Result) error {
	return s.send(&streamv1.SubscribeResponse{Message: &streamv1.SubscribeResponse_AckResult{AckResult: ackResult(r)}})
}

func (s *stream) sendHeartbeat() error {
	p := s.feed.place()
	beat := &streamv1.Heartbeat{Token: p.token, Lag: p.lag, Position: p.position}
	if p.oldest > 0 {
		beat.OldestUnackedAge = durationpb.New(p.oldest)
	}
	defer s.beat.Reset(s.interval)
	return s.send(&streamv1.SubscribeResponse{Message: &streamv1.SubscribeResponse_Heartbeat{Heartbeat: beat}})
}

// send blocks while the client does not read.
func (s *stream) send(m *streamv1.SubscribeResponse) error {
	s.sending.Store(time.Now().UnixNano())
	err := s.out.Send(m)
	s.sending.Store(0)
	return err
}
