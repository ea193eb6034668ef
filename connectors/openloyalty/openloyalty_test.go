package openloyalty_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/type/decimal"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/connectortest"
	"github.com/webhook-bridge/bridge/connectors/openloyalty"
	openloyaltyv1 "github.com/webhook-bridge/bridge/gen/webhooks/openloyalty/v1"
	"github.com/webhook-bridge/bridge/internal/signature"
)

var source = connectors.Source{Name: "loyalty", Currency: "EUR", Zone: time.UTC}

func TestConnector(t *testing.T) { connectortest.Run(t, openloyalty.New(), source) }

func TestExpiringPointsAreBounded(t *testing.T) {
	const most = 10_000
	translate := openloyalty.New().Translate
	in := connectors.Input{Source: source, Event: "account.expiring_points_notification"}
	member := &openloyaltyv1.ExpiringPoints{CustomerId: new("32c764d9")}
	in.Message = &openloyaltyv1.AccountExpiringPointsNotification{Data: slices.Repeat([]*openloyaltyv1.ExpiringPoints{member}, most)}
	if got, err := translate(in); err != nil || len(got.Events) != most {
		t.Errorf("%d members: %d events, error %v", most, len(got.Events), err)
	}
	in.Message = &openloyaltyv1.AccountExpiringPointsNotification{Data: slices.Repeat([]*openloyaltyv1.ExpiringPoints{member}, most+1)}
	const want = "$.data lists 10001 members, more than 10000"
	if got, err := translate(in); err == nil || err.Error() != want || got.Events != nil {
		t.Errorf("%d members: %d events, error %v", most+1, len(got.Events), err)
	}
}

// TestTotalOutOfRange: lines that add up to no amount are a fault, and not a purchase without a total.
func TestTotalOutOfRange(t *testing.T) {
	item := &openloyaltyv1.TransactionItem{GrossValue: &decimal.Decimal{Value: "5e18"}}
	_, err := openloyalty.New().Translate(connectors.Input{Source: source, Event: "transaction.registered", Message: &openloyaltyv1.TransactionRegistered{
		Data: &openloyaltyv1.Transaction{TransactionId: new("t1"), Items: []*openloyaltyv1.TransactionItem{item, item}},
	}})
	if want := "$.data.items add up to an amount that is out of range for money"; err == nil || err.Error() != want {
		t.Errorf("error %v", err)
	}
}

// TestSignature signs by hand, as others report that the cloud product does.
func TestSignature(t *testing.T) {
	const host, path, id = "bridge.example.com", "/webhooks/loyalty", "7d1f0c9e-4c0a-4b5e-9d55-2f4e9a7c1b20"
	now := time.Unix(1714896000, 0)
	body := []byte(`{"type":"CustomerUpdated","data":{"customer":{"customerId":"32c764d9"}}}`)
	mac := hmac.New(sha256.New, []byte("0123456789abcdef"))
	fmt.Fprintf(mac, "POST\n%d:%s\n%d:%s\n%x\n%d\n%s", len(host), host, len(path), path, sha256.Sum256(body), now.Unix(), id)
	r := signature.Request{Method: http.MethodPost, Host: host, Path: path, Body: body, Header: http.Header{
		"X-Webhook-Signature":           {hex.EncodeToString(mac.Sum(nil))},
		"X-Webhook-Signature-Algorithm": {"hmac-sha256"},
		"X-Webhook-Timestamp":           {"1714896000"},
		"X-Webhook-Request-Id":          {id},
	}}
	scheme, err := signature.Compile(*openloyalty.New().Verification.HMAC, []string{"whsec_0123456789abcdef"})
	if err != nil {
		t.Fatal(err)
	}
	if err := scheme.Verify(r, now.Add(299*time.Second)); err != nil {
		t.Error(err)
	}
	if scheme.Verify(r, now.Add(301*time.Second)) == nil {
		t.Error("good after more than five minutes")
	}
	r.Header.Set("X-Webhook-Request-Id", "another")
	if scheme.Verify(r, now) == nil {
		t.Error("good for another request")
	}
}

func FuzzConnector(f *testing.F) { connectortest.Fuzz(f, openloyalty.New(), source) }
