package ingress

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/webhook-bridge/bridge/connectors"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/listener"
	"github.com/webhook-bridge/bridge/internal/tracing"
)

// sourceMetadata names the source in a typed call.
const sourceMetadata = "bridge-source"

// RegisterGRPC offers the services of all connectors that have a source. A call names its source in the metadata
// "bridge-source" and carries the secret there too: the header under its own name in lower case, a path token as
// "bridge-token". The answer is the vendor's own.
//
// A call for a source that does not accept typed calls gets PermissionDenied. A wrong secret gets Unauthenticated, and an
// internal error Unavailable.
func (in *Ingress) RegisterGRPC(s grpc.ServiceRegistrar) error {
	for _, g := range in.current.Load().gateways {
		desc, err := in.serviceDesc(g)
		if err != nil {
			return fmt.Errorf("ingress: %w", err)
		}
		s.RegisterService(desc, nil)
	}
	return nil
}

// serviceDesc describes a vendor's service to gRPC, made of its descriptor as the gateway's routes are.
func (in *Ingress) serviceDesc(g *gateway) (*grpc.ServiceDesc, error) {
	desc := &grpc.ServiceDesc{
		ServiceName: string(g.connector.Service.FullName()),
		Metadata:    g.connector.Service.ParentFile().Path(),
	}
	for _, rt := range g.routes {
		reply, err := replyOf(g.connector, rt.event)
		if err != nil {
			return nil, err
		}
		t := &typed{in: in, gateway: g, route: rt, reply: reply}
		desc.Methods = append(desc.Methods, grpc.MethodDesc{MethodName: string(rt.event.Method.Name()), Handler: t.handle})
	}
	return desc, nil
}

// replyOf is the connector's answer as the RPC's response message.
func replyOf(c *connectors.Connector, e connectors.Event) (proto.Message, error) {
	output := e.Method.Output().FullName()
	t, err := protoregistry.GlobalTypes.FindMessageByName(output)
	if err != nil {
		return nil, fmt.Errorf("%s: response: %w", e.FullMethod(), err)
	}
	reply := t.New().Interface()
	if err := protojson.Unmarshal([]byte(c.Answer), reply); err != nil {
		return nil, fmt.Errorf("%s: answer as %s: %w", e.FullMethod(), output, err)
	}
	return reply, nil
}

// typed is one RPC for callers from outside.
type typed struct {
	in      *Ingress
	gateway *gateway
	route   *rpcRoute
	// reply is shared by all calls and only read.
	reply proto.Message
}

// handle is the RPC's handler as gRPC wants it.
//
//nolint:revive // gRPC decides the order of the parameters
func (t *typed) handle(_ any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (reply any, err error) {
	received := time.Now()
	var src *endpoint
	var span tracing.Span
	defer func() {
		if p := recover(); p != nil {
			reply, err = nil, t.in.refuseTyped(src, span, t.in.panicked(src, p))
		}
		span.End()
	}()
	md, _ := metadata.FromIncomingContext(ctx)
	src, err = t.admit(md, received)
	if err != nil {
		span = t.begin(src, received, nil)
		return nil, t.in.refuseTyped(src, span, err)
	}
	span = t.begin(src, received, md)
	listener.Verified(ctx)
	listener.Call(ctx)
	// How large the message is shows only once it is decoded.
	decoding := reservation{budget: src.decoding}
	defer decoding.release()
	if err := decoding.reserve(t.in.deadlines.after(received), maxDecoding); err != nil {
		return nil, t.in.refuseTyped(src, span, err)
	}
	msg := t.route.event.New()
	if err := decode(msg); err != nil {
		return nil, t.in.refuseTyped(src, span, fmt.Errorf("%w: %w", errMessage, err))
	}
	decoding.shrink(decodingBytes(proto.Size(msg)))
	receive := func(ctx context.Context, req any) (any, error) {
		if err := t.receive(ctx, src, span, req.(proto.Message), received); err != nil {
			return nil, t.in.refuseTyped(src, span, err)
		}
		return t.reply, nil
	}
	if intercept == nil {
		return receive(ctx, msg)
	}
	return intercept(ctx, msg, &grpc.UnaryServerInfo{FullMethod: t.route.method}, receive)
}

// admit finds the source and checks its secret and rate. The source is nil if none is known.
func (t *typed) admit(md metadata.MD, now time.Time) (*endpoint, error) {
	names := md.Get(sourceMetadata)
	if len(names) != 1 {
		return nil, errNoSource
	}
	src := t.in.endpoint(names[0])
	if src == nil {
		return nil, errUnknownSource
	}
	src.received.Inc()
	switch {
	case !src.GRPC, src.verifier.signed != nil:
		return src, errNoGRPC
	case !src.verifier.verifyGRPC(md, now):
		return src, errUnauthorized
	case src.gateway != t.gateway:
		return src, errConnector
	}
	return src, src.limits.admit(now)
}

// receive commits a message. The caller may hang up from here on.
func (t *typed) receive(ctx context.Context, src *endpoint, span tracing.Span, msg proto.Message, received time.Time) error {
	if int64(proto.Size(msg)) > src.limits.body {
		return errTooLarge
	}
	// The same message must have the same bytes, since the bytes may decide whether it is a duplicate.
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(msg)
	if err != nil {
		return fmt.Errorf("%w: %w", errMessage, err)
	}
	reserved := reservation{budget: src.bodies}
	defer reserved.release()
	if err := reserved.grow(context.WithoutCancel(ctx), int64(len(raw))); err != nil {
		return err
	}
	if err := src.limits.charge(received, int64(len(raw))); err != nil {
		return err
	}
	d := intake.Delivery{
		Source:     src.intake,
		Event:      t.route.name,
		ReceivedAt: received,
		Body:       raw,
		Encoding:   journalv1.Encoding_ENCODING_PROTOBUF,
		Message:    msg,
		Span:       span,
	}
	if span.Recording() {
		d.Traceparent = span.Context().String()
	}
	err = t.in.intake.Receive(t.in.deadlines.after(time.Now()), &d)
	if err == nil && d.Ping == nil {
		src.taken.Inc()
	}
	return err
}

// refuseTyped is refuse for a typed call. It returns the error to answer with, which names the setting that decides, not the cause.
func (in *Ingress) refuseTyped(src *endpoint, span tracing.Span, err error) error {
	a := in.note(src, span, err)
	return status.Error(a.code, callText(err, a))
}
