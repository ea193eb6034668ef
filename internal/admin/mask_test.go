package admin

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/retino"
	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
)

// TestQuoteless: what a problem quotes is shown by its shape, and what it says itself as it is.
func TestQuoteless(t *testing.T) {
	for problem, want := range map[string]string{
		`is missing`:                                    `is missing`,
		`is "Doe", not "a \"B\" c"`:                     `is "xxx", not "x \"x\" x"`,
		`has '"' where a comma or } should be`:          `has '"' where a comma or } should be`,
		`has '"' where a comma should be, in "Doe"`:     `has '"' where a comma should be, in "xxx"`,
		`is "it has '\"' where Doe is", which is wrong`: `is "xx xxx '\"' xxxxx xxx xx", which is wrong`,
		`is "jdoe@example.c`:                            `is "xxxx@xxxxxxx.x`,
		`is "jdoe\`:                                     `is "xxxx\`,
		`is "jdoe\` + "\n" + `Doe"`:                     `is "xxxx\` + "\n" + `xxx"`,
	} {
		if got := quoteless(problem); got != want {
			t.Errorf("%s is shown as %s, not %s", problem, got, want)
		}
	}
}

// TestProblemsOfJSON: the decoder's own words are shown.
func TestProblemsOfJSON(t *testing.T) {
	r := newRig(t)
	r.post("retino/shipping.ordered", `{"event_type":"shipping.ordered" "mail":"jdoe@example.com"}`)
	got := r.list(quarantined)[0].GetFault().GetProblem()
	if !strings.HasPrefix(got, `has '"' where `) || strings.Contains(got, "xxx") {
		t.Error(got)
	}
}

// TestNamesThatAreData: an address for mail that is a name in the body shows in no answer and no line of the log, whether the
// body can be read or not.
func TestNamesThatAreData(t *testing.T) {
	const mail = "jdoe@example.com"
	r := newRig(t)
	r.post("retino", `{"event_type":"shipping.ordered","created_at":"2023-01-24T00:00:00Z","shipping":{"id":"1"},`+
		`"jdoe@example.com":"jdoe@example.com"}`)
	r.post("retino", `{"event_type":"shipping.ordered","jdoe@example.com":{"jdoe@example.com":jdoe@example.com}}`)
	c := retino.New()
	translate := c.Translate
	quoting := false
	c.Translate = func(in connectors.Input) (connectors.Translation, error) {
		if quoting {
			return connectors.Translation{}, connectors.Errorf(`$["jdoe@example.com"]`, `is %q`, mail)
		}
		return translate(in)
	}
	r.start(c)
	quoting = true
	r.post("retino", `{"event_type":"shipping.ordered","created_at":"2023-01-24T00:00:00Z","shipping":{"id":"2"},"jdoe@example.com":1}`)
	all := r.list(nil)
	if len(all) != 3 || len(r.list(quarantined)) != 2 {
		t.Fatalf("%v", all)
	}
	var answers []proto.Message
	for _, w := range all {
		answers = append(answers, w, r.get(w.GetId(), false))
	}
	answers = append(answers, r.retranslate(&adminv1.RetranslateWebhooksRequest{}))
	for _, dryRun := range []bool{true, false} {
		for _, result := range r.retry(&adminv1.RetryWebhooksRequest{DryRun: dryRun}) {
			answers = append(answers, result)
		}
	}
	drift, err := r.ListDrift(t.Context(), &adminv1.ListDriftRequest{})
	if err != nil || len(drift.GetFields()) == 0 {
		t.Fatal(drift, err)
	}
	shaped := 0
	for _, a := range append(answers, drift) {
		text := prototext.Format(a)
		shaped += strings.Count(text, "x@x")
		if strings.Contains(text, "jdoe") {
			t.Errorf("%s", text)
		}
	}
	if shaped < 10 {
		t.Errorf("the address is shown by its shape %d times only", shaped)
	}
	if strings.Contains(r.log.String(), "jdoe") {
		t.Error("the log has the address")
	}
}

// raw is a journal whose webhooks and counts hold what an earlier version kept of names.
type raw struct {
	Journal

	webhook *journalv1.Webhook
}

func (r raw) Webhook(context.Context, string) (*journalv1.Webhook, error) { return r.webhook, nil }

