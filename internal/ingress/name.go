package ingress

import (
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"

	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/vendorjson"
)

// maxName is the longest name of an event that nobody modelled, in bytes.
const maxName = 256

// nameFault says why a webhook's event could not be told.
type nameFault struct {
	reason intake.Reason
	cause  error
}

// eventName finds the event's name in the body's field, if the vendor has one, and the URL. Where both have it they must
// agree.
func eventName(field, inURL string, data []byte) (string, *nameFault) {
	inBody := ""
	if field != "" {
		var err error
		if inBody, _, err = vendorjson.Field(data, field); err != nil {
			return inURL, &nameFault{reason: intake.Malformed, cause: err}
		}
	}
	switch {
	case inBody == "" && inURL == "":
		return "", &nameFault{reason: intake.NoEvent, cause: errors.New("neither the body nor the URL names the event")}
	case inBody == "":
		return inURL, nil
	case inURL != "" && inURL != inBody:
		return inBody, &nameFault{
			reason: intake.EventMismatch,
			cause:  fmt.Errorf("the body says %.64q, the URL says %.64q", inBody, inURL),
		}
	}
	return inBody, nil
}

// checkName says whether a name that nobody modelled can be a part of a canonical event.
func checkName(name string) error {
	if len(name) > maxName {
		return fmt.Errorf("the event's name is longer than %d bytes", maxName)
	}
	if !utf8.ValidString(name) {
		return errors.New("the event's name is not valid UTF-8")
	}
	for _, r := range name {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("the event's name has the unprintable character %U", r)
		}
	}
	return nil
}
