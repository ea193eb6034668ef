package template_test

import (
	"bytes"
	"testing"

	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/template"
)

func TestExpand(t *testing.T) {
	h := sinks.Header{Source: []byte("till"), Type: []byte("order.created"), Subject: []byte("order/7")}
	upper := func(b []byte) string { return string(bytes.ToUpper(b)) }
	for text, want := range map[string]string{
		"bridge.events":          "bridge.events",
		"{source}":               "TILL",
		"a.{source}-{type}.b":    "a.TILL-ORDER.CREATED.b",
		"{kind}{subject}{kind}s": "ORDERORDER/7ORDERs",
	} {
		tmpl, err := template.Parse(text, "source", "type", "kind", "subject", "connector")
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := tmpl.Expand(&h, upper); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", text, got, err, want)
		}
	}
	for text, names := range map[string]struct{ can, cannot []string }{
		"events":              {[]string{"events"}, []string{"events.x", ""}},
		"events.{type}":       {[]string{"events.order.created"}, []string{"events.", "events", "x.events.y"}},
		"{source}-{type}.all": {[]string{"till-order.all", "a-b-c.all"}, []string{"till.all", "-order.all", "till-.all", "till-order"}},
		"{source}{type}":      {[]string{"ab", "abc"}, []string{"a", ""}},
	} {
		tmpl, err := template.Parse(text, "source", "type")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names.can {
			if !tmpl.Matches(name) {
				t.Errorf("%s does not match %q", text, name)
			}
		}
		for _, name := range names.cannot {
			if tmpl.Matches(name) {
				t.Errorf("%s matches %q", text, name)
			}
		}
	}
	tmpl, err := template.Parse("x.{connector}", "connector")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := tmpl.Expand(&h, nil); err == nil {
		t.Errorf("without a connector: %q", got)
	}
	if got := tmpl.With("p"); got != "x.p" {
		t.Errorf("with p: %q", got)
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"":          "is missing",
		"a}":        "has a } without a {",
		"a{source":  "has a { without a }",
		"{subject}": "{subject} is none of {source}, {type}",
		"{}":        "{} is none of {source}, {type}",
	} {
		if _, err := template.Parse(text, "source", "type"); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
