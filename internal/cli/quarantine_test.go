package cli

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
	"github.com/webhook-bridge/bridge/internal/daemon"
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
		"not kept":       {&adminv1.RetryResult{Fault: fault}, true},
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

// TestRetryTellsWhatIsGone: a webhook that is not kept has no outcome.
func TestRetryTellsWhatIsGone(t *testing.T) {
	var text bytes.Buffer
	out := bufio.NewWriter(&text)
	p := retryPrinter{out: out, table: newTable(out, "ID"), counts: map[adminv1.Outcome]uint64{}}
	if err := p.print([]*adminv1.RetryResult{{WebhookId: "7", Fault: &adminv1.Fault{Reason: "not_found", Offset: -1}}}); err != nil {
		t.Fatal(err)
	}
	_ = p.end()
	want := "1 webhook: 0 released with 0 events, 0 duplicate, 0 still quarantined, 1 not kept\n"
	if got := text.String(); !strings.HasSuffix(got, want) || strings.Contains(got, "unspecified") {
		t.Errorf("%s", got)
	}
}

// parting discards two webhooks, and two, and then cannot.
type parting struct {
	adminv1.UnimplementedAdminServiceServer

	tokens []string
}

func (p *parting) DiscardWebhooks(
	_ context.Context, r *adminv1.DiscardWebhooksRequest,
) (*adminv1.DiscardWebhooksResponse, error) {
	if p.tokens = append(p.tokens, r.GetPageToken()); len(p.tokens) > 2 {
		return nil, status.Error(codes.Unavailable, "not now")
	}
	return &adminv1.DiscardWebhooksResponse{Discarded: 2, NextPageToken: "after " + r.GetPageToken()}, nil
}

// TestDiscardTellsWhatIsDone: page by page, and also where the next one fails.
func TestDiscardTellsWhatIsDone(t *testing.T) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, service := grpc.NewServer(), &parting{}
	adminv1.RegisterAdminServiceServer(server, service)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	defer func() {
		server.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	var stdout, stderr bytes.Buffer
	env := Environment{LookupEnv: func(string) (string, bool) { return "", false }, Stdout: &stdout, Stderr: &stderr}
	code := Run(t.Context(), daemon.Plugins{}, []string{"quarantine", "discard", "--addr", listener.Addr().String(), "--all", "--yes"}, env)
	if code != exitFailed || stdout.String() != "4 webhooks discarded\n" || !strings.Contains(stderr.String(), "not now") {
		t.Errorf("exit %d\n%s%s", code, &stdout, &stderr)
	}
	if diff := cmp.Diff([]string{"", "after ", "after after "}, service.tokens); diff != "" {
		t.Errorf("tokens (-want +got):\n%s", diff)
	}
}
