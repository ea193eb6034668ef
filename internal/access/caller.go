package access

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/webhook-bridge/bridge/sinks/pattern"
)

// Caller is the principal of one call. It is safe for concurrent use.
type Caller struct {
	*Principal

	metrics *metrics
	// valid says why the caller is not admitted any more, or why it is to connect again. Nil: nothing changes for it.
	valid func(now time.Time) ending
}

// ending is why an open call ends. The zero value is that it does not.
type ending struct {
	code   codes.Code
	reason string
}

// nobody is a principal without rights.
var nobody = &Principal{}

type contextKey struct{}

// With returns a context with a caller.
func With(ctx context.Context, c *Caller) context.Context {
	return context.WithValue(ctx, contextKey{}, c)
}

// From returns the caller of a call. It is never nil: if the call was not admitted, it returns a caller who may see nothing.
func From(ctx context.Context) *Caller {
	if c, ok := ctx.Value(contextKey{}).(*Caller); ok {
		return c
	}
	return &Caller{Principal: nobody}
}

// Filter returns nil if the caller may see something that each entry of a filter chooses: each name of a source, and each pattern of
// types. An empty list chooses everything; it is no error if the caller may see a part of that only. Otherwise Filter returns
// PERMISSION_DENIED, which names the entry. A malformed pattern is passed: the service reports it.
func (c *Caller) Filter(sources, types []string) error {
	for _, source := range sources {
		if !c.MaySeeSource(source) {
			return c.deny(RightSource, "may not see the source %q", source)
		}
	}
	for _, text := range types {
		if p, err := pattern.Parse(text); err == nil && !c.MaySeeSomeOf(p) {
			return c.deny(RightType, "may see no type that matches %q", text)
		}
	}
	switch {
	case len(c.sources) == 0:
		return c.deny(RightSource, "may see no source")
	case len(c.types) == 0:
		return c.deny(RightType, "may see no type")
	}
	return nil
}

// Rules returns the principal: all its callers may see the same.
func (c *Caller) Rules() any { return c.Principal }

// Group returns nil if the caller may use a group, and PERMISSION_DENIED otherwise.
func (c *Caller) Group(name string) error {
	if !c.MayJoin(name) {
		return c.deny(RightGroup, "may not use the group %q", name)
	}
	return nil
}

// RawPayload returns nil if the caller may see raw webhooks, and PERMISSION_DENIED otherwise.
func (c *Caller) RawPayload() error {
	if !c.Raw() {
		return c.deny(RightRaw, "may not see raw webhooks")
	}
	return nil
}

func (c *Caller) deny(right Right, format string, args ...any) error {
	return c.metrics.deny(c.Principal, right, fmt.Sprintf(format, args...))
}
