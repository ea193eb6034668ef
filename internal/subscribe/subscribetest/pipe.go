package subscribetest

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// pipe is a stream's transport. Each message goes through the encoder. Both directions have room for some messages; then a send blocks, as
// it does over a network whose windows are full. A pipe that is cut loses what is in it.
type pipe[Req, Resp any] struct {
	grpc.ServerStream
	ctx    context.Context
	cut    context.CancelFunc // Ends the stream without a word.
	asked  chan *Req
	sent   chan *Resp
	ended  chan struct{} // Closed when the handler has returned.
	status error         // Its result, after that.

	// seen is called for each message that the server hands over.
	seen func(*Resp)
}

// dial begins a call. handle is the server's method.
func dial[Req, Resp any](
	alive context.Context, room int, seen func(*Resp), work *sync.WaitGroup, handle func(*pipe[Req, Resp]) error,
) *pipe[Req, Resp] {
	p := &pipe[Req, Resp]{asked: make(chan *Req, 8), sent: make(chan *Resp, room), ended: make(chan struct{}), seen: seen}
	p.ctx, p.cut = context.WithCancel(alive)
	work.Go(func() {
		defer close(p.ended)
		defer p.cut() // As gRPC does.
		p.status = handle(p)
	})
	return p
}

func (p *pipe[Req, Resp]) Context() context.Context     { return p.ctx }
func (p *pipe[Req, Resp]) SetHeader(metadata.MD) error  { return nil }
func (p *pipe[Req, Resp]) SendHeader(metadata.MD) error { return nil }
func (p *pipe[Req, Resp]) SetTrailer(metadata.MD)       {}

// Send is called by the server.
func (p *pipe[Req, Resp]) Send(m *Resp) error { return p.SendMsg(m) }

// SendMsg is called by the server with a message that several streams share.
func (p *pipe[Req, Resp]) SendMsg(m any) error {
	received := new(Resp)
	if err := recode(m, any(received)); err != nil {
		return err
	}
	if p.ctx.Err() != nil {
		return status.FromContextError(p.ctx.Err()).Err()
	}
	p.seen(received)
	select {
	case p.sent <- received:
		return nil
	case <-p.ctx.Done():
		return status.FromContextError(p.ctx.Err()).Err()
	}
}

// Recv is called by the server.
func (p *pipe[Req, Resp]) Recv() (*Req, error) {
	select {
	case m := <-p.asked:
		return m, nil
	case <-p.ctx.Done():
		return nil, status.FromContextError(p.ctx.Err()).Err()
	}
}

// ask sends a message to the server. It reports false when the stream has ended.
func (p *pipe[Req, Resp]) ask(m *Req) bool {
	sent := new(Req)
	if recode(any(m), any(sent)) != nil {
		return false
	}
	select {
	case p.asked <- sent:
		return true
	case <-p.ctx.Done():
		return false
	}
}

// recode passes a message through the encoder.
func recode(from, to any) error {
	in, ok := from.(proto.Message)
	out, fits := to.(proto.Message)
	if !ok || !fits {
		return status.Errorf(codes.Internal, "%T is no message", from)
	}
	wire, err := proto.Marshal(in)
	if err != nil {
		return err
	}
	return proto.Unmarshal(wire, out)
}
