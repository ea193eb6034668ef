package cli

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/internal/source"
)

// setUp prints what to configure and how to try it, in text that works as it stands.
func setUp(b *strings.Builder, s styles, c *connectors.Connector) {
	secret := strings.ToUpper(c.Name) + "_SECRET"
	heading(b, s, "Configuration")
	b.WriteString("sources:\n" + sourceText(c.Name, c, "${"+secret+"}", "EUR", "Europe/Prague"))
	samples, err := samplesOf(c)
	if err != nil || len(samples) == 0 {
		return
	}
	first := samples[0]
	heading(b, s, "Try it")
	take := "bridge connectors sample " + c.Name + " " + first.event
	if schemeOf(c) != source.SchemeHMAC {
		fmt.Fprintf(b, "%s |\n  %s\n", take, curl(c, first, secret, "-"))
		return
	}
	event := ""
	if first.named() != "" {
		event = first.event + " "
	}
	fmt.Fprintf(b, "%s |\n  bridge send -c bridge.yaml %s %s-    # signs it\n", take, c.Name, event)
	if sign, ok := openssl(c.Verification.HMAC, secret); ok {
		fmt.Fprintf(b, "\n%s > webhook\n%s%s\n", take, sign, curl(c, first, secret, "webhook"))
	}
}

// curl is a command that sends a webhook whose body is in a file. For a vendor that signs, what [openssl] prints comes before.
func curl(c *connectors.Connector, w vendorSample, secret, file string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "curl --data-binary @%s -H 'Content-Type: %s'", file, w.ContentType)
	path := "/webhooks/" + c.Name
	if schemeOf(c) == source.SchemePathToken {
		path += "/t/$" + secret
	}
	switch {
	case c.EventHeader != "":
		fmt.Fprintf(&b, " -H '%s: %s'", c.EventHeader, w.event)
	case w.named() != "":
		path += "/" + w.event
	}
	if c.KeyHeader != "" {
		fmt.Fprintf(&b, " -H '%s: 1'", c.KeyHeader)
	}
	switch h := c.Verification.HMAC; schemeOf(c) {
	case source.SchemeHeader:
		fmt.Fprintf(&b, " -H \"%s: $%s\"", c.Verification.Header, secret)
	case source.SchemeHMAC:
		value := h.Prefix + "$signature"
		switch {
		case h.TimestampHeader != "":
			fmt.Fprintf(&b, " -H \"%s: $time\"", h.TimestampHeader)
		case h.TimestampPrefix != "":
			value = h.TimestampPrefix + "$time" + h.Separator + value
		}
		fmt.Fprintf(&b, " -H \"%s: %s\"", h.Header, value)
	}
	fmt.Fprintf(&b, " \\\n  \"http://127.0.0.1:8080%s\"", path)
	return b.String()
}

// openssl is commands that sign the file webhook: they set the variables signature and, if it is signed, time. Only the usual ways
// to sign have some.
func openssl(h *connectors.HMAC, secret string) (commands string, ok bool) {
	if h.SecretPrefix != "" || cmp.Or(h.SecretEncoding, "text") != "text" || cmp.Or(h.TimestampUnit, "s") != "s" {
		return "", false
	}
	sign := fmt.Sprintf("openssl dgst -%s -hmac \"$%s\"", cmp.Or(h.Algorithm, "sha256"), secret)
	if cmp.Or(h.Encoding, "hex") == "hex" {
		sign += " -r | cut -d' ' -f1"
	} else {
		sign += " -binary | openssl base64 -A"
	}
	switch cmp.Or(h.Signed, "{body}") {
	case "{body}":
		return fmt.Sprintf("signature=$(cat webhook | %s)\n", sign), true
	case "{timestamp}.{body}":
		return fmt.Sprintf("time=$(date +%%s)\nsignature=$({ printf '%%s.' $time; cat webhook; } | %s)\n", sign), true
	default:
		return "", false
	}
}
