// Package client receives Bridge's events, and survives what networks and deploys do to a stream.
//
//	err := client.Subscribe(ctx, client.Config{
//		Target: "bridge.internal:9090",
//		TLS:    &tls.Config{},
//		Token:  func() string { return os.Getenv("BRIDGE_TOKEN") },
//		Group:  "invoicing",
//		Filter: &streamv1.Filter{Types: []string{"order.*"}},
//	}, func(ctx context.Context, e *eventv1.Event) error {
//		return bill(ctx, e.GetOrder())
//	})
//
// # Delivery
//
// With [Config.Group], the server remembers what was handled. Several programs, or several calls of Subscribe, share the group's
// events. Events of one source and subject come one after the other, also when programs come and go; others may be handled at the
// same time, as [Config.Concurrency] says. An event whose handler returned nil is acknowledged, and not delivered again once the server has confirmed that.
// An event whose handler failed comes again, after a pause, and is parked as a dead letter after the policy's number of attempts. [RetryAfter], [Park] and [Skip] say otherwise.
//
// Without a group, this program alone gets the events, in the log's order, and [Config.Tokens] remembers how far it has come. An event whose handler failed
// is handled again, after a pause, and nothing overtakes it.
//
// Either way each event comes at least once. To have it exactly once, compare its id in the transaction that does the work; or, without a group,
// store [Delivery.Token] in that transaction, and have [Config.Tokens] read it there.
//
// # Failures
//
// Subscribe reconnects, with growing pauses, when a stream ends, when the server says goodbye, and when two heartbeats are missed. It resumes where it was.
// It returns when the context is done, or when trying again cannot help: [ExpiredError], or the server's status.
//
// # Cost
//
// It holds at most [Config.Outstanding] events. The server sends no more until some of them were handled.
package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
)

// Defaults of [Config].
const (
	DefaultConcurrency = 8
	DefaultOutstanding = 64
	DefaultHeartbeat   = 10 * time.Second
	DefaultGrace       = 10 * time.Second
	DefaultMinBackoff  = 100 * time.Millisecond
	DefaultMaxBackoff  = 15 * time.Second
	DefaultMaxMessage  = 64 << 20
)

// maxOutstanding is the most that a server accepts.
const maxOutstanding = 1_000_000

// Handler handles one event. It must return when its context is done: the connection is lost then, and the event is delivered again, or the
// subscription ends. The event belongs to the handler. [DeliveryFrom] tells more about it.
type Handler func(ctx context.Context, e *eventv1.Event) error

// Config says what to receive, and from where. Target or Conn is needed; everything else has a default.
type Config struct {
	// Target is the server's address, as gRPC knows it: host:port.
	Target string
	// TLS encrypts the connection to Target, and may have a certificate of this program. Nil: no encryption.
	TLS *tls.Config
	// Token returns the bearer token to present, at each connection. An empty one is not presented. It needs TLS, or a server on a loopback address.
	Token func() string
	// Conn is a connection to use in place of Target, TLS and Token.
	Conn grpc.ClientConnInterface

	// Group is the name of a group that shares the events. Empty: no group.
	Group string
	// Label names this member of the group, for people.
	Label string
	// Filter chooses events. Nil: all. A group has one filter: nil takes the group's own.
	Filter *streamv1.Filter
	// From is where a new group begins, or a program without a token. Nil: at the earliest event kept.
	From *streamv1.Start
	// Policy is the group's policy. Nil: the group's own, or the defaults.
	Policy *streamv1.GroupPolicy
	// OnExpired says where to go on when events were removed before they were received, without a group. With one, its policy says.
	OnExpired streamv1.OnExpired
	// Payload chooses what comes with each event. [DeliveryFrom] returns the vendor message or the webhook.
	Payload streamv1.Payload
	// Tokens remembers the position, without a group. Nil: every start is at From; reconnections resume all the same.
	Tokens Tokens

	// Concurrency is how many events are handled at the same time. Without a group it is 1.
	Concurrency int
	// Outstanding is how many events may be here at a time: being handled, waiting for it, or waiting for the confirmation. At most a million. The
	// ack_deadline of a group's policy goes on while an event waits: if a handler takes seconds, allow fewer.
	Outstanding int
	// Heartbeat is how often the server must show that it is alive. Two missed ones end the connection.
	Heartbeat time.Duration
	// Grace is how long handlers may go on when the context of Subscribe is done, before theirs is.
	Grace time.Duration
	// MinBackoff and MaxBackoff bound the pauses between connections, and, without a group, between attempts to handle an event.
	MinBackoff, MaxBackoff time.Duration
	// MaxMessage is the size of the largest message to accept, in bytes. It must be larger than the largest event.
	MaxMessage int

	// OnStatus is called when something of the status changed, from one goroutine at a time. It must not block.
	OnStatus func(Status)
	// Logger gets connections and their ends. Nil: nothing is logged.
	Logger *slog.Logger
}

