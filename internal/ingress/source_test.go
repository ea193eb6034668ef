package ingress

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/retino"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/source"
)

// TestProblemsOfSources: New reports what is wrong with every source, and does not change the caller's.
func TestProblemsOfSources(t *testing.T) {
	in, err := intake.New(intake.Config{})
	if err != nil {
		t.Fatal(err)
	}
	open := source.Auth{Scheme: source.SchemeNone}
	sources := []source.Source{
		{Name: "fine", Connector: retino.New(), Auth: open},
		{Name: "fine", Connector: retino.New(), Auth: open},
		{Name: "a", Connector: retino.New()},
		{Name: "b", Connector: retino.New(), Auth: open, KeepHeaders: []string{"cookie"}},
	}
	_, err = New(Config{Intake: in, Sources: sources})
	for _, want := range []string{
		`source "fine": name: is the name of sources[0], too`,
		`source "a": auth: must have exactly one of`,
		`source "b": keep_headers[0]: this header carries a credential`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %s:\n%v", want, err)
		}
	}
	if sources[0].Limits != (source.Limits{}) || sources[3].KeepHeaders[0] != "cookie" {
		t.Error("the caller's sources were changed")
	}
}

// TestConnectorWithoutService is refused at the start, and not by the first webhook.
func TestConnectorWithoutService(t *testing.T) {
	_, err := New(Config{Sources: []source.Source{
		{Name: "a", Connector: &connectors.Connector{Name: "empty"}, Auth: source.Auth{Scheme: source.SchemeNone}},
	}})
	if err == nil || !strings.Contains(err.Error(), `source "a": connectors: "empty" has no service`) {
		t.Errorf("got %v", err)
	}
}

func TestMetricsAreRegisteredOnce(t *testing.T) {
	r := prometheus.NewRegistry()
	if _, err := New(Config{Registerer: r}); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{Registerer: r}); err == nil {
		t.Error("a second Ingress took the same metrics")
	}
}
