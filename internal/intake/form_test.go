package intake

import (
	"bytes"
	"net/url"
	"strings"
	"testing"

	"github.com/webhook-bridge/bridge/connectors"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
)

func TestDocument(t *testing.T) {
	c := &connectors.Connector{FormField: "payload"}
	for _, tt := range []struct {
		name, form, want, problem string
	}{
		{"alone", `payload=%7B%22a%22%3A+1%7D`, `{"a": 1}`, ""},
		{"among others", `x=1&payload={}&y=2`, `{}`, ""},
		{"nothing escaped", `payload={"a":1}`, `{"a":1}`, ""},
		{"equals signs in it", `payload={"a":"=="}`, `{"a":"=="}`, ""},
		{"any bytes", `payload=%ff%00`, "\xff\x00", ""},
		{"an escaped name", `p%61yload={}`, `{}`, ""},
		{"empty", `payload=`, ``, ""},
		{"without a value", `payload`, ``, ""},
		{"longer name", `payloads={}&payload=1`, `1`, ""},
		{"other names broken", `%zz=1&payload=1&%=`, `1`, ""},
		{"missing", `x=1&y=2`, ``, "no field"},
		{"no form", ``, ``, "no field"},
		{"JSON instead", `{"payload":1}`, ``, "no field"},
		{"another case", `Payload={}`, ``, "no field"},
		{"twice", `payload={}&payload={}`, ``, "twice"},
		{"twice, once escaped", `payload={}&p%61yload={}`, ``, "twice"},
		{"cut off", `payload={%7`, ``, "ends within"},
		{"bad escape", `payload={%zz}`, ``, "invalid escape"},
	} {
		got, fault := Document(c, journalv1.Encoding_ENCODING_FORM, []byte(tt.form))
		switch {
		case tt.problem == "" && (fault != nil || string(got) != tt.want):
			t.Errorf("%s: %q, %v", tt.name, got, fault)
		case tt.problem != "" && (fault == nil || fault.Reason != BadForm || !strings.Contains(fault.Problem, tt.problem)):
			t.Errorf("%s: %q, %v", tt.name, got, fault)
		}
	}
	// What is no form is its own document.
	if got, fault := Document(c, journalv1.Encoding_ENCODING_JSON, []byte("payload={}")); string(got) != "payload={}" || fault != nil {
		t.Errorf("JSON: %q, %v", got, fault)
	}
}

// FuzzFormField compares with the standard library, which is laxer in some ways and stricter in others.
func FuzzFormField(f *testing.F) {
	for _, form := range []string{`payload=%7B%22a%22%3A+1%7D`, `x=1&payload={}&y=2`, `p%61yload={}`, `payload=&payload=`, `a;payload=1`, `payload=%`} {
		f.Add([]byte(form))
	}
	f.Fuzz(func(t *testing.T, form []byte) {
		before := bytes.Clone(form)
		got, err := formField(form, "payload")
		if !bytes.Equal(before, form) {
			t.Fatal("the form was changed")
		}
		if len(got) > len(form) {
			t.Fatal("the field is longer than its form")
		}
		values, parsing := url.ParseQuery(string(form))
		if parsing != nil {
			return
		}
		want := values["payload"]
		if (err == nil) != (len(want) == 1) || err == nil && string(got) != want[0] {
			t.Fatalf("%q, %v; want %q", got, err, want)
		}
	})
}
