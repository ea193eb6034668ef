// Package openloyalty knows the webhooks of Open Loyalty, a loyalty programme. The vendor's page "Webhooks" prints the webhooks
// of versions 3 and 4. The current cloud product has other names (CamelCase), another shape (a customer is an object) and
// signatures. Nothing about the cloud product is verified: all of it comes from other integrations.
//
// # Verification
//
// Versions 3 and 4 send one HTTP header. The operator chooses its name and value in Open Loyalty's configuration. It is
// constant; nothing is signed. Open Loyalty waits one second, ignores the answer, and never tries again: a webhook that is not
// accepted then is lost.
//
// The cloud product can sign (unverified): HMAC-SHA256, in hex, in X-Webhook-Signature, over method, host, path, hash of the
// body, X-Webhook-Timestamp and X-Webhook-Request-Id. The secret begins with whsec_, which is not part of the key. A signature
// is valid for five minutes. The cloud product sends a webhook once more after a 4xx or 5xx.
//
// # Identity
//
// The key is natural where the data tell occurrences apart, whichever product they are from. The cloud product's
// X-Webhook-Request-Id is a key beside it, and alone where there is none; that it stays the same when a webhook is sent again is
// supposed. Natural are:
//
//   - transaction.registered by transactionId, since a purchase is registered once;
//   - account.available_points_amount_changed by customer, transfer and kind of change, since a transfer that adds points to
//     one balance may later take them off again, or off another's; older versions send no transfer id: content hash;
//   - account.points_transfer by customer, transfer and state, since a booking is reported again when its state changes;
//   - account.expiring_points_notification, under either name, by customer, points and expiry of every item in order, and
//     campaign.coupon_expiration by customer, coupon and expiry: to say a second time that the same points or the same coupon
//     expire at the same instant is the same warning. Where the message carries its own createdAt, a second warning has
//     another meaning, and is published as a revision;
//   - customer.bought_campaign by customer, campaign, coupon and the message's createdAt, since the same reward can be bought
//     again and coupons need not be unique.
//
// All other events, and these when a part is missing, have the request's id as key or, without it, the content hash within ten
// seconds: customer.updated is only an id, and has the same bytes next week; a level may expire every year, and the warning
// does not say when. There are no versions, and no promise of order.
//
// # Mapping
//
//	customer.updated, .deleted, .registered, .deactivated    the same words                customer/<customerId>
//	customer.level_changed_automatically                     loyalty.level_changed         customer/<customerId>
//	customer.level_changed                                   loyalty.level_changed         customer/<customerId>
//	transaction.registered                                   purchase.registered           purchase/<transactionId>
//	transaction.assigned_to_customer                         purchase.assigned             purchase/<transactionId>
//	account.available_points_amount_changed                  loyalty.points_changed        customer/<customerId>
//	customer.bought_campaign                                 loyalty.reward_redeemed       customer/<customerId>
//	account.expiring_points_notification                     loyalty.points_expiring       customer/<customerId>, one an item
//	account.expiring_points_reminder_generated               loyalty.points_expiring       the same under its earlier name
//	account.points_transfer                                  loyalty.points_transferred    customer/<customerId>
//	account.expiring_level_notification                      loyalty.level_expiring        customer/<customerId>, one an item
//	campaign.coupon_expiration                               loyalty.coupon_expiring       customer/<customerId>, one an item
//	CustomerRegistered, CustomerUpdated, CustomerDeactivated,
//	CustomerLevelChanged, TransactionRegistered,
//	TransactionAssignedToCustomer, CustomerBoughtReward,
//	AvailablePointsAmountChanged, PointsWillExpire,
//	LevelWillExpire, CouponWillExpire                        as the events of the same meaning above
//
// WalletBalanceUpdated is sent together with AvailablePointsAmountChanged, and its data are not known. It stays unmapped, as do
// CampaignEffectWasApplied and the others whose data no page describes. An event of the cloud product without its subject's id
// stays unmapped too: no page promises an id.
//
// occurred_at is the message's createdAt. Without it, it is a time in the data: a new customer's createdAt,
// levelAchievementDate, a transfer's createdAt. The date of a purchase is not the time of its registration and stays inside the
// purchase.
//
// # Traps
//
//   - Customer phones are numbers in one event and strings in others, of up to 19 digits.
//   - Times are ISO 8601 with offset, except a new customer's createdAt and couponExpiresAt: seconds since 1970. Numbers with
//     fewer than 9 or more than 11 digits are refused, since "2019" and "20190809" would be times in 1970.
//   - The page prints one expiring-points object. The vendor's code sends lists, in chunks of 1000; the list of coupons is not
//     divided into chunks.
//   - Subtracted points may have a minus. It is removed. It gives the direction only when no known word does.
//   - amount_change and amount_change_type are 3.x spellings; postId is an error in the vendor's code for posId. The page's
//     spelling is preferred.
//   - Six of the page's twelve samples are not JSON. Real bodies are; the samples are quarantine cases.
//   - country need not be an ISO code ("EN" on the page) and is passed on as it is.
//   - Amounts of money carry no currency: the source's configuration must.
//   - Both products have a TransactionRegistered, with different spellings of the type.
package openloyalty

import (
	"context"
	"embed"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"

	"github.com/webhook-bridge/bridge/connectors"
	openloyaltyv1 "github.com/webhook-bridge/bridge/gen/webhooks/openloyalty/v1"
)

//go:embed testdata/*.txtar
var samples embed.FS

// maxBody has room for the largest list that Open Loyalty is known to send in one piece.
const maxBody = 8 << 20

// New returns the connector.
func New() *connectors.Connector {
	return &connectors.Connector{
		Name:    "openloyalty",
		Service: openloyaltyv1.File_webhooks_openloyalty_v1_openloyalty_proto.Services().ByName("OpenloyaltyWebhookService"),
		Register: func(ctx context.Context, mux *runtime.ServeMux, conn grpc.ClientConnInterface) error {
			client := openloyaltyv1.NewOpenloyaltyWebhookServiceClient(conn)
			return openloyaltyv1.RegisterOpenloyaltyWebhookServiceHandlerClient(ctx, mux, client)
		},
		EventField: "type",
		KeyHeader:  "X-Webhook-Request-Id",
		// The cloud product's, unverified. Versions 3 and 4 have a header of the operator's choice.
		Verification: connectors.Verification{HMAC: &connectors.HMAC{
			Header:          "X-Webhook-Signature",
			Algorithm:       "sha256",
			Encoding:        "hex",
			SecretPrefix:    "whsec_",
			TimestampHeader: "X-Webhook-Timestamp",
			Tolerance:       5 * time.Minute,
			Signed: "{method}\n{len(host)}:{host}\n{len(path)}:{path}\n{sha256(body)}\n{timestamp}\n" +
				"{header.X-Webhook-Request-Id}",
		}},
		// For versions 3 and 4, which never try again. The cloud product tries again once, after a 4xx or 5xx.
		Delivery:      connectors.DeliveryPolicy{Timeout: time.Second, Repeats: true},
		Samples:       samples,
		Answer:        "{}",
		MaxBody:       maxBody,
		NeedsCurrency: true,
		Window:        10 * time.Second,
		Translate:     translate,
	}
}
