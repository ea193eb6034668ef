package source

import (
	"fmt"
	"strings"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/internal/signature"
)

// Decides says which parts of a request may decide what a webhook is, in addition to its body. Where the sender signs, a part
// that the signature does not cover may not decide, because a stranger who captured a webhook can change it: then the body
// decides alone, and the part can only contradict it. A source may make exceptions for names, see [Source.UnsignedEventName].
type Decides struct {
	// Path and EventHeader may name the event if the body does not.
	Path, EventHeader bool
	// ContentEncoding and ContentType may say how the body is read. Otherwise its first bytes say it.
	ContentEncoding, ContentType bool
}

// Decides returns what may decide about the source's webhooks. The source must be resolved.
func (s *Source) Decides() Decides {
	if s.Auth.Scheme != SchemeHMAC || s.Auth.HMAC == nil || s.Connector == nil {
		return Decides{true, true, true, true}
	}
	c := coverage{s.Connector, signature.CoverageOf(s.Auth.HMAC.Signed)}
	return Decides{
		Path:            s.UnsignedEventName || c.path(),
		EventHeader:     s.UnsignedEventName || c.Header(s.Connector.EventHeader),
		ContentEncoding: c.Header("Content-Encoding"),
		ContentType:     c.Header("Content-Type"),
	}
}

// Uncovered returns the keys of the configuration, "unsigned_event_name" or "unsigned_delivery_id", without which a source of
// the connector is refused that is signed in the vendor's own way.
func Uncovered(c *connectors.Connector) []string {
	if c.Verification.HMAC == nil {
		return nil
	}
	keys, _ := coverage{c, signature.CoverageOf(c.Verification.HMAC.WithDefaults().Signed)}.open()
	return keys
}

// coverage has the parts that a signature covers of a connector's webhooks.
type coverage struct {
	connector *connectors.Connector
	signature.Coverage
}

func (c coverage) path() bool {
	if c.connector.FormField != "" {
		return c.PathBesideForm()
	}
	return c.Path()
}

// open returns what decides and is not covered: the keys that permit it, and texts for people.
func (c coverage) open() (keys, problems []string) {
	at := c.connector
	switch {
	case at.EventField != "": // The body names the event. What else names it can only contradict.
	case at.EventHeader != "":
		if !c.Header(at.EventHeader) {
			keys = append(keys, "unsigned_event_name")
			problems = append(problems, fmt.Sprintf("the header %s, which names the event: an attacker who captures a webhook can send it "+
				"as another event. Add {header.%[1]s} if the vendor signs it, or permit it with unsigned_event_name: true", at.EventHeader))
		}
	case !c.path():
		keys = append(keys, "unsigned_event_name")
		problems = append(problems, "the URL's path, which names the event: an attacker who captures a webhook can send it as another "+
			"event. Add {path} or {url} if the vendor signs it, or permit it with unsigned_event_name: true")
	}
	if at.KeyHeader != "" && !c.Header(at.KeyHeader) {
		keys = append(keys, "unsigned_delivery_id")
		problems = append(problems, fmt.Sprintf("the header %s, by which webhooks are told apart: an attacker who captures a webhook can send "+
			"it again as another. Add {header.%[1]s} if the vendor signs it, or permit it with unsigned_delivery_id: true", at.KeyHeader))
	}
	return keys, problems
}

// covered reports what decides and is not covered by the signature.
func (r *resolver) covered() {
	if r.Connector == nil || r.UnsignedEventName {
		return
	}
	keys, problems := coverage{r.Connector, signature.CoverageOf(r.Auth.HMAC.Signed)}.open()
	var open []string
	for i, key := range keys {
		if key == "unsigned_delivery_id" && r.UnsignedDeliveryID {
			continue
		}
		open = append(open, problems[i])
	}
	if len(open) > 0 {
		r.addf("auth.hmac.signed", "does not cover %s", strings.Join(open, "; nor "))
	}
}
