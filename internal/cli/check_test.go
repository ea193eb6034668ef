package cli

import (
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/internal/schema"
)

func TestDurationText(t *testing.T) {
	for d, want := range map[time.Duration]string{
		168 * time.Hour:                "168h",
		90 * time.Minute:               "1h30m",
		10 * time.Minute:               "10m",
		10 * time.Hour:                 "10h",
		time.Hour + 30*time.Second:     "1h0m30s",
		20 * time.Second:               "20s",
		1500 * time.Millisecond:        "1.5s",
		time.Hour + 20*time.Minute + 1: "1h20m0.000000001s",
	} {
		if got := schema.FormatDuration(d); got != want {
			t.Errorf("%v is written %s, want %s", int64(d), got, want)
		}
	}
}
