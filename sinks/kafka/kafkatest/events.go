package kafkatest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/tools/txtar"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
)

// Events returns the events in the testdata of all connectors, complete as in the journal.
func Events(tb testing.TB) []*eventv1.Event {
	tb.Helper()
	_, here, _, _ := runtime.Caller(0)
	files, err := filepath.Glob(filepath.Join(filepath.Dir(here), "../../../connectors/*/testdata/*.txtar"))
	if err != nil {
		tb.Fatal(err)
	}
	vendors := map[string]bool{}
	var events []*eventv1.Event
	for _, file := range files {
		vendor := filepath.Base(filepath.Dir(filepath.Dir(file)))
		if vendor == "connectortest" {
			continue
		}
		for _, e := range read(tb, file) {
			vendors[vendor] = true
			n := len(events)
			e.Id = fmt.Sprintf("0d6f2a10-7f5e-5b7e-9d6c-%012x", n)
			e.WebhookId = fmt.Sprintf("0197a3c2-5b1e-7c3d-8e4f-%012x", n)
			e.Source, e.Connector, e.VendorEvent = vendor+"-1", vendor, e.GetType()
			e.ReceivedAt = timestamppb.New(time.Date(2026, 3, 1, 12, 0, n, 137_000_000, time.UTC))
			events = append(events, e)
		}
	}
	if len(vendors) < 5 {
		tb.Fatalf("kafkatest: events of %d vendors, want those of five at least", len(vendors))
	}
	return events
}

// read returns the events of one file of testdata.
func read(tb testing.TB, file string) []*eventv1.Event {
	tb.Helper()
	archive, err := txtar.ParseFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	var events []*eventv1.Event
	for _, part := range archive.Files {
		if part.Name != "events.json" {
			continue
		}
		for _, text := range golden(tb, part.Data) {
			e := &eventv1.Event{}
			if err := protojson.Unmarshal(text, e); err != nil {
				tb.Fatal(err)
			}
			events = append(events, e)
		}
	}
	return events
}

// golden returns the events of an events.json. The file has a list if the webhook is an array.
func golden(tb testing.TB, data []byte) []json.RawMessage {
	tb.Helper()
	if !bytes.HasPrefix(data, []byte("[")) {
		data = slices.Concat([]byte("["), data, []byte("]"))
	}
	var webhooks []struct{ Events []json.RawMessage }
	if err := json.Unmarshal(data, &webhooks); err != nil {
		tb.Fatal(err)
	}
	var events []json.RawMessage
	for _, w := range webhooks {
		events = append(events, w.Events...)
	}
	return events
}
