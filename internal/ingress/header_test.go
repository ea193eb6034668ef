package ingress

import (
	"net/http"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/source"
)

// TestHeadersAreBounded: what is kept of them is stored with every webhook of an array.
func TestHeadersAreBounded(t *testing.T) {
	const nameless = `{"shipping":{"id":"s1"}}`
	long := strings.Repeat("a", 60<<10)
	for name, h := range map[string]http.Header{
		"long values": {"User-Agent": {long}, "X-Request-Id": {long, long, long, long, long}, "X-Acme-Event": {"shipping.ordered"}},
		"many values": {"X-Request-Id": strings.Split(long[:20_000], ""), "X-Acme-Event": {"shipping.ordered"}},
	} {
		e := newShop(t, func(s *source.Source) { s.KeepHeaders = []string{"X-Request-Id"} })
		e.post("/webhooks/shop", h, []byte(nameless))
		wantStored(t, e, "shipping.ordered shipment/s1") // With any other header.
		stored := e.book.last(t).Webhook
		if size := proto.Size(&journalv1.Webhook{Headers: stored.GetHeaders()}); size > 6*kibi {
			t.Errorf("%s: %d bytes of headers are kept", name, size)
		}
		for _, kept := range stored.GetHeaders() {
			if v := kept.GetValue(); len(v) > 100 && v != long[:keptValue]+"…" {
				t.Errorf("%s: %s is %d bytes long, and ends with %q", name, kept.GetName(), len(v), v[len(v)-4:])
			}
		}
	}
	// What is cut short is no event's name, and no id.
	e := newShop(t, func(s *source.Source) { s.Connector.KeyHeader = "X-Acme-Id" })
	e.post("/webhooks/shop", http.Header{"X-Acme-Event": {long}, "X-Acme-Id": {long}}, []byte(nameless))
	wantStored(t, e, long[:256]+" bad_event_name")
	for range 2 {
		e.post("/webhooks/shop", http.Header{"X-Acme-Event": {"shipping.ordered"}, "X-Acme-Id": {long}}, []byte(shipment("s1")))
	}
	if n := len(e.book.all()); n != 2 {
		t.Errorf("%d webhooks are stored", n)
	}
}
