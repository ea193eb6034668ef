// Package source is the one model of a source: a configured instance of a connector, with its secrets, limits and windows.
//
// The configuration's reader makes sources of a file. The HTTP edge, intake, repair, alerts, the simulator and the OpenAPI
// document use the same type, so that no setting is copied from one shape into another.
//
// # Defaults and checks
//
// [Resolve] is the only place that completes a source and that checks it. It fills in every default: the vendor's own header
// or signature, limits, the window of content hashes. It reports every [Problem] at once, each with the key of the
// configuration that it is about. A source that Resolve has completed stays as it is when it is resolved again. The bounds of
// single values, such as the largest body that may be configured, are rules of the configuration's schema and not of the
// source.
//
// # What is not here
//
// A source does nothing. How a secret is compared is the edge's matter, how a signature is checked is package signature's, and
// what a vendor sends is the connector's.
package source

import (
	"net/http"
	"slices"
	"time"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/internal/secret"
)

// Source is one configured instance of a connector. The zero values of the optional fields are defaults, which [Resolve] fills
// in. A resolved source is not changed.
type Source struct {
	// Name is unique among sources. It is the second segment of the URL's path.
	Name string
	// Connector is the vendor's connector.
	Connector *connectors.Connector
	// Auth is how the sender proves who it is.
	Auth Auth
	// Currency is an ISO 4217 code for amounts that come without one. May be empty unless the connector needs it.
	Currency string
	// Zone is for times that come without one. Default: UTC, unless the connector needs one.
	Zone *time.Location
	// GRPC also accepts typed calls.
	GRPC bool
	// Reject answers 400 to a webhook that cannot be decoded or translated, instead of quarantining it. A webhook that fails
	// by an internal error is quarantined in either case.
	Reject bool
	Limits Limits
	// KeepHeaders are request headers to store with a webhook, in addition to content-type, user-agent and [Source.VendorHeaders].
	// None may carry a credential. Resolve makes them canonical.
	KeepHeaders []string
	// Window is for how long a second webhook with the same body is a duplicate, where nothing better tells webhooks apart.
	// Default: the connector's. Where the sender signs the time, it is at least as long as a captured request stays valid.
	Window time.Duration
	// UnsignedEventName permits a signature that does not cover the event's name in the URL or a header. It implies
	// UnsignedDeliveryID: an attacker who can send a captured webhook as another event can send it again, too.
	UnsignedEventName bool
	// UnsignedDeliveryID permits a signature that does not cover the connector's KeyHeader.
	UnsignedDeliveryID bool
	// Alerts are off in their zero values, which are no defaults.
	Alerts Alerts
}

// Alerts says when something is wrong with a source although all answers look well. Zeros are no alert.
type Alerts struct {
	// SilentAfter is how long no webhook may be received.
	SilentAfter time.Duration
	// UnauthorizedPercent is the share of requests that may not be refused for their secret.
	UnauthorizedPercent int
	// Quarantined is how many webhooks may not be quarantined in an hour.
	Quarantined int
}

// Info returns what the connector is told of the source.
func (s *Source) Info() connectors.Source {
	return connectors.Source{Name: s.Name, Currency: s.Currency, Zone: s.Zone}
}

// VendorHeaders returns the names of the headers that the connector reads: the one with the event's name and the one with the
// vendor's id of the webhook. They are stored with each webhook, so none of them can carry a secret.
func (s *Source) VendorHeaders() []string {
	if s.Connector == nil {
		return nil
	}
	return slices.DeleteFunc([]string{s.Connector.EventHeader, s.Connector.KeyHeader}, func(h string) bool { return h == "" })
}

// Scheme is how a sender proves who it is, by the name of its key in the configuration.
type Scheme string

// The schemes.
const (
	// SchemeHeader is a header with a secret value.
	SchemeHeader Scheme = "header"
	// SchemePathToken is a secret segment of the URL.
	SchemePathToken Scheme = "path_token"
	// SchemeHMAC is a signature over the request.
	SchemeHMAC Scheme = "hmac"
	// SchemeNone is no proof at all.
	SchemeNone Scheme = "none"
)

// Auth is a source's scheme and its secrets.
type Auth struct {
	// Scheme is required.
	Scheme Scheme
	// Header is the canonical name of the header with the secret or, for SchemeHMAC, with the signature. Default: the vendor's
	// own. Empty for other schemes.
	Header string
	// Values are the accepted secrets. At least one must not be empty, except for SchemeNone, which has none. Resolve drops
	// empty ones, unless a file holds them, which may be filled later.
	Values []secret.Value
	// HMAC is how the sender signs, for SchemeHMAC only. Fields that are not set are the vendor's; where Header is set, nothing
	// is the vendor's.
	HMAC *connectors.HMAC
	// PublicURL is the base of the URL that the sender calls, for SchemeHMAC only, where a proxy changes it on the way: host, path
	// and URL that are signed are made of it. Empty: they are signed as they arrive.
	PublicURL string
}

// replayable is for how long a captured request is valid at most: a sender's clock may be ahead by the tolerance. 0 is for
// ever.
func (a *Auth) replayable() time.Duration {
	if a.HMAC == nil || !a.HMAC.Timed() {
		return 0
	}
	return 2 * a.HMAC.Tolerance
}

func canonical(header string) string { return http.CanonicalHeaderKey(header) }
