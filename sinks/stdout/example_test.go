package stdout_test

import (
	"context"
	"fmt"
	"os"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/stdout"
)

func Example() {
	sink := stdout.New(os.Stdout).Open(sinks.Origin{Log: log{}, Sink: "out"})
	defer sink.Close()
	encoded, err := proto.Marshal(&eventv1.Event{Id: "0d6f2a10-7f5e-5b7e-9d6c-000000000001", Type: "shipment.ordered"})
	if err != nil {
		fmt.Println(err)
		return
	}
	record, err := sinks.NewRecord(1, encoded)
	if err != nil {
		fmt.Println(err)
		return
	}
	n, err := sink.Deliver(context.Background(), []sinks.Record{record})
	fmt.Println(n, err)
	// Output:
	// {"id":"0d6f2a10-7f5e-5b7e-9d6c-000000000001","type":"shipment.ordered","logPosition":{"log":"0f5a","epoch":"7","position":"1"}}
	// 1 <nil>
}
