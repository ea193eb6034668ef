package admin

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/kasafik"
	"github.com/webhook-bridge/bridge/connectors/openloyalty"
	"github.com/webhook-bridge/bridge/connectors/sample"
	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
)

// printed are the samples that vendors' pages print and that are not JSON: the place of the error, and the result when it
// is normalized.
var printed = []struct {
	connector, name, event, path string
	offset                       int64
	// types of the events, and whether the vendor's data tell one such fact from the next.
	types   []string
	natural bool
}{
	{
		"openloyalty", "printed_account_available_points_amount_changed", "account.available_points_amount_changed",
		"$.data.amountChangeType", 214,
		[]string{"loyalty.points_changed"},
		true,
	},
	{
		"openloyalty", "printed_account_expiring_points_notification", "account.expiring_points_notification",
		"$.type", 55,
		[]string{"loyalty.points_expiring"},
		true,
	},
	{
		"openloyalty", "printed_customer_level_changed", "customer.level_changed",
		"$.data", 270,
		[]string{"loyalty.level_changed"},
		false,
	},
	{
		"openloyalty", "printed_customer_level_changed_automatically", "customer.level_changed_automatically",
		"$.data", 310,
		[]string{"loyalty.level_changed"},
		false,
	},
	{
		"openloyalty", "printed_transaction_assigned_to_customer", "transaction.assigned_to_customer",
		"$.data", 215,
		[]string{"purchase.assigned"},
		false,
	},
	{
		"openloyalty", "printed_transaction_registered", "transaction.registered",
		"$.data.customerData.address.address2", 617,
		[]string{"purchase.registered"},
		true,
	},
	{"kasafik", "orders_as_printed", "orders", "$", 897, []string{"order.changed"}, true},
}

var (
	commaTooMany = regexp.MustCompile(`,(\s*[}\]])`)
	commaMissing = regexp.MustCompile(`"\n(\s*")`)
)

// normalizePrint undoes what the pages' layout did to the samples.
func normalizePrint(text []byte) []byte {
	text = commaTooMany.ReplaceAll(text, []byte(" $1"))
	text = commaMissing.ReplaceAll(text, []byte(`",$1`))
	for _, r := range []struct{ from, to string }{{"“", `  "`}, {"”", `"  `}, {"\u00a0", "  "}} {
		text = bytes.ReplaceAll(text, []byte(r.from), []byte(r.to))
	}
	return text
}

// printedBody is a sample's body, from the connector's testdata.
func printedBody(t *testing.T, c *connectors.Connector, name string) string {
	t.Helper()
	all, err := sample.Read(c.Samples)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(w sample.Webhook) bool { return w.Name == name })
	if i < 0 {
		t.Fatalf("%s has no sample %s", c.Name, name)
	}
	return string(all[i].Body)
}

// TestBrokenSamplesAreNormalized: the seven broken samples are listed with path and offset. With connectors that normalize them, a
// retry makes them events, once: retrying again adds nothing, and so does a redelivery of what has an identity.
func TestBrokenSamplesAreNormalized(t *testing.T) {
	r := newRig(t)
	all := map[string]*connectors.Connector{"openloyalty": openloyalty.New(), "kasafik": kasafik.New()}
	bodies := make([]string, len(printed))
	for i, p := range printed {
		bodies[i] = printedBody(t, all[p.connector], p.name)
		r.post(p.connector+"/"+p.event, bodies[i])
	}
	held := r.list(quarantined)
	slices.Reverse(held) // the newest came first
	if len(held) != len(printed) || len(r.events()) != 0 {
		t.Fatalf("%d in quarantine, %d events", len(held), len(r.events()))
	}
	for i, p := range printed {
		got := held[i].GetFault()
		if held[i].GetVendorEvent() != p.event || got.GetReason() != "malformed_json" || got.GetPath() != p.path || got.GetOffset() != p.offset {
			t.Errorf("%s: %v", p.name, held[i])
		}
		if got.GetProblem() == "" {
			t.Errorf("%s: no problem is told", p.name)
		}
	}
	if results := r.retry(&adminv1.RetryWebhooksRequest{}); len(results) != 7 || len(r.events()) != 0 {
		t.Fatalf("with the same connectors: %v", results)
	}

	for _, c := range all {
		c.Normalize = normalizePrint
	}
	r.start(all["openloyalty"], all["kasafik"])
	for _, dryRun := range []bool{true, false} {
		results := r.retry(&adminv1.RetryWebhooksRequest{PageSize: 2, DryRun: dryRun})
		var want []*adminv1.RetryResult
		for i, p := range printed {
			want = append(want, &adminv1.RetryResult{
				WebhookId: held[i].GetId(), Outcome: adminv1.Outcome_OUTCOME_ACCEPTED, EventCount: uint32(len(p.types)),
			})
		}
		if diff := cmp.Diff(want, results, protocmp.Transform()); diff != "" {
			t.Fatalf("dry run %v (-want +got):\n%s", dryRun, diff)
		}
		if dryRun && len(r.events()) != 0 {
			t.Fatal("a dry run published events")
		}
	}
	published := r.events()
	if len(published) != len(printed) {
		t.Fatalf("%d events", len(published))
	}
	for i, p := range printed {
		e := published[i]
		if e.GetType() != p.types[0] || e.GetWebhookId() != held[i].GetId() || !proto.Equal(e.GetReceivedAt(), held[i].GetReceivedAt()) {
			t.Errorf("%s became %v", p.name, e)
		}
		shown := r.get(held[i].GetId(), true)
		w := shown.GetWebhook()
		if w.GetOutcome() != adminv1.Outcome_OUTCOME_RELEASED || w.GetReleasedAt() == nil || w.GetFault().GetPath() != p.path ||
			string(shown.GetRawBody()) != bodies[i] {
			t.Errorf("%s is now %v", p.name, shown)
		}
	}
	r.nothingMore(t, held, bodies, len(published))
}

// nothingMore retries and sends again what has become events.
func (r *rig) nothingMore(t *testing.T, held []*adminv1.Webhook, bodies []string, want int) {
	t.Helper()
	request := &adminv1.RetryWebhooksRequest{}
	if results := r.retry(request); len(results) != 0 {
		t.Errorf("a second retry: %v", results)
	}
	for _, w := range held {
		request.Ids = append(request.Ids, w.GetId())
	}
	for _, result := range r.retry(request) {
		if result.GetOutcome() != adminv1.Outcome_OUTCOME_RELEASED || result.GetEventCount() != 0 {
			t.Errorf("a retry of what was released: %v", result)
		}
	}
	for i, p := range printed {
		if p.natural {
			r.post(p.connector+"/"+p.event, bodies[i])
		}
	}
	if got := len(r.events()); got != want {
		t.Errorf("%d events, not %d", got, want)
	}
	if left := r.list(quarantined); len(left) != 0 {
		t.Errorf("in quarantine: %v", left)
	}
	if text := r.log.String(); strings.Contains(text, "jdoe@example.com") || strings.Contains(text, "Bridges") {
		t.Error("the log tells of persons")
	}
}
