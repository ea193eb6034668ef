package admin

import (
	"fmt"
	"strings"
	"testing"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/linga"
	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
)

// TestValuesThatNobodyUnderstood: what a connector leaves out of an event is shown with the webhook and counted once, whether the
// event was made when the webhook was received, or when it was retried.
func TestValuesThatNobodyUnderstood(t *testing.T) {
	r := newRig(t)
	broken := linga.New()
	broken.Translate = func(connectors.Input) (connectors.Translation, error) {
		return connectors.Translation{}, connectors.Errorf("$", "is too much for this version")
	}
	r.start(broken)
	const text = `{"id":"c%d","startDate":"Tuesday","saleOpenTime":"noon","new":1,"orders":[{"grossAmountStr":"n.a.","totalGrossAmountStr":"1.00"}]}`
	r.post("linga/open", fmt.Sprintf(text, 1))
	r.start(linga.New())
	r.post("linga/open", fmt.Sprintf(text, 2))
	counts := func() string {
		t.Helper()
		a, err := r.ListDrift(t.Context(), &adminv1.ListDriftRequest{Connector: "linga"})
		if err != nil {
			t.Fatal(err)
		}
		var all strings.Builder
		for _, f := range a.GetFields() {
			fmt.Fprintln(&all, f.GetField(), f.GetKind(), f.GetCount(), f.GetSample())
		}
		return all.String()
	}
	shown := func(id string) string {
		t.Helper()
		var all strings.Builder
		for _, f := range r.get(id, false).GetDrift() {
			fmt.Fprintln(&all, f.GetField(), f.GetKind(), f.GetSample())
		}
		return all.String()
	}
	const values = "$.saleOpenTime value \"xxxx\"\n$.startDate value \"xxxxxxx\"\n$.orders[].grossAmountStr value \"x.x.\"\n"
	webhooks := r.list(nil)
	held := r.list(quarantined)[0].GetId()
	for _, w := range webhooks {
		want := "$.new unknown 0\n"
		if w.GetId() != held {
			want += values
		}
		if got := shown(w.GetId()); got != want {
			t.Errorf("stored with\n%swant\n%s", got, want)
		}
	}
	if got, want := counts(), expected(1); got != want {
		t.Errorf("received: counted\n%swant\n%s", got, want)
	}
	if got := r.retry(&adminv1.RetryWebhooksRequest{Ids: []string{held}})[0]; got.GetFault() != nil {
		t.Fatal(got)
	}
	if got, want := counts(), expected(2); got != want {
		t.Errorf("retried: counted\n%swant\n%s", got, want)
	}
	if got, want := shown(held), "$.new unknown 0\n"+values; got != want {
		t.Errorf("retried, it has\n%swant\n%s", got, want)
	}
	for _, e := range r.events() {
		if e.GetOrder().GetOpenedAt() != nil {
			t.Errorf("a time of texts that were not understood: %v", e)
		}
	}
}

func expected(n int) string {
	return fmt.Sprintf("$.new unknown 2 0\n$.orders[].grossAmountStr value %d \"x.x.\"\n$.saleOpenTime value %d \"xxxx\"\n$.startDate value %d \"xxxxxxx\"\n", n, n, n)
}
