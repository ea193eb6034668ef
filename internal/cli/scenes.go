package cli

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/internal/source"
)

// scene is how the demo shows a connector. All of it may be left out.
type scene struct {
	// source is the name of its source; the connector's own by default.
	source string
	// events are those shown; the first few by default.
	events []string
	// currency and zone are the source's, where the vendor leaves them out.
	currency, zone string
}

// scenes gives some connectors a scene of their own. A connector that is not here is shown all the same.
var scenes = map[string]scene{
	"dealpos":     {source: "erp-jakarta", events: []string{"paymentCreated"}, currency: "IDR", zone: "Asia/Jakarta"},
	"kasafik":     {source: "till-prague", events: []string{"orders"}},
	"linga":       {source: "diner", events: []string{"close"}, currency: "USD", zone: "America/New_York"},
	"openloyalty": {source: "loyalty", events: []string{"customer.registered", "account.available_points_amount_changed"}},
	"retino":      {source: "returns", events: []string{"shipping.ordered"}},
}

// fewEvents is how many events of a connector are shown unless its scene says otherwise.
const fewEvents = 3

// The demo's other webhooks: one that comes twice, one that is not modelled, and one that is broken.
var (
	repeatedSample   = [2]string{"retino", "shipping_ordered"}
	unmodelledSample = [2]string{"dealpos", "unmapped_sales_order"}
	brokenSample     = [2]string{"openloyalty", "printed_transaction_registered"}
)

// sceneOf returns the connector's scene, with nothing left out.
func sceneOf(c *connectors.Connector) scene {
	s := scenes[c.Name]
	if s.source == "" {
		s.source = c.Name
	}
	if s.currency == "" {
		s.currency = "EUR"
	}
	if s.zone == "" {
		s.zone = "Europe/Prague"
	}
	return s
}

// shown are the samples of the connector's events that the demo shows.
func (s scene) shown(c *connectors.Connector) ([]vendorSample, error) {
	all, err := samplesOf(c)
	if err != nil {
		return nil, err
	}
	if s.events == nil {
		return all[:min(len(all), fewEvents)], nil
	}
	return slices.DeleteFunc(all, func(v vendorSample) bool { return !slices.Contains(s.events, v.event) }), nil
}

// demoSources are a source of each connector, as the configuration writes them.
func demoSources(all map[string]*connectors.Connector) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		s := sceneOf(all[name])
		b.WriteString(sourceText(s.source, all[name], demoSecret(all[name]), s.currency, s.zone))
	}
	return b.String()
}

// sourceText is a source of the connector as the configuration's list of sources has it. Currency and zone are only there if
// the connector needs them.
func sourceText(name string, c *connectors.Connector, secret, currency, zone string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "  - name: %s\n    connector: %s\n", name, c.Name)
	switch schemeOf(c) {
	case source.SchemeHMAC:
		fmt.Fprintf(&b, "    auth: {hmac: {secrets: [%q]}}\n", secret)
	case source.SchemeHeader:
		fmt.Fprintf(&b, "    auth: {header: {name: %s, values: [%q]}}\n", c.Verification.Header, secret)
	default:
		fmt.Fprintf(&b, "    auth: {path_token: {values: [%q]}}\n", secret)
	}
	if schemeOf(c) == source.SchemeHMAC {
		for _, key := range source.Uncovered(c) {
			fmt.Fprintf(&b, "    %s: true\n", key)
		}
	}
	if c.NeedsCurrency {
		fmt.Fprintf(&b, "    currency: %s\n", currency)
	}
	if c.NeedsTimeZone {
		fmt.Fprintf(&b, "    time_zone: %s\n", zone)
	}
	return b.String()
}

// schemeOf is the best way that a vendor gives to tell its webhooks from others'.
func schemeOf(c *connectors.Connector) source.Scheme {
	switch {
	case c.Verification.HMAC != nil:
		return source.SchemeHMAC
	case c.Verification.Header != "":
		return source.SchemeHeader
	default:
		return source.SchemePathToken
	}
}

// demoSecret is a secret in the form that the vendor's have. It is public.
func demoSecret(c *connectors.Connector) string {
	secret := "demo-" + c.Name + "-secret"
	if schemeOf(c) == source.SchemePathToken {
		return "demo-" + c.Name + "-path-token"
	}
	h := c.Verification.HMAC
	if h == nil {
		return secret
	}
	switch h.SecretEncoding {
	case "hex":
		secret = hex.EncodeToString([]byte(secret))
	case "base64":
		secret = base64.StdEncoding.EncodeToString([]byte(secret))
	}
	return h.SecretPrefix + secret
}
