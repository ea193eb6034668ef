package intake

import (
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/internal/vendorjson"
)

// maxName is the longest name of an event, in bytes: of one that nobody modelled, and of what is kept of one not usable.
const maxName = 256

// EventName finds the event's name in the body's field, if the vendor has one, and the URL. Where both have it they must
// agree. With a fault, the name is the one that is likelier meant.
func EventName(c *connectors.Connector, inURL string, body []byte) (string, *Fault) {
	inBody := ""
	if c.EventField != "" {
		var err error
		if inBody, _, err = vendorjson.Field(body, c.EventField); err != nil {
			return inURL, NewFault(Malformed, err)
		}
	}
	switch {
	case inBody == "" && inURL == "":
		return "", NewFault(NoEvent, errors.New("neither the body nor the URL names the event"))
	case inBody == "":
		return inURL, nil
	case inURL != "" && inURL != inBody:
		return inBody, NewFault(EventMismatch, fmt.Errorf("the body says %.64q, the URL says %.64q", inBody, inURL))
	}
	return inBody, nil
}

// checkText says whether a sender's text can be a part of a canonical event. The error continues a sentence.
func checkText(s string, limit int) error {
	if len(s) > limit {
		return fmt.Errorf("is longer than %d bytes", limit)
	}
	if !utf8.ValidString(s) {
		return errors.New("is not valid UTF-8")
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("has the unprintable character %U", r)
		}
	}
	return nil
}
