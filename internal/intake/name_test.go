package intake

import (
	"strings"
	"testing"

	"github.com/webhook-bridge/bridge/connectors"
)

// TestEventName: what names the event counts in the order body, URL, header, and all that do must agree.
func TestEventName(t *testing.T) {
	inBody := &connectors.Connector{EventField: "type"}
	outside := &connectors.Connector{}
	for _, tt := range []struct {
		name   string
		c      *connectors.Connector
		names  Names
		body   string
		want   string
		reason Reason
	}{
		{"body", inBody, Names{}, `{"type":"a"}`, "a", ""},
		{"URL", inBody, Names{Path: "a"}, `{}`, "a", ""},
		{"header", inBody, Names{Header: "a"}, `{}`, "a", ""},
		{"header alone", outside, Names{Header: "a"}, `{"type":"b"}`, "a", ""},
		{"all agree", inBody, Names{Path: "a", Header: "a"}, `{"type":"a"}`, "a", ""},
		{"URL and header agree", outside, Names{Path: "a", Header: "a"}, `{}`, "a", ""},
		{"no field is asked for", outside, Names{Path: "a"}, `broken`, "a", ""},
		{"body and URL", inBody, Names{Path: "b"}, `{"type":"a"}`, "a", EventMismatch},
		{"body and header", inBody, Names{Header: "b"}, `{"type":"a"}`, "a", EventMismatch},
		{"URL and header", outside, Names{Path: "a", Header: "b"}, `{}`, "a", EventMismatch},
		{"header against both", inBody, Names{Path: "a", Header: "b"}, `{"type":"a"}`, "a", EventMismatch},
		{"URL against both", inBody, Names{Path: "b", Header: "a"}, `{"type":"a"}`, "a", EventMismatch},
		{"case", outside, Names{Path: "a", Header: "A"}, `{}`, "a", EventMismatch},
		{"none", inBody, Names{}, `{}`, "", NoEvent},
		{"none, and none in the body", outside, Names{}, `{}`, "", NoEvent},
		{"broken", inBody, Names{Path: "a"}, `{`, "a", Malformed},
		{"broken, header", inBody, Names{Header: "a"}, `{`, "a", Malformed},
	} {
		got, fault := EventName(tt.c, tt.names, []byte(tt.body))
		if got != tt.want || fault == nil && tt.reason != "" || fault != nil && fault.Reason != tt.reason {
			t.Errorf("%s: %q, %v; want %q, %q", tt.name, got, fault, tt.want, tt.reason)
		}
		if fault != nil && fault.Reason == EventMismatch && !strings.Contains(fault.Problem, `"a"`) {
			t.Errorf("%s: %s", tt.name, fault.Problem)
		}
	}
}

// TestLongNamesAreCut: a fault does not quote a header at length.
func TestLongNamesAreCut(t *testing.T) {
	_, fault := EventName(&connectors.Connector{}, Names{Path: "a", Header: strings.Repeat("x", 5000)}, nil)
	if fault == nil || len(fault.Problem) > 200 {
		t.Errorf("fault %v", fault)
	}
}

// TestUnusableNamesStayUnusable: what is stored of a name in a URL that cannot be used cannot be used later.
func TestUnusableNamesStayUnusable(t *testing.T) {
	for _, name := range []string{"a\xff", strings.Repeat("x", maxName+1), strings.Repeat("x", 5000), "a\x00"} {
		d := newDesk(t)
		delivery := d.delivery(name, "{}")
		delivery.PathEvent = name
		if o, err := d.receive(delivery); o != Quarantined || err != nil {
			t.Fatalf("%.20q: %v, %v", name, o, err)
		}
		stored := d.book.Entries[0].Webhook
		if got := Reason(stored.GetQuarantine().GetReason()); got != BadEventName {
			t.Errorf("%.20q: %s", name, got)
		}
		if r := d.source.Read(d.source.Redelivery(stored, "")); r.Fault == nil || r.Fault.Reason != BadEventName {
			t.Errorf("%.20q, as stored: %v", name, r.Fault)
		}
	}
}
