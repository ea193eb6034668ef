package file_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/file"
)

func Example() {
	if err := archive(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// delivered 2
	// {"id":"0d6f2a10-7f5e-5b7e-9d6c-000000000001","type":"shipment.ordered","subject":"shipment/1","logPosition":{"log":"0f5a","epoch":"7","position":"1"}}
	// {"id":"0d6f2a10-7f5e-5b7e-9d6c-000000000002","type":"shipment.ordered","subject":"shipment/2","logPosition":{"log":"0f5a","epoch":"7","position":"2"}}
}

// log stands for the log that the events come from.
type log struct{}

func (log) ID() string                       { return "0f5a" }
func (log) Mark(p sinks.Position) sinks.Mark { return sinks.Mark{Epoch: 7, Position: p} }

func archive(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "archive")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	path := filepath.Join(dir, "events.jsonl")
	sink, err := file.Open(ctx, file.Config{Path: path}, sinks.Origin{Log: log{}, Sink: "archive"})
	if err != nil {
		return err
	}
	defer sink.Close()

	var records []sinks.Record
	for n := 1; n <= 2; n++ {
		encoded, err := proto.Marshal(&eventv1.Event{
			Id:      fmt.Sprintf("0d6f2a10-7f5e-5b7e-9d6c-%012d", n),
			Type:    "shipment.ordered",
			Subject: fmt.Sprintf("shipment/%d", n),
		})
		if err != nil {
			return err
		}
		record, err := sinks.NewRecord(sinks.Position(n), encoded)
		if err != nil {
			return err
		}
		records = append(records, record)
	}
	n, err := sink.Deliver(ctx, records)
	fmt.Println("delivered", n)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(path)
	fmt.Print(string(text))
	return err
}
