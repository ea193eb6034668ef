// Package redis is a [sinks.Resumer] that appends events to streams of Redis, or of a server with the same protocol and scripts.
//
// An entry has the attributes of CloudEvents as fields (id, type, source, …), the fields contenttype and value, and its value is the
// event in the configured format.
//
// # Delivery
//
// Exactly once, as far as the server keeps what it confirmed: its appendfsync and its replicas decide that, see [Config.Replicas]. A
// script appends the events and stores the position after them in a hash, in one step. The hash's key is [PositionKey]. Opening writes
// a new random name of the opening into it; a script of an earlier opening finds another name and does nothing.
//
// When the answer of a script is lost, the next Deliver reads the position, and leaves out what had arrived. Only an event that an
// operator retries or replays may arrive twice then, since it lies before the position. In a cluster the client library sends a script
// again by itself; so a script does nothing unless the position is the one that the sink knows.
//
// # Ordering
//
// Total within a stream.
//
// # Errors
//
// An event is refused permanently if it has no id, or if its stream's name lacks a value. All other errors may be retried: a key of
// another type, no memory, a server that is not the primary.
//
// # Configuration
//
// [Config]. docs/sinks/redis.md describes each key.
package redis

import (
	"context"
	_ "embed" // for the scripts
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	goredis "github.com/redis/go-redis/v9"

	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/connections"
	"github.com/webhook-bridge/bridge/sinks/content"
	"github.com/webhook-bridge/bridge/sinks/template"
)

// Limits of one script: the server does nothing else while it runs.
const (
	scriptEvents = 1000
	scriptBytes  = 8 << 20
)

// drainTimeout is how long a call still waits for its answer after its context is done.
const drainTimeout = 500 * time.Millisecond

var (
	//go:embed open.lua
	openText string
	//go:embed deliver.lua
	deliverText string
	//go:embed move.lua
	moveText string
	//nolint:gochecknoglobals // constants that Go cannot write as such
	openScript, deliverScript, moveScript = goredis.NewScript(openText), goredis.NewScript(deliverText), goredis.NewScript(moveText)
)

// Sink delivers to streams.
type Sink struct {
	client      goredis.UniversalClient
	connections *connections.Set
	stream      template.Template
	format      content.Format
	maxLength   int64
	replicas    int
	timeout     time.Duration
	origin      sinks.Origin
	key         string // of the position
	opening     string

	delivering sync.Mutex      // Held by Deliver, Resume and MoveTo.
	ctx        context.Context // Done when the sink is closed.
	cancel     context.CancelFunc
	// taken: this opening has taken the position over from earlier ones.
	taken bool
	// reached is the position that the destination has, as far as it is known. unsure: an answer was lost, so it may be greater.
	reached sinks.Position
	unsure  bool
}

var _ sinks.Resumer = (*Sink)(nil)

// PositionKey returns the key of the hash with a sink's position. It has the stream's name in braces, so that a cluster keeps both
// together.
func PositionKey(stream, sink string) string { return "{" + stream + "}:bridge:" + sink }

