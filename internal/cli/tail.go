package cli

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/internal/jsonschema"
)

// heartbeat is how often the server is asked to show that it is alive. Three missed ones are taken for a dead connection.
const heartbeat = 5 * time.Second

// idleHeartbeat is how soon the server is to say that it has nothing more, for a tail that ends there.
const idleHeartbeat = 100 * time.Millisecond

// idleFailures is after how many failed calls without an event a tail gives up that ends at the journal's end.
const idleFailures = 3

// fromForms describes the values of --from.
const fromForms = "earliest, latest, a time such as 2026-01-31T12:00:00Z or 2026-01-31 (its start in UTC), or a token"

// errEnough ends a tail that has printed what was asked for.
var errEnough = errors.New("enough")

// errSilent ends a stream over which nothing came any more.
var errSilent = fmt.Errorf("the server has sent nothing for %v", 3*heartbeat)

// follower makes a call again and again, until it need not or must not be made any more.
type follower struct {
	// explain says in words why a call failed.
	explain func(context.Context, error) error
	notice  func(format string, args ...any)
	// untilIdle ends it when a call has come to the journal's end, or cannot begin.
	untilIdle bool
	// received is whether anything came.
	received bool
	// failures counts the calls that failed since the last event.
	failures int
	// unknown are the sources of the filter that the server does not have.
	unknown []string
}

// tailer follows a server's events, over reconnections, and remembers how far it has come.
type tailer struct {
	follower

	client  streamv1.EventStreamServiceClient
	filter  *streamv1.Filter
	start   *streamv1.Start
	stop    *streamv1.Stop // Nil: never.
	handle  func(*eventv1.Event) error
	batched func(token string) error // after the events of a message, or a heartbeat
	left    int                      // events still wanted; negative: all
	handled int                      // how many events came
}

// tailFlags are the command line of tail.
type tailFlags struct {
	client           clientFlags
	from, state      string
	defaultFrom      string // What --from is without a value. "" is earliest.
	until            timeFlag
	asJSON, noFollow bool
	count            int
	types, sources   []string
	subjects         []string
	cel              string
	// stale is nil unless the flag is given.
	stale *bool
}

func tailCommand(env environment) *cobra.Command {
	f := tailFlags{client: clientFlags{subscriber: true}}
	var stale bool
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Print events as they come",
		Long: `Print the journal's events, and follow it until Ctrl-C. A lost connection is opened again where it broke.

For people personal data is masked; --json prints the events complete. With --state the command continues where it stopped, also
after a crash.`,
		Example: `  bridge tail --no-follow                              # the events so far
  bridge tail --type 'shipment.*' --source returns     # some of them, as they come
  bridge tail --json --state /var/lib/me/position      # for a program`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("stale") {
				f.stale = &stale
			}
			return f.tail(cmd.Context(), env)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&f.from, "from", "", "`where` to start: "+fromForms+"\n(default earliest); with --state it counts only when that file is new")
	fs.Var(&f.until, "until", "stop before the first event received at this `time` or later; a time to come is waited for")
	f.registerFilter(fs)
	fs.BoolVar(&stale, "stale", false, "only events that are older than one published before, by the vendor's version;\n--stale=false: only others")
	jsonFlag(fs, &f.asJSON, "one canonical event a line, in protobuf JSON")
	f.client.register(fs)
	return cmd
}

// registerFilter registers what selects events, where a command stops, and where it keeps its position.
func (f *tailFlags) registerFilter(fs *pflag.FlagSet) {
	fs.StringArrayVar(&f.types, "type", nil, "only events whose type matches this `pattern`: * is one segment, ** any; may be repeated")
	fs.StringArrayVar(&f.sources, "source", nil, "only events of this `source`; may be repeated")
	fs.StringArrayVar(&f.subjects, "subject", nil, "only events of this `subject`, such as order/1001; may be repeated")
	fs.StringVar(&f.cel, "cel", "", "only events for which this CEL `expression` is true, such as 'has(event.order)'")
	fs.IntVar(&f.count, "count", -1, "stop after this `number` of events (default: never)")
	noDefault(fs, "count")
	fs.BoolVar(&f.noFollow, "no-follow", false, "stop at the journal's end instead of waiting for more")
	fs.StringVar(&f.state, "state", "", "keep the position in this `file`, and continue from it next time")
}

func (f *tailFlags) tail(ctx context.Context, env environment) error {
	out := bufio.NewWriter(env.stdout)
	return f.run(ctx, env, "tail", eventPrinter(out, env, f.asJSON), out.Flush)
}

