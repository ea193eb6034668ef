// Package forward sends events to a program under development, by HTTP. The requests are those of the webhook sink, which
// docs/sinks/webhook.md describes.
package forward

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/webhook"
)

const (
	// within is the time for a request. A debugger may hold it.
	within = 2 * time.Minute
	// leastPause and greatestPause are between two attempts. A program may ask for a longer one, up to longestPause.
	leastPause, greatestPause, longestPause = 500 * time.Millisecond, 5 * time.Second, time.Minute
)

// Config says where events go, and how.
type Config struct {
	// URL of the program, with http or https. Any address is allowed.
	URL string
	// Body is the format of the requests' bodies: json, cloudevents or cloudevents_binary.
	Body string
	// Secret signs the requests, in the notation of Standard Webhooks. "" means that they are not signed.
	Secret string
}

// Forwarder sends events one after the other. Make one with [Open]. It is for one goroutine.
type Forwarder struct {
	sink sinks.Sink
	sent sinks.Position
}

// ProblemError is a wrong part of a [Config]: url, body or secret.
type ProblemError struct {
	Part string
	Err  error
}

func (p *ProblemError) Error() string { return p.Part + ": " + p.Err.Error() }

// Unwrap returns what is wrong.
func (p *ProblemError) Unwrap() error { return p.Err }

// parts are the parts of a [Config] by the sink's keys.
var parts = map[string]string{"url": "url", "format": "body", "secrets[0]": "secret"}

// Open returns a forwarder, without a connection. Errors: [*ProblemError].
func Open(ctx context.Context, c Config) (*Forwarder, error) {
	to := webhook.Config{
		Credentials: webhook.Credentials{URL: c.URL}, Format: webhook.Format(c.Body), Timeout: within,
		// The caller chose the address.
		Allow: []string{"0.0.0.0/0", "::/0"}, AllowHTTP: true,
	}
	if c.Secret != "" {
		to.Secrets = []string{c.Secret}
	}
	sink, err := webhook.Open(ctx, to)
	if key, ok := errors.AsType[*sinks.KeyError](err); ok && parts[key.Key] != "" {
		return nil, &ProblemError{parts[key.Key], key.Err}
	}
	if err != nil {
		return nil, err
	}
	return &Forwarder{sink: sink}, nil
}

// Close gives the connections back.
func (f *Forwarder) Close() error { return f.sink.Close() }

// Send sends an event until the program has accepted or refused it. It calls again before each further attempt whose reason is a new one.
// Errors: [*RefusedError], ctx's, and one that says that the program wants no more events.
func (f *Forwarder) Send(ctx context.Context, e *eventv1.Event, again func(reason error)) error {
	encoded, err := proto.Marshal(e)
	if err != nil {
		return err
	}
	f.sent++
	r, err := sinks.NewRecord(f.sent, encoded)
	if err != nil {
		return fmt.Errorf("forward: %w", err)
	}
	said := ""
	for pause := leastPause; ; pause = min(2*pause, greatestPause) {
		_, err := f.sink.Deliver(ctx, []sinks.Record{r})
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, sinks.ErrPermanent):
			return &RefusedError{err}
		case errors.Is(err, sinks.ErrDisabled):
			return err
		}
		if text := err.Error(); text != said {
			said = text
			again(err)
		}
		if later, ok := errors.AsType[*sinks.RetryAfterError](err); ok {
			pause = max(pause, min(later.After, longestPause))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// RefusedError means that the program does not want an event. The next one may be sent.
type RefusedError struct{ Reason error }

func (r *RefusedError) Error() string { return r.Reason.Error() }

// Unwrap returns why.
func (r *RefusedError) Unwrap() error { return r.Reason }
