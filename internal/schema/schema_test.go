package schema

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/webhook-bridge/bridge/connectors"
)

func TestAt(t *testing.T) {
	body := At("sources[3].limits.body")
	if got, open := body.Size(), body.Of(true).Size(); got != 1<<20 || open != 64<<10 {
		t.Errorf("limits.body: %d, unauthenticated %d", got, open)
	}
	if got, open := At("sources.limits.rate").Number(), At("sources.limits.rate").Of(true).Number(); got != 0 || open != 20 {
		t.Errorf("limits.rate: %d, unauthenticated %d", got, open)
	}
	if got := At("listen.admin").Text(); got != "127.0.0.1:8082" {
		t.Errorf("listen.admin: %s", got)
	}
	if got := At("journal.retention.age").Duration(); got != 168*time.Hour {
		t.Errorf("journal.retention.age: %s", got)
	}
	for _, path := range []string{"", "sources.limit", "sources.limits.body.x", "sources[0]x"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q is a key", path)
				}
			}()
			At(path)
		}()
	}
}

func TestCheck(t *testing.T) {
	tolerance, body, size := At("sources.auth.hmac.timestamp.tolerance"), At("sources.limits.body"), At("journal.retention.size")
	for name, tt := range map[string]struct{ got, want string }{
		"within":       {tolerance.CheckDuration(24 * time.Hour), ""},
		"below":        {tolerance.CheckDuration(time.Millisecond), "must be at least 1s and at most 24h"},
		"above":        {tolerance.CheckDuration(25 * time.Hour), "must be at least 1s and at most 24h"},
		"least body":   {body.CheckSize(1<<10, 0), ""},
		"small body":   {body.CheckSize(1<<10-1, 0), "must be at least 1Ki"},
		"large body":   {body.CheckSize(64<<20+1, 1<<20), "must be at most 64Mi"},
		"needed body":  {body.CheckSize(80<<20, 80<<20), ""},
		"above needed": {body.CheckSize(80<<20+1, 80<<20), "must be at most 80Mi"},
		"no most":      {size.CheckSize(1<<60, 0), ""},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %q, want %q", name, tt.got, tt.want)
		}
	}
}

// TestSignature: the defaults of a signature are part of the connectors' contract, and the schema has the same ones.
func TestSignature(t *testing.T) {
	got := connectors.HMAC{
		TimestampHeader: "T",
		Algorithm:       At("sources.auth.hmac.algorithm").Text(),
		Encoding:        At("sources.auth.hmac.encoding").Text(),
		SecretEncoding:  At("sources.auth.hmac.secret_encoding").Text(),
		TimestampUnit:   At("sources.auth.hmac.timestamp.unit").Text(),
		Tolerance:       At("sources.auth.hmac.timestamp.tolerance").Duration(),
		Signed:          At("sources.auth.hmac.signed").Text(),
	}
	if diff := cmp.Diff(connectors.HMAC{TimestampHeader: "T"}.WithDefaults(), got); diff != "" {
		t.Errorf("signature (-contract +schema):\n%s", diff)
	}
}

func TestFormatDuration(t *testing.T) {
	var got []string
	for _, d := range []time.Duration{0, 90 * time.Second, 10 * time.Minute, 168 * time.Hour, time.Hour + time.Second} {
		got = append(got, FormatDuration(d))
	}
	if text := strings.Join(got, " "); text != "0s 1m30s 10m 168h 1h0m1s" {
		t.Errorf("got %s", text)
	}
}
