package grpcstream_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/sinks/grpcstream"
	"github.com/webhook-bridge/bridge/sinks/memlog"
)

// consumer is a service that subscribes with generated code alone. Package client does this and more.

type consumer struct {
	client streamv1.EventStreamServiceClient
	// handle does the work. To see every event exactly once, it stores the token in the same transaction.
	handle func(ctx context.Context, e *eventv1.Event, token string) error
	// token is the token that was stored last; empty at the very first start.
	token string
}

const heartbeat = 10 * time.Second

// handlerError is an error of the handler. It may wrap a gRPC status that has nothing to do with the stream.
type handlerError struct{ err error }

func (e *handlerError) Error() string { return e.err.Error() }

// follow streams until ctx is done, the handler fails, or the server says that trying again cannot help.
func (c *consumer) follow(ctx context.Context) error {
	for {
		err := c.once(ctx)
		var failed *handlerError
		if errors.As(err, &failed) {
			return failed.err
		}
		switch status.Code(err) {
		case codes.Unavailable, codes.ResourceExhausted, codes.Internal, codes.Canceled:
		default:
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

func (c *consumer) once(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req := &streamv1.TailRequest{
		Filter:            &streamv1.Filter{Types: []string{"shipment.*", "order.*"}},
		HeartbeatInterval: durationpb.New(heartbeat),
	}
	if c.token != "" {
		req.Start = &streamv1.Start{At: &streamv1.Start_Token{Token: c.token}}
	}
	stream, err := c.client.Tail(ctx, req, grpc.MaxCallRecvMsgSize(16<<20))
	if err != nil {
		return err
	}
	for {
		// Two heartbeats missed: the connection is dead, also if TCP has not noticed.
		alive := time.AfterFunc(2*heartbeat, cancel)
		m, err := stream.Recv()
		alive.Stop()
		if err != nil {
			return err
		}
		for _, d := range m.GetEvents().GetEvents() {
			if err := c.handle(ctx, d.GetEvent(), d.GetToken()); err != nil {
				return &handlerError{err}
			}
			c.token = d.GetToken()
		}
		if h := m.GetHeartbeat(); h != nil {
			c.token = h.GetToken() // Worth storing too, now and then.
		}
	}
}

func Example() {
	log := memlog.New("example")
	server := grpc.NewServer()
	streamv1.RegisterEventStreamServiceServer(server, grpcstream.New(log, grpcstream.Config{}))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()

	for _, kind := range []string{"shipment.ordered", "customer.deleted", "order.changed", "shipment.delivered"} {
		if _, err := log.Append(&eventv1.Event{Type: kind}); err != nil {
			fmt.Println(err)
		}
	}

	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = conn.Close() }()
	c := &consumer{client: streamv1.NewEventStreamServiceClient(conn)}
	for range 3 { // Each handles one event, stores its token, and is killed on the next one.
		handled := false
		c.handle = func(_ context.Context, e *eventv1.Event, _ string) error {
			if handled || e.GetType() == "shipment.delivered" {
				return status.Error(codes.Unavailable, "killed") // As a handler that calls another service may fail.
			}
			handled = true
			fmt.Println(e.GetType())
			return nil
		}
		fmt.Println(status.Convert(c.follow(context.Background())).Message())
	}
	// Output:
	// shipment.ordered
	// killed
	// order.changed
	// killed
	// killed
}
