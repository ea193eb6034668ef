package telemetry

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/webhook-bridge/bridge/internal/secret"
)

// TestComplaintsHideSecrets: a collector's answer may repeat a header. A header without a value hides nothing.
func TestComplaintsHideSecrets(t *testing.T) {
	var log bytes.Buffer
	c := newComplaints(Config{
		Logger:  slog.New(slog.NewTextHandler(&log, nil)),
		Headers: []Header{{"X-Tenant", secret.New("")}, {"X-Key", secret.New("k-4711")}},
	})
	c.log("spans are lost", errors.New("the key k-4711 is unknown"))
	if got := log.String(); !strings.Contains(got, "the key (secret) is unknown") {
		t.Errorf("the log says %s", got)
	}
}
