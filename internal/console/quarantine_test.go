package console_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestRepairByHand: a webhook is released with a corrected body, only after the operator has seen what the change does, and the page shows who
// changed what.
func TestRepairByHand(t *testing.T) {
	r := startRig(t, false)
	r.post("returns", badCurrency)
	path := r.get("/console/webhooks").webhooks()[0]
	id := strings.TrimPrefix(path, "/console/webhooks/")
	if p := r.submit("/console/quarantine/retry", url.Values{"id": {id}}); !strings.Contains(p.text, "0 of 1 webhooks can be") || strings.Contains(p.text, "Retry and publish") {
		t.Errorf("a dry run of what cannot be translated: %s", p.text)
	}
	if p := r.submit(path+"/repair", nil); !strings.Contains(p.text, "Kč") {
		t.Errorf("the body to change is not shown:\n%s", p.text)
	}
	corrected := strings.Replace(badCurrency, "Kč", "CZK", 1)
	tried := r.submit(path+"/repair", url.Values{"body": {corrected}})
	for _, want := range []string{"can be translated", "Store and publish", "Kč", "CZK"} {
		if !strings.Contains(tried.text, want) {
			t.Errorf("the page of the change lacks %s:\n%s", want, tried.text)
		}
	}
	if p := r.get("/console/quarantine"); !strings.Contains(p.text, "1 in all") {
		t.Error("a change that was only tried is made")
	}
	if p := r.submit(path+"/repair", url.Values{"body": {`{"event_type":`}, "publish": {"yes"}}); !strings.Contains(p.text, "cannot be translated either") {
		t.Errorf("a bad change: %d", p.status)
	}
	done := r.submit(path+"/repair", url.Values{"body": {corrected}, "publish": {"yes"}})
	for _, want := range []string{"released", "changed the body by hand", "127.0.0.1", "CZK", "archive"} {
		if done.path != path || !strings.Contains(done.text, want) {
			t.Errorf("the page of the repaired webhook lacks %s:\n%s", want, done.text)
		}
	}
	checkHTML(t, done.text)
	if p := r.submit(path, nil); !strings.Contains(p.text, "Kč") {
		t.Error("the body as it was received is gone")
	}
	if p := r.submit(path+"/repair", nil); p.status != http.StatusConflict {
		t.Errorf("a released webhook can be changed: %d", p.status)
	}
	if p := r.get("/console/quarantine"); !strings.Contains(p.text, "Nothing is in quarantine") {
		t.Error("the webhook is still in quarantine")
	}
}

// TestRetryNeedsAChoice: nothing chosen is not everything.
func TestRetryNeedsAChoice(t *testing.T) {
	r := startRig(t, false)
	if p := r.submit("/console/quarantine/retry", url.Values{"publish": {"yes"}}); p.status != http.StatusBadRequest {
		t.Errorf("answered %d", p.status)
	}
}
