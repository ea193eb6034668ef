package daemon

import (
	"testing"

	"github.com/webhook-bridge/bridge/internal/config"
)

// The configuration knows a key for every field that a problem can be about.
func TestEveryProblemHasAKey(t *testing.T) {
	h := config.HMAC{
		Header: ":", Algorithm: "x", Encoding: "x", Prefix: " a", Separator: "a", SecretEncoding: "x", TimestampHeader: ":",
		TimestampPrefix: "b", TimestampUnit: "x", Tolerance: -1, Signed: "{",
	}
	for _, fault := range checkHMAC(h, config.NewSecret("")) {
		if fault.Key == "" || fault.Reason == "" {
			t.Errorf("a fault without a place: %+v", fault)
		}
	}
	if n := len(checkHMAC(h, config.NewSecret(""))); n < 9 {
		t.Errorf("%d faults", n)
	}
}
