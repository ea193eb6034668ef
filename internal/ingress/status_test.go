package ingress

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/webhook-bridge/bridge/internal/intake"
)

// TestInternalErrors: an error that is not a known fault of the sender is an internal error, and asks the sender to try again.
func TestInternalErrors(t *testing.T) {
	for _, err := range []error{
		errors.New("never heard of"),
		context.DeadlineExceeded,
		errBusy,
		intake.NewFault(intake.Panicked, nil),
		intake.NewFault(intake.BadEvents, nil),
		fmt.Errorf("wrapped: %w", intake.ErrUnavailable),
	} {
		a := answerOf(err)
		if a.status != http.StatusServiceUnavailable || a.retry == 0 || a.code != codes.Unavailable {
			t.Errorf("%v: %+v", err, a)
		}
	}
}

// TestReasonsHaveNames: each reason is a label of its own.
func TestReasonsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for r := range reasons {
		if name := r.String(); name == "" || seen[name] {
			t.Errorf("reason %d is called %q", r, name)
		}
		seen[r.String()] = true
	}
}
