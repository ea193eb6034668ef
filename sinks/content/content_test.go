package content_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/content"
)

func TestEncode(t *testing.T) {
	encoded, err := proto.Marshal(&eventv1.Event{
		Id: "1", Type: "order.changed", Source: "till", Subject: "order/5", Data: &eventv1.Event_Order{Order: &eventv1.Order{Id: "5"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := sinks.NewRecord(1, encoded)
	if err != nil {
		t.Fatal(err)
	}
	const envelope = `{"specversion":"1.0","id":"1","type":"order.changed","source":"till","subject":"order/5",` +
		`"dataschema":"https://github.com/webhook-bridge/bridge#bridge.event.v1.Order","datacontenttype":"application/json","data":{"id":"5"}}`
	for f, want := range map[content.Format][2]string{
		"":                  {string(encoded), "application/protobuf"},
		content.Protobuf:    {string(encoded), "application/protobuf"},
		content.JSON:        {`{"id":"1","type":"order.changed","source":"till","subject":"order/5","order":{"id":"5"}}`, "application/json"},
		content.CloudEvents: {envelope, "application/cloudevents+json"},
	} {
		value, mediaType, err := f.Encode(r)
		if err != nil || string(value) != want[0] || mediaType != want[1] {
			t.Errorf("%s: %s, %s, %v", f, value, mediaType, err)
		}
	}
	if err := content.Format("xml").Check(); err == nil {
		t.Error("xml is accepted")
	}
}
