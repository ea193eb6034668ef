package cloudevents_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/cloudevents"
	"github.com/webhook-bridge/bridge/sinks/cloudevents/cloudeventstest"
	"github.com/webhook-bridge/bridge/sinks/kafka/kafkatest"
)

func record(tb testing.TB, e *eventv1.Event) sinks.Record {
	tb.Helper()
	encoded, err := proto.Marshal(e)
	if err != nil {
		tb.Fatal(err)
	}
	r, err := sinks.NewRecord(1, encoded)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// TestEveryFieldOnce: every event of every vendor can be made again from its CloudEvent, and its data repeats no field of its header.
func TestEveryFieldOnce(t *testing.T) {
	for i, want := range kafkatest.Events(t) {
		if want.Stale = i%3 == 0; want.GetStale() {
			want.Supersedes = "0d6f2a10-7f5e-5b7e-9d6c-ffffffffffff"
			want.Traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
		}
		text, err := cloudevents.Structured(record(t, want))
		if err != nil {
			t.Fatal(err)
		}
		got, err := cloudeventstest.Structured(text)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		for _, unique := range []string{want.GetId(), want.GetWebhookId()} {
			if n := strings.Count(string(text), unique); n != 1 {
				t.Errorf("%s is there %d times:\n%s", unique, n, text)
			}
		}
	}
}

// TestStructured shows one event as a whole.
func TestStructured(t *testing.T) {
	e := kafkatest.Events(t)[0]
	e.Data = &eventv1.Event_Unmapped{Unmapped: &eventv1.Unmapped{Json: `{"a":"<b>"}`}}
	e.Id, e.Type, e.Source, e.Connector, e.VendorEvent, e.Subject = "1", "unmapped", "till", "kasafik", `x"y`, "kasafik/x"
	e.WebhookId, e.SubjectVersion, e.Stale, e.OccurredAt = "2", "7", true, nil
	want := `{"specversion":"1.0","id":"1","type":"unmapped","source":"till","subject":"kasafik/x","time":"2026-03-01T12:00:00.137Z",` +
		`"connector":"kasafik","vendorevent":"x\"y","subjectversion":"7","webhookid":"2","receivedtime":"2026-03-01T12:00:00.137Z",` +
		`"stale":true,"dataschema":"https://github.com/webhook-bridge/bridge#bridge.event.v1.Unmapped","datacontenttype":"application/json",` +
		`"data":{"json":"{\"a\":\"<b>\"}"}}`
	got, err := cloudevents.Structured(record(t, e))
	if err != nil || string(got) != want {
		t.Errorf("got %s, %v", got, err)
	}
	if !json.Valid(got) {
		t.Error("is not JSON")
	}
}

// TestUnknownData: data of a later version is refused, not left out.
func TestUnknownData(t *testing.T) {
	r := record(t, &eventv1.Event{Id: "1"})
	if got, err := cloudevents.Structured(r); err == nil {
		t.Errorf("got %s", got)
	}
}

func TestHeaders(t *testing.T) {
	h := cloudevents.NewHeaders("ce-")
	var got []string
	for _, a := range cloudevents.Attributes(&sinks.Header{ID: []byte("1"), Stale: true, Replay: []byte("r")}) {
		got = append(got, h.Of(a)+": "+cloudevents.HeaderValue(a.Value))
	}
	if diff := cmp.Diff([]string{"ce-specversion: 1.0", "ce-id: 1", "ce-stale: true", "ce-replay: r"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// The examples of the binding for HTTP, and the ends of the ranges.
	for value, want := range map[string]string{"Euro € 😀": "Euro%20%E2%82%AC%20%F0%9F%98%80", "!#~": "!#~", "\"%\x7f\n": "%22%25%7F%0A"} {
		if got := cloudevents.HeaderValue([]byte(value)); got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
}
