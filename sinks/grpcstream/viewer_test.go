package grpcstream

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/memlog"
)

// narrow is a viewer of one source and one type.
type narrow struct {
	anyone
	source, kind string
	personal     bool
	// asked counts the questions.
	asked *int
}

func (n narrow) Filter(sources, _ []string) error {
	for _, s := range sources {
		if s != n.source {
			return status.Error(codes.PermissionDenied, "may not see the source")
		}
	}
	return nil
}

func (n narrow) MaySeeSource(source string) bool { *n.asked++; return source == n.source }
func (n narrow) MaySeeType(kind string) bool     { *n.asked++; return kind == n.kind }
func (n narrow) Personal() bool                  { return n.personal }
func (n narrow) Rules() any                      { return n }

// replaced masks references of shipments, in their place.
func replaced(r sinks.Record) ([]byte, error) {
	if bytes.Contains(r.Encoded, []byte("RT00000006")) {
		return nil, errors.New("cannot be masked")
	}
	return bytes.ReplaceAll(r.Encoded, []byte("RT000000"), []byte("••RT")), nil
}

// mixed is a log in which the nth event is of source and type n modulo 3.
func mixed(t *testing.T, to int) *memlog.Log {
	t.Helper()
	log := memlog.New("log")
	for n := 1; n < to; n++ {
		e := event(n)
		e.Source = []string{"returns", "erp", "shop"}[n%3]
		e.Type = []string{"shipment.ordered", "shipment.ordered", "order.changed"}[n%3]
		add(t, log, e)
	}
	return log
}

func serveTo(t *testing.T, log sinks.Log, n narrow) (*served, *int) {
	t.Helper()
	n.asked = new(int)
	return serve(t, New(log, Config{Viewer: func(context.Context) Viewer { return n }, Masked: replaced})), n.asked
}

// TestViewer: a client gets what passes its filter and what it may see, and the position passes the rest.
func TestViewer(t *testing.T) {
	log := mixed(t, 100)
	s, asked := serveTo(t, log, narrow{source: "returns", kind: "shipment.ordered", personal: true})
	r := s.tail(t, &streamv1.TailRequest{Filter: &streamv1.Filter{Types: []string{"**"}}})
	receiveSubscribed(t, r)
	for i, d := range receiveEvents(t, r, 33) {
		if d.GetEvent().GetId() != event(3*(i+1)).GetId() {
			t.Fatalf("event %d is %s", i, d.GetEvent().GetId())
		}
	}
	if *asked > 5 {
		t.Errorf("the viewer was asked %d times: the answers are not remembered", *asked)
	}
	wantEnd(t, s.tail(t, &streamv1.TailRequest{Filter: &streamv1.Filter{Sources: []string{"erp"}}}), codes.PermissionDenied, "may not see the source")
	// What a client may not see is not said to be unknown: it is refused before.
	s, _ = serveTo(t, log, narrow{source: "returns", kind: "order.changed", personal: true})
	r = s.tail(t, &streamv1.TailRequest{HeartbeatInterval: durationpb.New(100 * time.Millisecond)})
	receiveSubscribed(t, r)
	if h := receiveHeartbeat(t, r); h.GetLag() != 0 {
		t.Errorf("a client that may see nothing of the log is %d events behind", h.GetLag())
	}
}

// TestMasked: a client without the right gets masked events. A filter's expression sees no more than the client.
func TestMasked(t *testing.T) {
	log := memlog.New("log")
	appendEvents(t, log, 1, 6)
	s, _ := serveTo(t, log, narrow{source: "returns", kind: "shipment.ordered"})
	r := s.tail(t, &streamv1.TailRequest{})
	receiveSubscribed(t, r)
	for _, d := range receiveEvents(t, r, 5) {
		if got := d.GetEvent().GetShipment().GetReference(); !strings.HasPrefix(got, "••") {
			t.Errorf("reference %q", got)
		}
	}
	probe := &streamv1.Filter{Cel: `event.shipment.reference == "RT00000003"`}
	r = s.tail(t, &streamv1.TailRequest{Filter: probe, HeartbeatInterval: durationpb.New(100 * time.Millisecond)})
	receiveSubscribed(t, r)
	receiveHeartbeat(t, r)
	whole, _ := serveTo(t, log, narrow{source: "returns", kind: "shipment.ordered", personal: true})
	r = whole.tail(t, &streamv1.TailRequest{Filter: probe})
	receiveSubscribed(t, r)
	receiveEvents(t, r, 1)

	// An event that cannot be masked is never sent, and never left out.
	appendEvents(t, log, 6, 8)
	r = s.tail(t, &streamv1.TailRequest{})
	receiveSubscribed(t, r)
	m, err := r.Recv()
	if err == nil { // The batch before it may be there still, from the first stream.
		if got := len(m.GetEvents().GetEvents()); got != 5 {
			t.Fatalf("%d events came", got)
		}
		_, err = r.Recv()
	}
	if status.Code(err) != codes.Internal {
		t.Errorf("the stream ended with %v", err)
	}
}
