package dispatch

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

// A lane that keeps a few events of a read must not hold on to the memory of all: with many lanes and a sink that is away,
// that would be most of what was read.
func TestLanesLetGoOfWhatTheyLeaveOut(t *testing.T) {
	d := &Dispatcher{lanes: make([]*lane, 4), progress: newProgress(4, 1)}
	for i := range d.lanes {
		d.lanes[i] = &lane{d: d, index: i}
	}
	var shared []byte
	var sizes []int
	for n := range 64 {
		start := len(shared)
		var err error
		shared, err = proto.MarshalOptions{}.MarshalAppend(shared, &eventv1.Event{
			Id: "id", Source: "returns", Subject: "shipment/" + string(rune('a'+n%26)), VendorEvent: string(rune('0' + n)),
		})
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, len(shared)-start)
	}
	var records []sinks.Record
	var offset int
	for n, size := range sizes {
		r, err := sinks.NewRecord(sinks.Position(n+1), shared[offset:offset+size:offset+size])
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, r)
		offset += size
	}
	kept := 0
	for _, l := range d.lanes {
		l.addOwn(append([]sinks.Record(nil), records...))
		kept += len(l.ahead)
	}
	if kept != len(records) {
		t.Fatalf("the lanes keep %d of %d events", kept, len(records))
	}
	was := d.lanes[0].ahead[0].Clone()
	clear(shared)
	if now := d.lanes[0].ahead[0]; !bytes.Equal(was.Encoded, now.Encoded) || !bytes.Equal(was.Header.Subject, now.Header.Subject) {
		t.Error("a lane's event lies in memory that it shares with those left out")
	}
}
