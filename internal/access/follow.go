package access

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
)

// openCall is a call that ends when its caller loses the credential.
type openCall struct {
	caller *Caller
	end    context.CancelCauseFunc
}

// Follow returns a context for an admitted call, which [Authenticator.Recheck] cancels when the caller loses the credential or gets other rights. Then
// [Ended] returns the call's status. The call must call release when it ends.
func (a *Authenticator) Follow(ctx context.Context) (followed context.Context, release func()) {
	caller := From(ctx)
	if caller.valid == nil {
		return ctx, func() {}
	}
	ctx, end := context.WithCancelCause(ctx)
	call := &openCall{caller, end}
	a.mu.Lock()
	a.calls[call] = struct{}{}
	a.mu.Unlock()
	return ctx, func() {
		a.mu.Lock()
		delete(a.calls, call)
		a.mu.Unlock()
		end(nil)
	}
}

// Recheck ends the followed calls whose credential does not count any more, or whose caller has other rights now. The uses of the other credentials are recorded, so that one
// with open calls does not look unused.
func (a *Authenticator) Recheck() {
	now := time.Now()
	a.mu.Lock()
	calls := make([]*openCall, 0, len(a.calls))
	for call := range a.calls {
		calls = append(calls, call)
	}
	a.mu.Unlock()
	for _, call := range calls {
		why := call.caller.valid(now)
		if why == (ending{}) {
			call.caller.use(now)
			continue
		}
		a.mu.Lock()
		_, open := a.calls[call]
		delete(a.calls, call)
		a.mu.Unlock()
		if open {
			a.metrics.revoked(call.caller.Principal)
			call.end(&endedError{why})
		}
	}
}

// endedError is the cause of the end of a call's context.
type endedError struct{ ending }

func (e *endedError) Error() string { return "access: " + e.reason }

// Ended returns the status of a call whose caller has lost the credential, or has other rights now, by the context from [Authenticator.Follow].
// Otherwise it returns nil.
func Ended(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	if e, ok := errors.AsType[*endedError](context.Cause(ctx)); ok {
		return status.Error(e.code, e.reason)
	}
	return nil
}

// openCalls counts the followed calls by principal.
func (a *Authenticator) openCalls() map[*Principal]int {
	counts := make(map[*Principal]int)
	a.mu.Lock()
	defer a.mu.Unlock()
	for call := range a.calls {
		counts[call.caller.Principal]++
	}
	return counts
}

// StreamInterceptor follows streams. A stream ends at once when its caller loses the credential, also while its handler is blocked in a
// Send to a client that does not read: gRPC ends the Send when the interceptor has returned.
func (a *Authenticator) StreamInterceptor(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if !followed(info.FullMethod) || From(stream.Context()).valid == nil {
		return next(srv, stream)
	}
	ctx, release := a.Follow(stream.Context())
	returned := make(chan error, 1)
	go func() {
		defer release()
		returned <- next(srv, &followedStream{stream, ctx})
	}()
	select {
	case err := <-returned:
		return err
	case <-ctx.Done():
		if err := Ended(ctx); err != nil {
			return err
		}
		return <-returned
	}
}

// followedStream is a stream with the context of [Authenticator.Follow].
type followedStream struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // as grpc has it
}

// Context implements [grpc.ServerStream].
func (s *followedStream) Context() context.Context { return s.ctx }

// UnaryInterceptor follows the unary calls of subscribers.
func (a *Authenticator) UnaryInterceptor(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if !followed(info.FullMethod) {
		return next(ctx, req)
	}
	ctx, release := a.Follow(ctx)
	defer release()
	resp, err := next(ctx, req)
	if err != nil {
		if ended := Ended(ctx); ended != nil {
			return nil, ended
		}
	}
	return resp, err
}

// followed reports whether calls of a method are followed. A typed call ends soon by itself, and what it has stored stays stored.
func followed(method string) bool {
	return serviceOf(method) == streamv1.EventStreamService_ServiceDesc.ServiceName
}
