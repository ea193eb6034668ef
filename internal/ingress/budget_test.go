package ingress

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	retinov1 "github.com/webhook-bridge/bridge/gen/webhooks/retino/v1"
)

// TestDecoding: only a limited number of large webhooks is processed at the same time, and one source has at most half of them.
// Small ones do not wait. Large ones wait at most for the time limit of their commit. In the end everything reserved is released,
// for any outcome.
func TestDecoding(t *testing.T) {
	filler := strings.Repeat("x", maxDecoding)
	for name, body := range map[string][]byte{
		"modelled":    []byte(`{"type":"customer.updated","data":{"customerId":"c1"},"filler":"` + filler + `"}`),
		"unmodelled":  []byte(`{"type":"x","filler":"` + filler + `"}`),
		"quarantined": []byte(`{"type":"x","filler":"` + filler),
		"gzip":        zipped(t, []byte(`{"type":"x","filler":"`+filler+`"}`)),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEdge(t)
				var working atomic.Int64
				hold := make(chan struct{})
				e.book.Before = func(ctx context.Context) error {
					working.Add(1)
					select {
					case <-hold:
					case <-ctx.Done():
						<-hold // the disk is that slow
					}
					return nil
				}
				send := func(path, source string, body []byte) int {
					h := secretOf(source)
					if bytes.HasPrefix(body, []byte("\x1f\x8b")) {
						h.Set("Content-Encoding", "gzip")
					}
					return e.post(path, h, body).Code
				}
				var wg sync.WaitGroup
				began := time.Now()
				var busy atomic.Int64
				flood := decodingBudget() / maxDecoding
				for range flood {
					wg.Go(func() {
						if send("/webhooks/loyalty", "loyalty", body) == http.StatusServiceUnavailable {
							busy.Add(1)
							if took := time.Since(began); took < commitTimeout || took > commitTimeout+time.Second {
								t.Errorf("given up after %v", took)
							}
						}
					})
				}
				synctest.Wait()
				if got := working.Load(); got != flood/2 {
					t.Errorf("%d of one source's are worked on, want %d", got, flood/2)
				}
				wg.Go(func() { send("/webhooks/erp/x", "erp", body) })
				wg.Go(func() { send("/webhooks/loyalty", "loyalty", []byte(`{"type":"small"}`)) })
				synctest.Wait()
				if got := working.Load(); got != flood/2+2 {
					t.Errorf("%d are worked on, want another source's and a small one", got)
				}
				wait(commitTimeout + 2*time.Second) // deadlines are shared by those of a second
				close(hold)
				wg.Wait()
				if got := busy.Load(); got != flood-flood/2 {
					t.Errorf("%d were given up", got)
				}
				if !e.decoding.TryAcquire(decodingBudget()) || !e.endpoint("loyalty").decoding.bytes.TryAcquire(decodingBudget()/2) {
					t.Error("not all was given back")
				}
			})
		})
	}
}

// TestDecodingOfTypedCalls: they wait before they are decoded, and count for what they are after that.
func TestDecodingOfTypedCalls(t *testing.T) {
	e := newEdge(t)
	client := retinov1.NewRetinoWebhookServiceClient(dial(t, e))
	ctx := metadata.AppendToOutgoingContext(t.Context(), "bridge-source", "returns", "x-retino-secret", retinoSecret)
	decoding := e.endpoint("returns").decoding.bytes
	all := decodingBudget() / 2
	e.book.Before = func(context.Context) error {
		if !decoding.TryAcquire(all) {
			t.Error("a small message holds bytes of the decoding budget")
		}
		decoding.Release(all)
		return nil
	}
	if _, err := client.ShippingOrdered(ctx, shipmentMessage(t)); err != nil {
		t.Fatal(err)
	}
	if !decoding.TryAcquire(all) {
		t.Fatal("not all was given back")
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	e.deadlines.current.Store(&deadline{ctx: ended, shared: time.Now().Add(time.Hour)})
	if _, err := client.ShippingOrdered(ctx, shipmentMessage(t)); status.Code(err) != codes.Unavailable {
		t.Errorf("no turn: %v", err)
	}
	if n := len(e.book.all()); n != 1 {
		t.Errorf("%d webhooks were stored", n)
	}
}
