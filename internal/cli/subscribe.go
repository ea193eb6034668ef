package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
)

// subscribeCredit is how many events the server may send before they are printed.
const subscribeCredit = 100

// quietHeartbeats is after how many heartbeats without progress a subscriber stops that does not follow: ten seconds. What is left is with other
// members, or waits for its next attempt. Other replicas save their members' progress every five seconds or so.
const quietHeartbeats = 100

// subscribeFlags are the command line of subscribe.
type subscribeFlags struct {
	client           clientFlags
	group, from      string
	asJSON, noFollow bool
	count            int
	types, sources   []string
	subjects         []string
	cel, nack        string
}

func subscribeCommand(env environment) *cobra.Command {
	f := subscribeFlags{client: clientFlags{subscriber: true}}
	cmd := &cobra.Command{
		Use:   "subscribe --group GROUP",
		Short: "Take part in a subscription group: print its events and acknowledge them",
		Long: `Take part in a subscription group, as one of its members, until Ctrl-C. Each event is acknowledged once it is printed, and then the
group never gets it again. The first member makes the group, with its filter; later ones name no filter, or the same. For people
personal data is masked; --json prints the events complete.

With --no-follow it stops once the group has dealt with everything that the log had at the start: all of it was acknowledged, skipped
or parked, also the events that wait for an earlier one of their subject. Is the rest with other members, or waiting for its next
attempt, it stops after ten seconds without progress, says how many events that are at most, and the exit code is 1.

To look at events without taking them from a group: bridge tail.`,
		Example: `  bridge subscribe --group try-out --from latest
  bridge subscribe --group try-out --no-follow --json     # for a program
  bridge subscribe --group try-out --nack park --count 1  # make a dead letter`,
		Args: noArgs,
		PreRunE: func(*cobra.Command, []string) error {
			if f.group == "" {
				return &usageError{"takes --group GROUP"}
			}
			_, err := f.answer("", nil)
			return err
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return f.subscribe(cmd.Context(), env) },
	}
	fs := cmd.Flags()
	fs.StringVar(&f.group, "group", "", "name of the `group`")
	fs.StringVar(&f.from, "from", "", "`where` a new group starts: "+fromForms+"\n(default earliest); a group that is there goes on where it stands")
	fs.StringArrayVar(&f.types, "type", nil, "only events whose type matches this `pattern`: * is one segment, ** any; may be repeated")
	fs.StringArrayVar(&f.sources, "source", nil, "only events of this `source`; may be repeated")
	fs.StringArrayVar(&f.subjects, "subject", nil, "only events of this `subject`, such as order/1001; may be repeated")
	fs.StringVar(&f.cel, "cel", "", "only events for which this CEL `expression` is true, such as 'has(event.order)'")
	fs.IntVar(&f.count, "count", -1, "stop after this `number` of events (default: never)")
	noDefault(fs, "count")
	fs.BoolVar(&f.noFollow, "no-follow", false, "stop when the group has dealt with all that the log has now")
	fs.StringVar(&f.nack, "nack", "", "acknowledge negatively, to try that out: `action` is retry, park or skip")
	jsonFlag(fs, &f.asJSON, "one canonical event a line, in protobuf JSON")
	f.client.register(fs)
	return cmd
}

// answer is what is said of a delivery that was printed.
func (f *subscribeFlags) answer(reason string, ids []string) (*streamv1.SubscribeRequest, error) {
	if f.nack == "" {
		return &streamv1.SubscribeRequest{Message: &streamv1.SubscribeRequest_Ack{Ack: &streamv1.Ack{
			Which: &streamv1.Ack_Ids{Ids: &streamv1.DeliveryIds{Ids: ids}},
		}}}, nil
	}
	action, known := streamv1.NackAction_value["NACK_ACTION_"+strings.ToUpper(f.nack)]
	if !known || action == 0 {
		return nil, &usageError{fmt.Sprintf("--nack %q is none of retry, park and skip", f.nack)}
	}
	return &streamv1.SubscribeRequest{Message: &streamv1.SubscribeRequest_Nack{Nack: &streamv1.Nack{
		Ids: ids, Action: streamv1.NackAction(action), Reason: reason,
	}}}, nil
}

func (f *subscribeFlags) subscribe(ctx context.Context, env environment) error {
	from, err := parseFrom(f.from)
	if err != nil {
		return err
	}
	server, err := f.client.dial(env)
	if err != nil {
		return err
	}
	defer func() { _ = server.Close() }()
	out := bufio.NewWriter(env.stdout)
	label, _ := os.Hostname() // only for people
	s := &subscriber{
		follower: follower{
			explain: server.explain, untilIdle: f.noFollow,
			notice: func(format string, args ...any) { fmt.Fprintf(env.stderr, "bridge subscribe: "+format+"\n", args...) },
		},
		flags: f, client: streamv1.NewEventStreamServiceClient(server), left: f.count, out: out,
		handle: eventPrinter(out, env, f.asJSON),
		start: &streamv1.SubscribeStart{
			Group: f.group, From: from, Label: "bridge subscribe on " + label,
			HeartbeatInterval: durationpb.New(heartbeat),
		},
	}
	if f.noFollow {
		s.start.HeartbeatInterval = durationpb.New(idleHeartbeat)
	}
	if len(f.types)+len(f.sources)+len(f.subjects) > 0 || f.cel != "" {
		s.start.Filter = &streamv1.Filter{Types: f.types, Sources: f.sources, Subjects: f.subjects, Cel: f.cel}
	}
	s.nameMissing(f.types)
	return s.follow(ctx, s.once)
}

