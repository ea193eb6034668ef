package cloudevents_test

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/cloudevents"
)

// A sink in binary mode sends the data as the content, and the attributes as headers.
func Example() {
	encoded, err := proto.Marshal(&eventv1.Event{
		Id: "1", Type: "order.changed", Source: "till", Subject: "order/5",
		Data: &eventv1.Event_Order{Order: &eventv1.Order{Id: "5"}},
	})
	if err != nil {
		panic(err)
	}
	r, err := sinks.NewRecord(1, encoded)
	if err != nil {
		panic(err)
	}
	data, err := cloudevents.DataOf(r)
	if err != nil {
		panic(err)
	}
	headers := cloudevents.NewHeaders("ce-")
	for _, a := range append(cloudevents.Attributes(&r.Header), data.Attribute()) {
		fmt.Printf("%s: %s\n", headers.Of(a), cloudevents.HeaderValue(a.Value))
	}
	fmt.Printf("content-type: %s\n%s\n", cloudevents.DataContentType, data.JSON)
	// Output:
	// ce-specversion: 1.0
	// ce-id: 1
	// ce-type: order.changed
	// ce-source: till
	// ce-subject: order/5
	// ce-dataschema: https://github.com/webhook-bridge/bridge#bridge.event.v1.Order
	// content-type: application/json
	// {"id":"5"}
}
