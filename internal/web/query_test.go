package web

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
)

// TestQuery: each parameter sets its field. TestRefused has what is wrong.
func TestQuery(t *testing.T) {
	t.Parallel()
	at := timestamppb.New(time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC))
	no := false
	token := &streamv1.Start{At: &streamv1.Start_Token{Token: "a"}}
	for _, tt := range []struct {
		query, lastEventID string
		want               *streamv1.TailRequest
	}{
		{"", "", &streamv1.TailRequest{}},
		{"types=order.*&types=**.deleted&sources=shop&subjects=a,b&stale=false", "", &streamv1.TailRequest{Filter: &streamv1.Filter{
			Types: []string{"order.*", "**.deleted"}, Sources: []string{"shop"}, Subjects: []string{"a,b"}, Stale: &no,
		}}},
		{"cel=event.type%3D%3D'a'", "", &streamv1.TailRequest{Filter: &streamv1.Filter{Cel: "event.type=='a'"}}},
		{"payload=raw&heartbeat=1m30s", "", &streamv1.TailRequest{
			Payload: streamv1.Payload_PAYLOAD_RAW, HeartbeatInterval: durationpb.New(90 * time.Second),
		}},
		{"from=earliest", "", &streamv1.TailRequest{Start: &streamv1.Start{At: &streamv1.Start_Earliest{Earliest: &streamv1.Earliest{}}}}},
		{"from=latest&stop=latest", "", &streamv1.TailRequest{
			Start: &streamv1.Start{At: &streamv1.Start_Latest{Latest: &streamv1.Latest{}}},
			Stop:  &streamv1.Stop{At: &streamv1.Stop_Latest{Latest: &streamv1.Latest{}}},
		}},
		{"from=2026-03-01T12:00:00+02:00&stop=2026-03-01T12:00:00%2B02:00", "", &streamv1.TailRequest{
			Start: &streamv1.Start{At: &streamv1.Start_Time{Time: at}}, Stop: &streamv1.Stop{At: &streamv1.Stop_Time{Time: at}},
		}},
		{"token=a&stop=b", "", &streamv1.TailRequest{Start: token, Stop: &streamv1.Stop{At: &streamv1.Stop_Token{Token: "b"}}}},
		{"from=latest", "a", &streamv1.TailRequest{Start: token}},
		{"token=b", "a", &streamv1.TailRequest{Start: token}},
	} {
		got, err := parseQuery(tt.query, tt.lastEventID, ndjson{})
		if err != nil {
			t.Errorf("%s: %v", tt.query, err)
			continue
		}
		if diff := cmp.Diff(tt.want, got, protocmp.Transform()); diff != "" {
			t.Errorf("%s: %s", tt.query, diff)
		}
	}
}

// FuzzQuery: no query makes it panic.
func FuzzQuery(f *testing.F) {
	f.Add("types=order.*&stale=false&from=latest", "")
	f.Add("unnamed=1&stop=latest&cel=%zz", "x")
	f.Fuzz(func(_ *testing.T, query, lastEventID string) {
		_, _ = parseQuery(query, lastEventID, &sse{})
	})
}