// run hands the events to a function, for the command of that name. After the events of a message it calls flush, and then saves the position.
func (f *tailFlags) run(ctx context.Context, env environment, command string, handle func(*eventv1.Event) error, flush func() error) error {
	start, continues, err := startAt(cmp.Or(f.from, f.defaultFrom), f.state)
	if err != nil {
		return err
	}
	server, err := f.client.dial(env)
	if err != nil {
		return err
	}
	defer func() { _ = server.Close() }()

	t := &tailer{
		follower: follower{
			explain: server.explain, untilIdle: f.noFollow,
			notice: func(format string, args ...any) { fmt.Fprintf(env.stderr, "bridge "+command+": "+format+"\n", args...) },
		},
		client: streamv1.NewEventStreamServiceClient(server),
		filter: &streamv1.Filter{Types: f.types, Sources: f.sources, Subjects: f.subjects, Stale: f.stale, Cel: f.cel},
		start:  start,
		left:   f.count,

		handle: handle,
	}
	if continues && f.from != "" {
		t.notice("it continues from the position in %s; --from counts only when that file is new", f.state)
	}
	if f.until.at != nil {
		t.stop = &streamv1.Stop{At: &streamv1.Stop_Time{Time: f.until.at}}
	}
	t.nameMissing(f.types)
	t.batched = func(token string) error {
		if err := flush(); err != nil {
			return err
		}
		return saveState(f.state, token)
	}
	err = t.follow(ctx, t.once)
	if err == nil && ctx.Err() == nil && t.handled == 0 && len(t.unknown) > 0 && len(t.unknown) == len(f.sources) {
		return &reportedError{exitFailed} // Nothing can come, and the notice said why.
	}
	if t.received && f.state == "" {
		t.notice("to go on from here, with the same flags: --from %s", t.start.GetToken())
	}
	return err
}

// eventPrinter returns what prints one event. JSON is complete, for programs; text is for people, personal data masked.
func eventPrinter(out io.Writer, env environment, asJSON bool) func(*eventv1.Event) error {
	if asJSON {
		return func(e *eventv1.Event) error { return printJSON(out, e) }
	}
	s := stylesFor(env.stdout, env.lookup)
	return func(e *eventv1.Event) error { return printEvent(out, s, e) }
}

// follow calls once until ctx is done, it returns errEnough, or the server refuses for good.
func (t *follower) follow(ctx context.Context, once func(context.Context) error) error {
	pause := 200 * time.Millisecond
	for {
		began := time.Now()
		err := once(ctx)
		if ended := errors.Is(err, errEnough) || ctx.Err() != nil; ended {
			return nil
		}
		t.failures++
		if !retryable(err) || t.untilIdle && (!t.received || t.failures == idleFailures) {
			return t.reason(ctx, err)
		}
		if time.Since(began) > time.Minute {
			pause = 200 * time.Millisecond
		}
		t.notice("%v; trying again", t.reason(ctx, err))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
			pause = min(2*pause, 10*time.Second)
		}
	}
}

// once streams over one call.
func (t *tailer) once(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var silent atomic.Bool
	alive := time.AfterFunc(3*heartbeat, func() {
		silent.Store(true)
		cancel()
	})
	defer alive.Stop()
	interval := heartbeat
	if t.untilIdle {
		interval = idleHeartbeat
	}
	stream, err := t.client.Tail(ctx, &streamv1.TailRequest{
		Start:             t.start,
		Filter:            t.filter,
		HeartbeatInterval: durationpb.New(interval),
		Stop:              t.stop,
	})
	if err != nil {
		return err
	}
	for {
		m, err := stream.Recv()
		if err != nil && silent.Load() {
			return errSilent
		}
		if errors.Is(err, io.EOF) && t.stop != nil && t.received {
			return errEnough // Other ends have a status.
		}
		if err != nil {
			return err
		}
		if !t.received && len(t.filter.GetSources()) > 0 {
			t.nameUnknown(stream)
		}
		alive.Stop() // What becomes of the events may take long.
		if err := t.receive(m); err != nil {
			return err
		}
		alive.Reset(3 * heartbeat)
	}
}

// unknownSource is the header metadata in which the stream's service names unknown sources: grpcstream.UnknownSource.
const unknownSource = "bridge-unknown-source-bin"

// nameUnknown tells which sources of the filter the server does not have.
func (t *follower) nameUnknown(stream grpc.ClientStream) {
	header, err := stream.Header()
	if err != nil {
		return // The next call meets it too.
	}
	t.unknown = header.Get(unknownSource)
	for _, name := range t.unknown {
		t.notice("the server has no source %q: only events that it stored when it had one can come", name)
	}
}

