package connectortest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/internal/secret"
	"github.com/webhook-bridge/bridge/internal/source"
)

// longestWindow is the longest window for a vendor that sends answered webhooks again, at unknown times.
const longestWindow = time.Hour

func checkWindow(k *kit) error {
	window, retry := cmp.Or(k.connector.Window, connectors.DefaultWindow), lastRetry(k.connector.Delivery)
	longest := max(connectors.DefaultWindow, 2*retry)
	if k.connector.Delivery.Repeats {
		longest = max(longest, longestWindow)
	}
	switch {
	case window > longest:
		return fmt.Errorf("the window is %v, but the vendor sends nothing again after %v", window, longest)
	case window <= retry && k.usesContentHash():
		return fmt.Errorf("the window is %v, but the vendor may send a webhook again after %v", window, retry)
	}
	return nil
}

// lastRetry is how long after a webhook was stored the vendor may send it again because it did not receive the answer.
func lastRetry(p connectors.DeliveryPolicy) time.Duration {
	if len(p.Retries) == 0 {
		return 0
	}
	return p.Timeout + slices.Max(p.Retries)
}

// usesContentHash reports whether the content hash is the key of all webhooks of some event.
func (k *kit) usesContentHash() bool {
	natural := make(map[string]bool) // by event
	for _, d := range k.documents {
		if r := k.run(d); r.fault == nil && !r.unmapped() {
			_, ok := r.translation.Key.Natural()
			natural[r.event] = natural[r.event] || ok
		}
	}
	for _, ok := range natural {
		if !ok {
			return true
		}
	}
	return false
}

func checkVerification(k *kit) error {
	v := k.connector.Verification
	if v.Header != "" {
		if err := k.resolve(source.Auth{Scheme: source.SchemeHeader, Values: secret.List(anySecret)}); err != nil {
			return err
		}
	}
	if v.HMAC == nil {
		return nil
	}
	return k.resolve(source.Auth{Scheme: source.SchemeHMAC, Values: secret.List(v.HMAC.SecretPrefix + anySecret)})
}

// anySecret is valid in every encoding.
const anySecret = "0123456789abcdef0123456789abcdef"

// resolve checks the authentication as the configuration of a source does. A vendor's signature may leave names open: its sources
// must permit that.
func (k *kit) resolve(auth source.Auth) error {
	problems := source.Resolve([]source.Source{{Name: "kit", Connector: k.connector, Auth: auth, UnsignedEventName: true}})
	for _, p := range problems {
		if strings.HasPrefix(p.Key, "auth") {
			return errors.New(p.String())
		}
	}
	return nil
}
