package main

import (
	"bufio"
	"io"
	"testing"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
)

// TestRetryTellsWhatStays: an array that was released is no success if some of its webhooks are in quarantine now.
func TestRetryTellsWhatStays(t *testing.T) {
	const accepted, held = adminv1.Outcome_OUTCOME_ACCEPTED, adminv1.Outcome_OUTCOME_QUARANTINED
	fault := &adminv1.Fault{Reason: "a_reason"}
	for name, tt := range map[string]struct {
		result *adminv1.RetryResult
		fails  bool
	}{
		"released":       {&adminv1.RetryResult{Outcome: accepted, EventCount: 2}, false},
		"duplicate":      {&adminv1.RetryResult{Outcome: adminv1.Outcome_OUTCOME_DUPLICATE}, false},
		"held":           {&adminv1.RetryResult{Outcome: held, Fault: fault}, true},
		"array in parts": {&adminv1.RetryResult{Outcome: accepted, EventCount: 2, Fault: fault}, true},
	} {
		out := bufio.NewWriter(io.Discard)
		p := retryPrinter{out: out, table: newTable(out, "ID"), counts: map[adminv1.Outcome]uint64{}}
		if err := p.print([]*adminv1.RetryResult{tt.result}); err != nil {
			t.Fatal(err)
		}
		if err := p.end(); (err != nil) != tt.fails {
			t.Errorf("%s: %v", name, err)
		}
	}
}
