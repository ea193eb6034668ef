package repair

import (
	"slices"
	"strings"
	"testing"

	"github.com/webhook-bridge/bridge/connectors"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/intake"
)

// TestReleasedUndeclared: a webhook that was quarantined for a part that no message declares, when such parts had the limits of
// declared ones, is released as it is. Its drift is stored. If a declared part is the reason, it stays.
func TestReleasedUndeclared(t *testing.T) {
	for _, tt := range []struct {
		name, added string
		was         intake.Reason
		drift       string
	}{
		{"half of a character", `"mood":"\ud83d"`, intake.Malformed, "$.mood"},
		{"half of a character in a name", `"a\ud83d":1`, intake.Malformed, `$["x"]`},
		{"name twice", `"mood":{"a":1,"a":2}`, intake.Malformed, "$.mood"},
		{"undeclared field twice", `"mood":1,"mood":2`, intake.Malformed, "$.mood"},
		{"deep", `"mood":` + strings.Repeat("[", 90) + strings.Repeat("]", 90), intake.Limit, "$.mood"},
		{"many values", `"mood":[0` + strings.Repeat(",0", 100_000) + `]`, intake.Limit, "$.mood"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, event := range []string{shipping, "event.unheard_of"} {
				d := newDesk(t)
				d.translates(connectors.NaturalKey("1"), 1)
				text := strings.Replace(body(tt.added+`,"shipping":{"id":"7"}`), shipping, event, 1)
				delivery := d.delivery(event, text)
				delivery.Fault = intake.NewFault(tt.was, nil)
				if o, err := d.receive(delivery); o != intake.Quarantined || err != nil {
					t.Fatal(o, err)
				}
				r := d.retry(t, d.last().Webhook, Options{})
				if r.Outcome != intake.Accepted || r.Events != 1 {
					t.Fatalf("%s: %+v", event, r)
				}
				w := d.last().Webhook
				if string(w.GetBody()) != text {
					t.Errorf("%s: the body is %.100q", event, w.GetBody())
				}
				if e := d.last().Events[0]; event != shipping && e.GetUnmapped().GetJson() != text {
					t.Errorf("%s: the event carries %.100q", event, e.GetUnmapped().GetJson())
				}
				is := func(x *journalv1.Drift) bool {
					return x.GetPath() == tt.drift && x.GetKind() == journalv1.DriftKind_DRIFT_KIND_UNKNOWN
				}
				if event == shipping && !slices.ContainsFunc(w.GetDrift(), is) {
					t.Errorf("drift %v", w.GetDrift())
				}
				if r := d.retranslate(t, w, true); r.Fault != nil || len(r.Changes) != 0 {
					t.Errorf("%s: retranslated: %+v", event, r)
				}
			}
		})
	}
	for name, text := range map[string]string{
		"declared field twice":           body(`"shipping":{"id":"7","id":"7"}`),
		"half of a character, declared":  body(`"shipping":{"id":"\ud83d"}`),
		"event's name twice":             body(`"event_type":"` + shipping + `"`),
		"event's name twice, unmodelled": strings.ReplaceAll(body(`"event_type":"`+shipping+`"`), shipping, "event.unheard_of"),
	} {
		d := newDesk(t)
		d.translates(connectors.NaturalKey("1"), 1)
		if r := d.retry(t, d.held(t, d.delivery("", text)), Options{}); r.Outcome == intake.Accepted {
			t.Errorf("%s: released", name)
		}
	}
}
