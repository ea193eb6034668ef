package s3_test

import (
	"context"
	"fmt"
	"net/http/httptest"

	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/s3"
)

// A Resumer stores its position with the events.
func Example() {
	storage := httptest.NewServer(&bucket{objects: map[string]stored{}})
	defer storage.Close()
	ctx := context.Background()
	sink, err := s3.OpenResumer(ctx, origin, s3.Config{
		Bucket: "events", Endpoint: storage.URL, PathStyle: true,
		Credentials: func() s3.Credentials { return s3.Credentials{AccessKeyID: "user", SecretAccessKey: "key"} },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sink.Close()
	_, found, err := sink.Resume(ctx)
	fmt.Println(found, err)
	event, err := sinks.NewRecord(7, []byte("\n\x05first\x12\x0dorder.changed"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(sink.Deliver(ctx, []sinks.Record{event}))
	reached, found, err := sink.Resume(ctx)
	fmt.Println(reached.Mark.Position, found, err)
	// Output:
	// false <nil>
	// 1 <nil>
	// 8 true <nil>
}
