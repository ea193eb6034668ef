package source

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/internal/secret"
)

// TestSignatureMustCover: a source is refused whose signature does not cover what decides, unless the source permits it.
func TestSignatureMustCover(t *testing.T) {
	var (
		inBody    = &connectors.Connector{Name: "body", EventField: "type"}
		inURL     = &connectors.Connector{Name: "url"}
		inURLForm = &connectors.Connector{Name: "form", FormField: "payload"}
		inHeader  = &connectors.Connector{Name: "header", EventHeader: "x-event"}
		bodyFirst = &connectors.Connector{Name: "both", EventField: "type", EventHeader: "x-event"}
		withID    = &connectors.Connector{Name: "id", EventField: "type", KeyHeader: "x-id"}
		all       = &connectors.Connector{Name: "all", EventHeader: "x-event", KeyHeader: "x-id"}
	)
	const (
		url   = "the URL's path, which names the event"
		event = "the header x-event, which names the event"
		id    = "the header x-id, by which webhooks are told apart"
	)
	for _, tt := range []struct {
		connector *connectors.Connector
		signed    string
		// refused has the parts that are not covered.
		refused []string
	}{
		{inBody, "{body}", nil},
		{bodyFirst, "{body}", nil},
		{inURL, "{body}", []string{url}},
		{inURL, "{host}.{body}", []string{url}},
		{inURL, "{len(path)}:{body}", []string{url}},
		{inURL, "{path}{body}", nil},
		{inURL, "{url}{body}", nil},
		{inURL, "{sha256(path)}{body}", nil},
		{inURLForm, "{path}{body}", []string{url}},
		{inURLForm, "{path}\n{body}", nil},
		{inHeader, "{body}", []string{event}},
		{inHeader, "{path}{body}", []string{event}},
		{inHeader, "{header.X-EVENT}.{body}", nil},
		{inHeader, "{len(header.x-event)}.{body}", []string{event}},
		{withID, "{body}", []string{id}},
		{withID, "{header.X-Id}.{body}", nil},
		{all, "{body}", []string{event, id}},
		{all, "{header.x-id}.{body}", []string{event}},
		{all, "{header.x-event}.{body}", []string{id}},
		{all, "{header.x-event}.{header.x-id}.{body}", nil},
	} {
		t.Run(tt.connector.Name+" "+tt.signed, func(t *testing.T) {
			resolve := func(name, id bool) []Problem {
				return Resolve([]Source{{
					Name: "shop", Connector: tt.connector, UnsignedEventName: name, UnsignedDeliveryID: id,
					Auth: Auth{Scheme: SchemeHMAC, Values: secret.List(key), HMAC: &connectors.HMAC{Header: "S", Signed: tt.signed}},
				}})
			}
			problems := resolve(false, false)
			var got []string
			for _, p := range problems {
				if p.Key != "auth.hmac.signed" {
					t.Errorf("the problem is about %s", p.Key)
				}
				for _, part := range []string{url, event, id} {
					if strings.Contains(p.Reason, part) {
						got = append(got, part)
					}
				}
			}
			if diff := cmp.Diff(tt.refused, got); diff != "" {
				t.Errorf("not covered (-want +got):\n%s", diff)
			}
			if problems := resolve(true, false); len(problems) > 0 {
				t.Errorf("though it is permitted: %v", problems)
			}
			for _, p := range resolve(false, true) {
				if strings.Contains(p.Reason, id) {
					t.Errorf("though the id is permitted: %v", p)
				}
			}
		})
	}
}

// TestUncovered: what the sources of a vendor must permit that signs in its own way.
func TestUncovered(t *testing.T) {
	signs := func(signed string) connectors.Verification {
		return connectors.Verification{HMAC: &connectors.HMAC{Header: "S", Signed: signed}}
	}
	for name, tt := range map[string]struct {
		connector connectors.Connector
		want      []string
	}{
		"does not sign": {connectors.Connector{}, nil},
		"named in body": {connectors.Connector{EventField: "type", Verification: signs("")}, nil},
		"named by URL":  {connectors.Connector{Verification: signs("")}, []string{"unsigned_event_name"}},
		"signs its URL": {connectors.Connector{Verification: signs("{url}{body}")}, nil},
		"does not sign id": {
			connectors.Connector{EventField: "type", KeyHeader: "X-Id", Verification: signs("")}, []string{"unsigned_delivery_id"},
		},
	} {
		if diff := cmp.Diff(tt.want, Uncovered(&tt.connector)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
