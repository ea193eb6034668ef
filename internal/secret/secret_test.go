package secret

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// A secret in a log line, an error or a dump is a placeholder, however deep it lies and whichever verb prints it.
func TestNeverPrinted(t *testing.T) {
	secret := New("CANARY-s3cret")
	hidden := struct{ inner Value }{secret}
	auth := struct{ Values []Value }{List("CANARY-s3cret", "s3cret")}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%z"} {
		for _, value := range []any{secret, &secret, hidden, auth, &auth, map[string]Value{"a": secret}} {
			fmt.Fprintf(&out, verb+"\n", value)
		}
	}
	for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(handler).Info("loaded", "secret", secret, "auth", auth, "hidden", hidden)
	}
	if err := json.NewEncoder(&out).Encode([]any{secret, auth, hidden}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "s3cret") || strings.Contains(out.String(), fmt.Sprintf("%x", "s3cret")) {
		t.Errorf("a secret is printed:\n%s", &out)
	}
	if got := secret.String(); got != redacted {
		t.Errorf("String is %q", got)
	}
	if got := secret.Reveal(); got != "CANARY-s3cret" {
		t.Errorf("Reveal is %q", got)
	}
	if (Value{}).Reveal() != "" || !(Value{}).Equal(New("")) || secret.Equal(New("CANARY")) {
		t.Error("Equal or the zero Value is wrong")
	}
}