// nameMissing tells which patterns of types can choose no event that this program knows. The server may be newer.
func (t *follower) nameMissing(types []string) {
	for _, text := range types {
		if missing := jsonschema.Missing(text); missing != "" {
			t.notice("--type %q %s", text, missing)
		}
	}
}

func (t *tailer) receive(m *streamv1.TailResponse) error {
	switch m := m.GetMessage().(type) {
	case *streamv1.TailResponse_Subscribed:
		// Also before the first event: a stream that began at "latest" must not lose what comes while it reconnects.
		return t.passed(m.Subscribed.GetToken())
	case *streamv1.TailResponse_Events:
		for _, d := range m.Events.GetEvents() {
			if t.left == 0 {
				break
			}
			if err := t.handle(d.GetEvent()); err != nil {
				return &localError{err}
			}
			t.start, t.failures = tokenStart(d.GetToken()), 0
			t.left--
			t.handled++
		}
		return t.passed(t.start.GetToken())
	case *streamv1.TailResponse_Heartbeat:
		if err := t.passed(m.Heartbeat.GetToken()); err != nil {
			return err
		}
		if t.untilIdle && m.Heartbeat.GetLag() == 0 {
			return errEnough
		}
		return nil
	case *streamv1.TailResponse_Goodbye:
		t.notice("the server says goodbye: %s", m.Goodbye.GetReason())
		return t.passed(m.Goodbye.GetToken())
	}
	return nil
}

// passed records that all before token was dealt with.
func (t *tailer) passed(token string) error {
	t.start, t.received = tokenStart(token), true
	if err := t.batched(token); err != nil {
		return &localError{err}
	}
	if t.left == 0 {
		return errEnough
	}
	return nil
}

// localError is a failure on this side of the connection, such as a closed pipe: trying again would not help.
type localError struct{ err error }

func (e *localError) Error() string { return e.err.Error() }
func (e *localError) Unwrap() error { return e.err }

func retryable(err error) bool {
	var local *localError
	if errors.As(err, &local) {
		return false
	}
	switch st := status.Convert(err); st.Code() {
	case codes.ResourceExhausted:
		// Too many streams pass; a message that is too large for this client does not.
		return !strings.Contains(st.Message(), "larger than max")
	case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded, codes.Unknown, codes.Internal, codes.Aborted:
		return true
	default:
		return err == nil || errors.Is(err, io.EOF)
	}
}

// reason says in words why a stream ended.
func (t *follower) reason(ctx context.Context, err error) error {
	var local *localError
	switch {
	case errors.As(err, &local):
		return local.err
	case err == nil || errors.Is(err, io.EOF):
		return errors.New("the server ended the stream")
	}
	return t.explain(ctx, err)
}

func tokenStart(token string) *streamv1.Start {
	return &streamv1.Start{At: &streamv1.Start_Token{Token: token}}
}

// startAt returns where to start: at the position in the state file, otherwise where --from says, otherwise at the earliest event.
// continues is whether the state file decided.
func startAt(from, state string) (start *streamv1.Start, continues bool, err error) {
	start, err = parseFrom(from) // A wrong one is told, also when the state file decides.
	if err != nil || state == "" {
		return start, false, err
	}
	token, err := os.ReadFile(state)
	if errors.Is(err, os.ErrNotExist) {
		return start, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	if len(bytes.TrimSpace(token)) == 0 {
		return nil, false, fmt.Errorf("%s holds no position; remove it to start at the earliest event, or where --from says", state)
	}
	return tokenStart(string(bytes.TrimSpace(token))), true, nil
}

// parseFrom reads --from. nil is the earliest event.
func parseFrom(from string) (*streamv1.Start, error) {
	switch from {
	case "latest":
		return &streamv1.Start{At: &streamv1.Start_Latest{Latest: &streamv1.Latest{}}}, nil
	case "earliest", "":
		return nil, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, from); err == nil {
			return &streamv1.Start{At: &streamv1.Start_Time{Time: timestamppb.New(at)}}, nil
		}
	}
	if !tokenForm.MatchString(from) {
		return nil, &usageError{fmt.Sprintf("--from %q is none of these: %s", from, fromForms)}
	}
	return tokenStart(from), nil
}

// tokenForm tells what may be a token from a slip of the pen: tokens are safe in URLs, and longer than a word or a date.
var tokenForm = regexp.MustCompile(`^[A-Za-z0-9_-]{20,512}$`)

// saveState replaces the state file's content at once, so that a crash, or a power cut, leaves the old token or the new.
func saveState(path, token string) error {
	if path == "" {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".bridge-tail-*")
	if err != nil {
		return err
	}
	_, err = f.WriteString(token + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