// Open returns a sink. If the configuration is wrong, the error joins all problems. Only with [Config.Required] it connects, and fails
// unless the server answers.
func Open(ctx context.Context, c Config, from sinks.Origin) (*Sink, error) {
	parts, problems := c.resolve()
	if len(problems) > 0 {
		return nil, fmt.Errorf("redis: open: %w", errors.Join(problems...))
	}
	s := &Sink{
		connections: parts.connections,
		stream:      parts.stream,
		format:      parts.format,
		maxLength:   c.MaxLength,
		replicas:    c.Replicas,
		timeout:     parts.timeout,
		origin:      from,
		key:         PositionKey(parts.stream.With("*"), from.Sink),
		client:      goredis.NewUniversalClient(parts.options),
		opening:     uuid.NewString(),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if c.Required {
		if err := s.client.Ping(ctx).Err(); err != nil {
			return nil, errors.Join(fmt.Errorf("redis: open: %w", err), s.Close())
		}
	}
	return s, nil
}

// call runs f while no other call runs, until ctx is done or the sink is closed.
func (s *Sink) call(ctx context.Context, f func(context.Context) error) error {
	s.delivering.Lock()
	defer s.delivering.Unlock()
	if s.ctx.Err() != nil {
		return sinks.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	watched, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	defer s.connections.CloseAfter(watched, drainTimeout)()
	err := f(watched)
	switch {
	case err == nil, errors.Is(err, sinks.ErrPermanent), errors.Is(err, sinks.ErrFenced):
		return err
	case s.ctx.Err() != nil:
		return sinks.ErrClosed
	case ctx.Err() != nil:
		return ctx.Err()
	case goredis.HasErrorPrefix(err, "MOVED "):
		return fmt.Errorf("%w: the server is a node of a cluster: name two or more of its nodes in addresses", err)
	}
	return err
}

// run runs a script. A call under way is not cancelled at once: it would then be unknown whether it arrived.
func (s *Sink) run(ctx context.Context, script *goredis.Script, keys []string, args ...any) *goredis.Cmd {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
	defer cancel()
	return script.Run(ctx, s.client, keys, args...)
}

// Resume implements [sinks.Resumer].
func (s *Sink) Resume(ctx context.Context) (reached sinks.Reached, ok bool, err error) {
	err = s.call(ctx, func(ctx context.Context) error {
		reached, ok, err = s.resume(ctx)
		return err
	})
	return reached, ok, err
}

func (s *Sink) resume(ctx context.Context) (sinks.Reached, bool, error) {
	how := "take"
	if s.taken {
		how = "ask"
	}
	answer, err := s.run(ctx, openScript, []string{s.key}, s.opening, how).Slice()
	switch {
	case err != nil:
		return sinks.Reached{}, false, fmt.Errorf("redis: resume: %w", err)
	case len(answer) == 0:
		return sinks.Reached{}, false, sinks.ErrFenced
	}
	s.taken = true
	reached, ok, err := parseReached(answer)
	if err != nil {
		return sinks.Reached{}, false, fmt.Errorf("redis: resume: key %s: %w", s.key, err)
	}
	s.learn(reached)
	if !ok {
		return reached, false, nil
	}
	return reached, true, s.awaitReplicas(ctx)
}

// learn records what the destination has.
func (s *Sink) learn(reached sinks.Reached) {
	s.reached, s.unsure = 0, false
	if reached.Log == s.origin.Log.ID() {
		s.reached = reached.Mark.Position
	}
}

// parseReached reads the values of log, epoch and position, which are nil where there are none.
func parseReached(values []any) (sinks.Reached, bool, error) {
	if len(values) != 3 {
		return sinks.Reached{}, false, errors.New("the server's answer is not the script's")
	}
	log, named := values[0].(string)
	if !named {
		return sinks.Reached{}, false, nil
	}
	epochText, _ := values[1].(string)
	positionText, _ := values[2].(string)
	epoch, err := strconv.ParseUint(epochText, 10, 64)
	if err != nil {
		return sinks.Reached{}, false, errors.New("its epoch is not a number")
	}
	position, err := strconv.ParseUint(positionText, 10, 64)
	if err != nil {
		return sinks.Reached{}, false, errors.New("its position is not a number")
	}
	return sinks.Reached{Log: log, Mark: sinks.Mark{Epoch: sinks.Epoch(epoch), Position: sinks.Position(position)}}, true, nil
}

// MoveTo implements [sinks.Resumer].
func (s *Sink) MoveTo(ctx context.Context, p sinks.Position) error {
	return s.call(ctx, func(ctx context.Context) error {
		at := s.origin.Reached(p)
		moved, err := s.run(ctx, moveScript, []string{s.key}, s.opening, at.Log, epochText(at.Mark), positionText(p)).Int()
		switch {
		case err != nil:
			return fmt.Errorf("redis: move: %w", err)
		case moved == 0:
			return sinks.ErrFenced
		}
		s.learn(at)
		return s.awaitReplicas(ctx)
	})
}

// Deliver implements [sinks.Sink].
func (s *Sink) Deliver(ctx context.Context, events []sinks.Record) (n int, err error) {
	if len(events) == 0 {
		if s.ctx.Err() != nil {
			return 0, sinks.ErrClosed
		}
		return 0, nil
	}
	err = s.call(ctx, func(ctx context.Context) error {
		n, err = s.deliver(ctx, events)
		return err
	})
	return n, err
}

// deliver leaves out the events that arrived with an answer that was lost, and sends the others in several scripts.
func (s *Sink) deliver(ctx context.Context, events []sinks.Record) (n int, err error) {
	if s.unsure {
		if n, err = s.arrived(ctx, events); err != nil {
			return 0, err
		}
	}
	for n < len(events) {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		sent, err := s.send(ctx, events[n:])
		n += sent
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// arrived returns how many of the first events are at the destination already.
func (s *Sink) arrived(ctx context.Context, events []sinks.Record) (n int, err error) {
	before := s.reached
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	answer, err := s.client.HMGet(ctx, s.key, "log", "epoch", "position").Result()
	if err != nil {
		return 0, fmt.Errorf("redis: deliver: %w", err)
	}
	reached, _, err := parseReached(answer)
	if err != nil {
		return 0, fmt.Errorf("redis: deliver: key %s: %w", s.key, err)
	}
	s.learn(reached)
	for n < len(events) && events[n].Position >= before && events[n].Position < s.reached {
		n++
	}
	if n == 0 {
		return 0, nil
	}
	if err := s.awaitReplicas(ctx); err != nil {
		s.reached, s.unsure = before, true
		return 0, err
	}
	return n, nil
}

// send sends as many events as one script may have, and returns how many are durable.
func (s *Sink) send(ctx context.Context, events []sinks.Record) (int, error) {
	batch, refused := s.encode(events)
	if batch.events == 0 {
		return 0, refused
	}
	answer, err := s.run(ctx, deliverScript, batch.keys, batch.args...).Slice()
	if err != nil {
		s.unsure = !goredis.HasErrorPrefix(err, "NOSCRIPT")
		return 0, fmt.Errorf("redis: deliver: %w", err)
	}
	done, failure, err := parseDelivered(answer)
	switch {
	case err != nil:
		s.unsure = true
		return 0, err
	case done == -1:
		return 0, sinks.ErrFenced
	case done < 0:
		s.unsure = true
		return 0, errors.New("redis: deliver: the answer was lost")
	}
	for _, r := range events[:done] {
		s.reached = max(s.reached, r.Position+1)
	}
	if err := s.awaitReplicas(ctx); err != nil {
		s.reached, s.unsure = min(s.reached, events[0].Position), true
		return 0, err
	}
	if failure != "" {
		return done, fmt.Errorf("redis: deliver: %s", failure)
	}
	return done, refused
}

func parseDelivered(answer []any) (done int, failure string, err error) {
	if len(answer) == 2 {
		n, isNumber := answer[0].(int64)
		text, isText := answer[1].(string)
		if isNumber && isText && n <= scriptEvents {
			return int(n), text, nil
		}
	}
	return 0, "", errors.New("redis: deliver: the server's answer is not the script's")
}

// awaitReplicas returns when enough replicas have what was written. WAIT is about the last write of its own connection, which may be a new
// one. So a write goes before it.
func (s *Sink) awaitReplicas(ctx context.Context) error {
	if s.replicas == 0 {
		return nil
	}
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
	defer cancel()
	var answer *goredis.Cmd
	_, err := s.client.Pipelined(within, func(p goredis.Pipeliner) error {
		p.HSet(within, s.key, "awaited", s.replicas)
		answer = p.Do(within, "WAIT", s.replicas, (s.timeout / 2).Milliseconds())
		return nil
	})
	if err != nil {
		return fmt.Errorf("redis: await replicas: %w", err)
	}
	switch got, err := answer.Int(); {
	case err != nil:
		return fmt.Errorf("redis: await replicas: %w", err)
	case got < s.replicas:
		return fmt.Errorf("redis: %d of %d replicas have the events", got, s.replicas)
	}
	return nil
}

// Close implements [sinks.Sink]. It waits for a running call, which ends soon.
func (s *Sink) Close() error {
	if s.ctx.Err() != nil {
		return nil
	}
	s.cancel()
	s.delivering.Lock()
	defer s.delivering.Unlock()
	if err := s.client.Close(); err != nil && !strings.Contains(err.Error(), "closed") {
		return fmt.Errorf("redis: close: %w", err)
	}
	return nil
}

func epochText(m sinks.Mark) string        { return strconv.FormatUint(uint64(m.Epoch), 10) }
func positionText(p sinks.Position) string { return strconv.FormatUint(uint64(p), 10) }