// subscriber is a member of a group.
type subscriber struct {
	follower

	flags  *subscribeFlags
	client streamv1.EventStreamServiceClient
	start  *streamv1.SubscribeStart
	handle func(*eventv1.Event) error
	out    *bufio.Writer
	left   int // events still wanted; negative: all
	// unanswered is how many results of acknowledgements are to come.
	unanswered int
	credit     int // What the server may still send.
	progress
}

// progress is how far the group has come, for a subscriber that does not follow.
type progress struct {
	// end is the log's end when the first call began, and position the first event that the group has not dealt with.
	end, position uint64
	// caughtUp: this member has looked at everything. It may still have to wait for events.
	caughtUp bool
	// quiet counts the heartbeats since the group came further, or this member had anything to do.
	quiet int
}

// began notes the log's end. A call that is made again goes on to the first one's.
func (p *progress) began(m *streamv1.Subscribed) {
	if p.end == 0 {
		p.end = m.GetLatest()
	}
	p.position, p.caughtUp, p.quiet = m.GetPosition(), false, 0
}

// beat notes a heartbeat. busy: this member has something to do.
func (p *progress) beat(position uint64, busy bool) {
	p.quiet++
	if busy || !p.caughtUp || position > p.position {
		p.quiet = 0
	}
	p.position = position
}

// over returns errEnough when the group has dealt with everything, and otherwise says what is left once nothing comes for long.
func (p *progress) over() error {
	switch {
	case p.end > 0 && p.position >= p.end:
		return errEnough
	case p.quiet >= quietHeartbeats:
		return &localError{fmt.Errorf("the group has not dealt with all that the log had: up to %s are with other members, or wait for their next attempt; "+
			"bridge groups show tells more", number(p.end-p.position, "event"))}
	}
	return nil
}

// once takes part over one call.
func (s *subscriber) once(ctx context.Context) error {
	if s.left == 0 {
		return errEnough
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	alive := time.AfterFunc(3*heartbeat, func() { cancel(errSilent) })
	defer alive.Stop()
	stream, err := s.client.Subscribe(ctx)
	if err != nil {
		return err
	}
	s.unanswered, s.credit = 0, 0
	s.credit = s.more()
	s.start.Credit = &streamv1.Credit{Events: uint32(s.credit)}
	// An error of Send is that of the stream, which Recv returns.
	_ = stream.Send(&streamv1.SubscribeRequest{Message: &streamv1.SubscribeRequest_Start{Start: s.start}})
	for {
		m, err := stream.Recv()
		if err != nil && errors.Is(context.Cause(ctx), errSilent) {
			return errSilent
		}
		if err != nil {
			return err
		}
		alive.Reset(3 * heartbeat)
		if !s.received && len(s.flags.sources) > 0 {
			s.nameUnknown(stream)
		}
		s.received = true
		if err := s.receive(stream.Send, m); err != nil {
			return err
		}
	}
}

func (s *subscriber) receive(send func(*streamv1.SubscribeRequest) error, m *streamv1.SubscribeResponse) error {
	switch m := m.GetMessage().(type) {
	case *streamv1.SubscribeResponse_Subscribed:
		s.began(m.Subscribed)
	case *streamv1.SubscribeResponse_Batch:
		s.quiet = 0
		if err := s.print(send, m.Batch.GetDeliveries()); err != nil {
			return err
		}
	case *streamv1.SubscribeResponse_AckResult:
		s.unanswered--
		for range m.AckResult.GetStale() {
			s.notice("an event was printed too late to be acknowledged, and comes again")
		}
	case *streamv1.SubscribeResponse_CaughtUp:
		s.caughtUp = true
	case *streamv1.SubscribeResponse_Heartbeat:
		s.beat(m.Heartbeat.GetPosition(), s.unanswered > 0)
	case *streamv1.SubscribeResponse_Goodbye:
		s.notice("the server says goodbye: %s", m.Goodbye.GetReason())
	}
	switch {
	case s.unanswered > 0:
		return nil
	case s.left == 0:
		return errEnough
	case s.untilIdle:
		return s.over()
	}
	return nil
}

// print prints events, and then says so.
func (s *subscriber) print(send func(*streamv1.SubscribeRequest) error, deliveries []*streamv1.Delivery) error {
	var ids []string
	for _, d := range deliveries {
		if err := s.handle(d.GetEvent()); err != nil {
			return &localError{err}
		}
		ids = append(ids, d.GetId())
		s.left--
		s.failures = 0
	}
	if err := s.out.Flush(); err != nil {
		return &localError{err}
	}
	answer, err := s.flags.answer("bridge subscribe --nack "+s.flags.nack, ids)
	if err != nil {
		return &localError{err}
	}
	s.unanswered++
	_ = send(answer)
	s.credit -= len(ids)
	if more := s.more(); more > 0 {
		s.credit += more
		_ = send(&streamv1.SubscribeRequest{Message: &streamv1.SubscribeRequest_Credit{Credit: &streamv1.Credit{Events: uint32(more)}}})
	}
	return nil
}

// more returns how much credit to give, so that no more events come than are wanted.
func (s *subscriber) more() int {
	if s.left < 0 {
		return subscribeCredit - s.credit
	}
	return min(subscribeCredit, s.left) - s.credit
}