// Subscribe handles events until ctx is done, or until trying again cannot help. It then waits for the handlers, confirms what they
// handled, and returns why: ctx's error, [ExpiredError], an error of Config or of Tokens, or the server's status.
func Subscribe(ctx context.Context, cfg Config, handle Handler) error {
	if err := cfg.complete(); err != nil {
		return err
	}
	conn, closeConn, err := cfg.connect()
	if err != nil {
		return err
	}
	defer closeConn()
	s := &subscription{cfg: cfg, api: streamv1.NewEventStreamServiceClient(conn), handle: handle}
	return s.run(ctx)
}

func (c *Config) complete() error {
	switch {
	case c.Target == "" && c.Conn == nil:
		return errors.New("client: config: Target or Conn is missing")
	case c.Group == "" && c.Concurrency > 1:
		return errors.New("client: config: Concurrency needs a Group: without one, events are handled in order")
	case c.Group == "" && c.Policy != nil:
		return errors.New("client: config: Policy needs a Group")
	case c.Group != "" && c.Tokens != nil:
		return errors.New("client: config: Tokens is for subscriptions without a Group: the server remembers a group's position")
	case c.Outstanding > maxOutstanding:
		return fmt.Errorf("client: config: Outstanding is more than %d", maxOutstanding)
	}
	if c.Group == "" {
		c.Concurrency = 1
	}
	setDefault(&c.Concurrency, DefaultConcurrency)
	setDefault(&c.Outstanding, max(DefaultOutstanding, c.Concurrency))
	setDefault(&c.Heartbeat, DefaultHeartbeat)
	setDefault(&c.Grace, DefaultGrace)
	setDefault(&c.MinBackoff, DefaultMinBackoff)
	setDefault(&c.MaxBackoff, max(DefaultMaxBackoff, c.MinBackoff))
	setDefault(&c.MaxMessage, DefaultMaxMessage)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Filter, c.From, c.Policy = proto.CloneOf(c.Filter), proto.CloneOf(c.From), proto.CloneOf(c.Policy)
	return nil
}

func setDefault[T int | time.Duration](value *T, otherwise T) {
	if *value <= 0 {
		*value = otherwise
	}
}

// connect returns the connection, and a function that gives it back.
func (c *Config) connect() (grpc.ClientConnInterface, func(), error) {
	if c.Conn != nil {
		return c.Conn, func() {}, nil
	}
	transport := insecure.NewCredentials()
	if c.TLS != nil {
		transport = credentials.NewTLS(c.TLS)
	}
	options := []grpc.DialOption{grpc.WithTransportCredentials(transport)}
	if c.Token != nil {
		options = append(options, grpc.WithPerRPCCredentials(bearer{token: c.Token, secure: c.TLS != nil || isLoopback(c.Target)}))
	}
	conn, err := grpc.NewClient(c.Target, options...)
	if err != nil {
		return nil, nil, fmt.Errorf("client: target %s: %w", c.Target, err)
	}
	return conn, func() { _ = conn.Close() }, nil
}
