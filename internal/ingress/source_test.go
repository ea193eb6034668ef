package ingress

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/retino"
	"github.com/webhook-bridge/bridge/internal/intake"
)

// TestProblemsOfSources: all of them are reported at once, each with its source.
func TestProblemsOfSources(t *testing.T) {
	info := func(name string) connectors.Source { return connectors.Source{Name: name, Zone: time.UTC} }
	open := Auth{None: true}
	in, err := intake.New(intake.Config{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = New(Config{Intake: in, Sources: []Source{
		{Connector: retino.New(), Info: info("fine"), Auth: open},
		{Connector: retino.New(), Info: info("fine"), Auth: open},
		{Connector: retino.New(), Info: info("a")},
		{Connector: retino.New(), Info: info("b"), Auth: Auth{None: true, Tokens: []string{"x"}}},
		{Connector: retino.New(), Info: info("c"), Auth: Auth{Header: "X-Key"}},
		{Connector: retino.New(), Info: info("d"), Auth: Auth{Header: "X-Key", Values: []string{""}}},
		{Connector: retino.New(), Info: info("e"), Auth: Auth{Header: "x-key", Values: []string{"v"}}, KeepHeaders: []string{"X-KEY"}},
		{Connector: retino.New(), Info: info("f"), Auth: open, KeepHeaders: []string{"cookie"}},
		{Connector: retino.New(), Info: connectors.Source{Name: "g"}, Auth: open},
		{Connector: retino.New(), Info: info("h/i"), Auth: open},
		{Connector: &connectors.Connector{Name: "empty"}, Info: info("j"), Auth: open},
	}})
	if err == nil {
		t.Fatal("New took them all")
	}
	for _, want := range []string{
		`"fine": is configured twice`,
		`"a": needs exactly one way`,
		`"b": needs exactly one way`,
		`"c": has no value for its header`,
		`"d": has an empty secret`,
		`"e": would keep the credential in header "X-Key"`,
		`"f": would keep the credential in header "Cookie"`,
		`"g": has no time zone`,
		`"h/i": has a name that is no path segment`,
		`"j": connectors: "empty" has no service`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %s:\n%v", want, err)
		}
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
