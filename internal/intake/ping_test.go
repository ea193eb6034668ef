package intake

import (
	"testing"

	"github.com/webhook-bridge/bridge/connectors"
)

// TestIsPingName: a name that says what is tested names a fact.
func TestIsPingName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"ping": true, "Ping": true, "PING": true, "test": true, "webhook.test": true, "test_event": true, "TestEvent": true, "webhookTest": true,
		"test-webhook": true, "endpoint.ping": true, "webhooks:ping": true, "test notification": true, "event/test": true,
		"": false, "pin": false, "shipping": false, "shipping.ordered": false, "contest.event": false, "test_drive.booked": false, "ab_test": false,
		"lab.test.done": false, "test2": false, "testimonial": false, "webhook": false, "event": false, "pingpong": false, "tést": false,
		"test.test.test.test.test.test.test.test.test": false,
	} {
		if got := isPingName(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

// TestPingWindow: pings of one name are stored once in the source's window, whatever their bytes are; each source and each name has
// its own.
func TestPingWindow(t *testing.T) {
	d := newDesk(t)
	d.connector.NoPings = false
	for _, body := range []string{"", "{}", "null", "[]", " {} ", "webhook_id=1", "webhook_id=2", "ping", `{"test":1}`, `{"test":2}`} {
		if o, err := d.receive(d.delivery("x", body)); o != Ping || err != nil {
			t.Fatalf("%q: %v, %v", body, o, err)
		}
	}
	if n := len(d.book.Entries); n != 3 {
		t.Errorf("%d pings are stored", n)
	}
	d.book.Forget()
	if o, err := d.receive(d.delivery("x", "{}")); o != Ping || err != nil || len(d.book.Entries) != 4 {
		t.Errorf("after the window: %v, %v, %d stored", o, err, len(d.book.Entries))
	}
}

// TestPingsOfTheSchema: an event that the connector models is never a ping by its name.
func TestPingsOfTheSchema(t *testing.T) {
	d := newDesk(t)
	d.connector.NoPings = false
	d.connector.Pings = []connectors.Ping{{Name: "sign", Path: "$.a.b", Value: "12"}}
	for body, want := range map[string]string{
		`{"a":{"b":12}}`: "sign", `{"a":{"b":"12"}}`: "sign", `{"a":{"b":[12]}}`: "", `{"a":{"c":12}}`: "", `{"a":"12"}`: "", `{"a":{"b":12}`: "",
	} {
		r := d.source.Read(d.delivery("x", body))
		got := ""
		if r.Ping != nil {
			got = r.Ping.Name
		}
		if got != want {
			t.Errorf("%s: %q", body, got)
		}
	}
}
