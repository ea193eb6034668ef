package kafka

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"

	"github.com/webhook-bridge/bridge/sinks"
)

// encodeTogether is the number of events that one goroutine encodes at a time.
const encodeTogether = 500

// encodeAll returns the messages of the events before the first that cannot be encoded, and the error of that one.
func (s *Sink) encodeAll(ctx context.Context, events []sinks.Record) ([]message, error) {
	messages := make([]message, len(events))
	headers := make([]kmsg.Header, maxHeaders*len(events))
	errs := make([]error, (len(events)+encodeTogether-1)/encodeTogether)
	var failed atomic.Int64 // The lowest index of an event that cannot be encoded.
	failed.Store(int64(len(events)))
	var encoders errgroup.Group
	encoders.SetLimit(runtime.GOMAXPROCS(0))
	if s.encode.registry != nil {
		encoders.SetLimit(1) // Its client is for one goroutine.
	}
	for part := range errs {
		encoders.Go(func() error {
			from := part * encodeTogether
			for i := from; i < min(from+encodeTogether, len(events)) && int64(i) < failed.Load(); i++ {
				m, err := s.encode.message(ctx, events[i], headers[i*maxHeaders:i*maxHeaders:(i+1)*maxHeaders])
				if err != nil {
					errs[part] = fmt.Errorf("kafka: deliver: event at %d: %w", events[i].Position, err)
					storeMin(&failed, int64(i))
					break
				}
				messages[i] = m
			}
			return nil
		})
	}
	_ = encoders.Wait() // The errors are in errs.
	n := int(failed.Load())
	if n == len(events) {
		return messages, nil
	}
	return messages[:n], errs[n/encodeTogether]
}
