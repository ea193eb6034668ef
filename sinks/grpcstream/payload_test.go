package grpcstream

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/memlog"
	"github.com/webhook-bridge/bridge/sinks/payload"
)

// webhooks is a source of payloads: a text about each webhook, and none for every third one. It gives few at a time.
type webhooks struct {
	text string
	err  error
}

func (w webhooks) Lookup(
	_ context.Context, want streamv1.Payload, personal bool, records []sinks.Record, _ int,
) ([]payload.Payload, error) {
	if w.err != nil {
		return nil, w.err
	}
	var found []payload.Payload
	for _, r := range records[:min(len(records), 5)] {
		text := fmt.Sprintf("%s %v %s", r.Header.WebhookID, personal, w.text)
		switch vendor, _ := anypb.New(wrapperspb.String(text)); {
		case r.Position%3 == 0:
			found = append(found, payload.Payload{Missing: "gone"})
		case want == streamv1.Payload_PAYLOAD_RAW:
			found = append(found, payload.Payload{Raw: &streamv1.RawWebhook{Body: []byte(text), ContentType: "text/plain"}})
		default:
			found = append(found, payload.Payload{Vendor: vendor})
		}
	}
	return found, nil
}

// Each payload is with its event, in messages of bounded size, and the filter still sees the whole event.
func TestPayloads(t *testing.T) {
	const end = 50
	log := memlog.New("log")
	appendEvents(t, log, 0, end)
	tokens := tokensOf(log, filterOfPayloads())
	for _, text := range []string{"short", strings.Repeat("long", 3000)} {
		v := serve(t, New(log, Config{Payloads: webhooks{text: text}}))
		for _, p := range []streamv1.Payload{
			streamv1.Payload_PAYLOAD_CANONICAL, streamv1.Payload_PAYLOAD_HEADERS, streamv1.Payload_PAYLOAD_VENDOR, streamv1.Payload_PAYLOAD_RAW,
		} {
			stream := v.tail(t, &streamv1.TailRequest{Payload: p, Filter: filterOfPayloads()})
			receiveSubscribed(t, stream)
			for i, got := range receiveEvents(t, stream, end-10) {
				n := i + 10
				want := &streamv1.DeliveredEvent{Token: tokens.at(sinks.Position(n + 2)), Event: event(n)}
				about := fmt.Sprintf("%s %v %s", want.GetEvent().GetWebhookId(), true, text)
				if !payload.Canonical(p) {
					want.Event.Data = nil
				}
				switch {
				case !payload.Stored(p):
				case (n+1)%3 == 0:
					want.PayloadMissing = "gone"
				case p == streamv1.Payload_PAYLOAD_RAW:
					want.Raw = &streamv1.RawWebhook{Body: []byte(about), ContentType: "text/plain"}
				default:
					want.Vendor, _ = anypb.New(wrapperspb.String(about))
				}
				if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
					t.Fatalf("%v, event %d (-want +got):\n%.2000s", p, n, diff)
				}
			}
		}
	}
}

// filterOfPayloads passes the events from the tenth on, by their data.
func filterOfPayloads() *streamv1.Filter {
	return &streamv1.Filter{Cel: "event.shipment.reference >= 'RT00000010'"}
}

// A client gets the payloads that it may have.
func TestPayloadsAreRefused(t *testing.T) {
	log := memlog.New("log")
	appendEvents(t, log, 0, 3)
	request := func(p streamv1.Payload) *streamv1.TailRequest { return &streamv1.TailRequest{Payload: p} }
	v := serve(t, New(log, Config{
		Payloads: webhooks{}, Viewer: func(context.Context) Viewer { return masker{} },
		Masked: func(r sinks.Record) ([]byte, error) { return r.Encoded, nil },
	}))
	wantEnd(t, v.tail(t, request(streamv1.Payload_PAYLOAD_RAW)), codes.PermissionDenied, "no raw")
	wantEnd(t, v.tail(t, request(99)), codes.InvalidArgument, "payload")
	stream := v.tail(t, request(streamv1.Payload_PAYLOAD_VENDOR))
	receiveSubscribed(t, stream)
	text := &wrapperspb.StringValue{}
	if err := receiveEvents(t, stream, 3)[0].GetVendor().UnmarshalTo(text); err != nil || !strings.Contains(text.GetValue(), " false ") {
		t.Errorf("a client without personal data got %v, %v", text, err)
	}
	none := serve(t, New(log, Config{}))
	wantEnd(t, none.tail(t, request(streamv1.Payload_PAYLOAD_VENDOR)), codes.Unimplemented, "canonical")
	away := serve(t, New(log, Config{Payloads: webhooks{err: sinks.ErrUnavailable}}))
	stream = away.tail(t, request(streamv1.Payload_PAYLOAD_VENDOR))
	receiveSubscribed(t, stream)
	wantEnd(t, stream, codes.Unavailable, "journal")
}

// masker is a viewer without personal data and raw webhooks.
type masker struct{ anyone }

func (masker) Personal() bool    { return false }
func (masker) RawPayload() error { return status.Error(codes.PermissionDenied, "no raw webhooks") }
func (masker) Rules() any        { return masker{} }

// An expression sees what its client may see: it must not tell what is masked.
func TestExpressionsSeeTheMaskedEvent(t *testing.T) {
	log := memlog.New("log")
	appendEvents(t, log, 1, 4)
	v, _ := serveTo(t, log, narrow{source: "returns", kind: "shipment.ordered"})
	for text, want := range map[string]int{"event.shipment.reference == 'RT00000002'": 0, "event.shipment.reference == '••RT02'": 1} {
		stream := v.tail(t, &streamv1.TailRequest{Filter: &streamv1.Filter{Cel: text}, Stop: stopLatest()})
		receiveSubscribed(t, stream)
		if want > 0 {
			receiveEvents(t, stream, want)
		}
		receiveHeartbeat(t, stream)
	}
}

// The first message has the exact start, and the log's extent.
func TestSubscribedHasThePlace(t *testing.T) {
	log := memlog.New("log")
	appendEvents(t, log, 0, 10)
	log.Expire(4)
	v := serve(t, New(log, Config{}))
	stream := v.tail(t, &streamv1.TailRequest{Start: fromToken(tokensOf(log, nil).at(7))})
	got := receiveSubscribed(t, stream)
	if got.GetPosition() != 7 || got.GetEarliest() != 4 || got.GetLatest() != 11 || got.GetEpoch() != uint64(log.Mark(7).Epoch) || got.GetLag() != 4 {
		t.Errorf("subscribed is %v", got)
	}
}

// A batch of events without data takes no memory for the data.
func TestHeadersOfLargeEventsAreSmall(t *testing.T) {
	log := memlog.New("log")
	large := event(1)
	large.GetShipment().Reference = strings.Repeat("x", 1<<20)
	add(t, log, large)
	records, err := log.Read(t.Context(), 1, make([]sinks.Record, 0, 1))
	if err != nil {
		t.Fatal(err)
	}
	r, err := New(log, Config{}).NewReader(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	b, next, err := (&chooser{r, streamv1.Payload_PAYLOAD_HEADERS}).batch(t.Context(), 1, records)
	if err != nil || next != 2 || b.empty() {
		t.Fatalf("batch of %d bytes up to %d, %v", len(b.wire), next, err)
	}
	if cap(b.wire) > batchBytes {
		t.Errorf("%d bytes take %d", len(b.wire), cap(b.wire))
	}
}
