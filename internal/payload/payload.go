// Package payload looks up what subscribers may get instead of an event's data: the vendor's typed message, and the webhook as it was
// received. It reads stored webhooks with today's connectors, as package repair does, and changes nothing.
package payload

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/mask"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/payload"
)

// parallel is how many webhooks are read at once. It bounds the memory of a lookup, and hides the latency of a database.
const parallel = 8

// Archive has the function of the journal that a [Store] calls.
type Archive interface {
	Webhook(ctx context.Context, id string) (*journalv1.Webhook, error)
}

// Store is a [payload.Source]. It is safe for concurrent use.
type Store struct {
	archive Archive
	sources atomic.Pointer[map[string]*intake.Source]
}

// New returns a store over an archive that the caller keeps open. The sources are by name.
func New(a Archive, sources map[string]*intake.Source) *Store {
	s := &Store{archive: a}
	s.SetSources(sources)
	return s
}

// SetSources replaces the sources.
func (s *Store) SetSources(sources map[string]*intake.Source) { s.sources.Store(&sources) }

// Lookup implements [payload.Source].
func (s *Store) Lookup(
	ctx context.Context, want streamv1.Payload, personal bool, records []sinks.Record, maxBytes int,
) ([]payload.Payload, error) {
	found := make([]payload.Payload, 0, len(records))
	var last *read // One webhook may have several events, which are neighbours.
	for size := 0; len(found) < len(records) && (len(found) == 0 || size < maxBytes); {
		chunk, err := s.readAll(ctx, records[len(found):], last)
		if err != nil {
			return nil, err
		}
		for _, w := range chunk {
			if len(found) > 0 && size >= maxBytes {
				break
			}
			w.make(func() payload.Payload { return s.payload(w.webhook, want, personal) })
			found = append(found, w.payload)
			size += sizeOf(w.payload)
		}
		last = chunk[len(chunk)-1]
	}
	return found, nil
}

// read is a webhook that was read. Webhook is nil when it is not there.
type read struct {
	id      string
	webhook *journalv1.Webhook
	made    bool
	payload payload.Payload
}

func (r *read) make(f func() payload.Payload) {
	if !r.made {
		r.payload, r.made, r.webhook = f(), true, nil
	}
}

// readAll reads the webhooks of the first records, up to parallel ones. Records of one webhook share an entry.
func (s *Store) readAll(ctx context.Context, records []sinks.Record, last *read) ([]*read, error) {
	var all []*read
	group, ctx := errgroup.WithContext(ctx)
	started := 0
	for i := range records {
		id := string(records[i].Header.WebhookID)
		if last == nil || last.id != id {
			if started == parallel {
				break
			}
			started++
			w := &read{id: id}
			last = w
			group.Go(func() (err error) {
				w.webhook, err = s.archive.Webhook(ctx, w.id)
				if errors.Is(err, journal.ErrNotFound) {
					return nil
				}
				return err
			})
		}
		all = append(all, last)
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("payload: read webhook: %w", err)
	}
	return all, nil
}

func (s *Store) payload(w *journalv1.Webhook, want streamv1.Payload, personal bool) payload.Payload {
	switch {
	case w == nil:
		return payload.Payload{Missing: "the webhook is no longer kept"}
	case want == streamv1.Payload_PAYLOAD_RAW:
		return payload.Payload{Raw: &streamv1.RawWebhook{
			Body:            receivedBody(w),
			ContentType:     intake.HeaderOf(w.GetHeaders(), "content-type"),
			ContentEncoding: intake.HeaderOf(w.GetHeaders(), "content-encoding"),
		}}
	}
	m, missing := s.message(w)
	if missing != "" {
		return payload.Payload{Missing: missing}
	}
	if !personal {
		m = mask.Message(m)
	}
	vendor, err := anypb.New(m)
	if err != nil {
		return payload.Payload{Missing: "the vendor's message cannot be encoded"}
	}
	return payload.Payload{Vendor: vendor}
}

// message reads a stored webhook as the vendor's message, or says why that cannot be. It says nothing of the webhook's content.
func (s *Store) message(w *journalv1.Webhook) (m proto.Message, missing string) {
	src := (*s.sources.Load())[w.GetSource()]
	switch {
	case src == nil:
		return nil, "the source is not configured any more"
	case src.Connector.Name != w.GetConnector():
		return nil, "the source has another connector now"
	}
	r := src.Read(src.Redelivery(w, ""))
	switch {
	case r.Message != nil:
		return r.Message, ""
	case r.Fault != nil:
		return nil, fmt.Sprintf("the webhook cannot be read today: %s", r.Fault.Reason)
	}
	return nil, "the connector has no message for this event"
}

func sizeOf(p payload.Payload) int {
	return len(p.Vendor.GetValue()) + len(p.Raw.GetBody()) + len(p.Missing)
}

// receivedBody is a webhook's body as it was received, also if an operator changed it since.
func receivedBody(w *journalv1.Webhook) []byte {
	if r := w.GetRepair(); r != nil {
		return r.GetBody()
	}
	return w.GetBody()
}