func (r raw) Find(context.Context, journal.Query) (journal.Page, error) {
	return journal.Page{Webhooks: []*journalv1.Webhook{r.webhook}}, nil
}

func (r raw) Drift(context.Context) ([]*journalv1.DriftCount, error) {
	d := r.webhook.GetDrift()[0]
	return []*journalv1.DriftCount{{Connector: "retino", Path: d.GetPath(), Sample: d.GetSample(), Kind: d.GetKind()}}, nil
}

// TestKeptNamesThatAreData: each place that shows a path, a sample or a problem shows only its shape.
func TestKeptNamesThatAreData(t *testing.T) {
	r := newRig(t)
	const path, shaped = `$["jdoe@example.com"].id`, `$["x@x.x"].id`
	r.use(raw{r.journal, &journalv1.Webhook{
		Id: journal.IDAt(time.UnixMilli(7)), Source: "retino", Connector: "retino",
		Drift:      []*journalv1.Drift{{Kind: journalv1.DriftKind_DRIFT_KIND_TYPE, Path: path, Sample: []byte("jdoe")}},
		Quarantine: &journalv1.Quarantine{Reason: "wrong_shape", Detail: `is "jdoe"`, Path: path, Offset: 7},
	}})
	shown := r.get(journal.IDAt(time.UnixMilli(7)), false)
	drift, err := r.ListDrift(t.Context(), &adminv1.ListDriftRequest{})
	if err != nil {
		t.Fatal(err)
	}
	fault := &adminv1.Fault{Reason: "wrong_shape", Problem: `is "xxxx"`, Path: shaped, Offset: 7}
	field := &adminv1.DriftField{Connector: "retino", Kind: "type", Field: shaped, Sample: "xxxx"}
	ofOne := proto.CloneOf(field)
	ofOne.WebhookId = shown.GetWebhook().GetId()
	for _, x := range []struct{ want, got proto.Message }{
		{fault, r.list(nil)[0].GetFault()},
		{fault, shown.GetWebhook().GetFault()},
		{ofOne, shown.GetDrift()[0]},
		{field, drift.GetFields()[0]},
	} {
		if diff := cmp.Diff(x.want, x.got, protocmp.Transform()); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
}

// TestHeadersAreMasked: except the well-known headers and the headers that the connector reads.
func TestHeadersAreMasked(t *testing.T) {
	r := newRig(t)
	c := retino.New()
	c.EventHeader, c.KeyHeader = "X-Acme-Event", "x-acme-id"
	r.keep = []string{"X-Forwarded-User", "X-Note"}
	r.start(c)
	req := httptest.NewRequest(http.MethodPost, "/webhooks/retino", strings.NewReader("{"))
	for name, value := range map[string]string{
		"Content-Type": "application/json", "User-Agent": "Acme/2", "X-Acme-Event": "shipping.ordered", "X-Acme-Id": "id-7",
		"X-Forwarded-User": "jdoe@example.com", "X-Note": "call 555",
	} {
		req.Header.Set(name, value)
	}
	r.edge.ServeHTTP(httptest.NewRecorder(), req)
	shown := func(reveal bool) map[string]string {
		got := map[string]string{}
		for _, h := range r.get(r.list(nil)[0].GetId(), reveal).GetHeaders() {
			got[h.GetName()] = h.GetValue()
		}
		return got
	}
	want := map[string]string{
		"content-type": "application/json", "user-agent": "Acme/2", "x-acme-event": "shipping.ordered", "x-acme-id": "id-7",
		"x-forwarded-user": "xxxx@xxxxxxx.xxx", "x-note": "xxxx 000",
	}
	if diff := cmp.Diff(want, shown(false)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	want["x-forwarded-user"], want["x-note"] = "jdoe@example.com", "call 555"
	if diff := cmp.Diff(want, shown(true)); diff != "" {
		t.Errorf("revealed (-want +got):\n%s", diff)
	}
	// Without its source, the meaning of a header is unknown.
	r.start()
	got := fmt.Sprint(shown(false))
	if want := "map[content-type:application/json user-agent:Acme/2 x-acme-event:xxxxxxxx.xxxxxxx x-acme-id:xx-0 " +
		"x-forwarded-user:xxxx@xxxxxxx.xxx x-note:xxxx 000]"; got != want {
		t.Errorf("%s, not %s", got, want)
	}
}
