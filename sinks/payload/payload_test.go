package payload

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
)

// Headers has every field of an event but its data, whichever data it has.
func TestHeaders(t *testing.T) {
	want := &eventv1.Event{
		Id: "i", Type: "t", Source: "s", Connector: "c", VendorEvent: "v", Subject: "x/1", SubjectVersion: "7",
		OccurredAt: &timestamppb.Timestamp{Seconds: 1}, ReceivedAt: &timestamppb.Timestamp{Seconds: 2, Nanos: 3},
		WebhookId: "w", Supersedes: "e", Stale: true, Traceparent: "00-1-2-01", LogPosition: &eventv1.LogPosition{Log: "l", Position: 5},
	}
	fields := want.ProtoReflect().Descriptor().Fields()
	kinds := 0
	for i := range fields.Len() {
		fd := fields.Get(i)
		if fd.ContainingOneof() == nil {
			if !want.ProtoReflect().Has(fd) {
				t.Errorf("the test's event has no %s", fd.Name())
			}
			continue
		}
		kinds++
		whole := proto.CloneOf(want)
		data := whole.ProtoReflect().Mutable(fd).Message()
		for j := range data.Descriptor().Fields().Len() {
			if text := data.Descriptor().Fields().Get(j); text.Kind() == protoreflect.StringKind && !text.IsList() {
				data.Set(text, protoreflect.ValueOfString("something"))
			}
		}
		encoded, err := proto.Marshal(whole)
		if err != nil {
			t.Fatal(err)
		}
		got := &eventv1.Event{}
		if err := proto.Unmarshal(Headers(encoded), got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Errorf("with %s (-want +got):\n%s", fd.Name(), diff)
		}
	}
	if kinds < 10 {
		t.Errorf("%d kinds of data were tried", kinds)
	}
}

func TestHeadersOfWhatIsDamaged(t *testing.T) {
	if got := Headers([]byte("\n\x02ab\n\x05half")); string(got) != "\n\x02ab" {
		t.Errorf("got %q", got)
	}
}
