package webhook_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/webhook"
)

// Each event is one request. Addresses that are not public must be allowed.
func Example() {
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		fmt.Println(r.Method, r.Header.Get("Webhook-Id"), r.Header.Get("Ce-Type"), r.Header.Get("Webhook-Signature") != "")
	}))
	defer receiver.Close()
	ctx := context.Background()
	sink, err := webhook.Open(ctx, webhook.Config{
		Credentials: webhook.Credentials{URL: receiver.URL, Secrets: []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}},
		AllowHTTP:   true,
		Allow:       []string{"127.0.0.1", "::1"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sink.Close()
	event, err := sinks.NewRecord(1, []byte("\n\x05first\x12\x0dorder.changed"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(sink.Deliver(ctx, []sinks.Record{event}))
	// Output:
	// POST first order.changed true
	// 1 <nil>
}
