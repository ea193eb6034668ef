package intake

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/internal/vendorjson"
)

// maxName is the longest name of an event, in bytes. It limits the name of an unmapped event, and the part of an unusable name
// that is stored.
const maxName = 256

// Names has the names of a webhook's event that are outside the body.
type Names struct {
	// Path is the name in the URL, Header that in the connector's EventHeader; each is empty where there is none.
	Path, Header string
	// UnsignedPath and UnsignedHeader say that the sender signs and that its signature does not cover the name. Such a name
	// never decides alone, because a stranger can change it.
	UnsignedPath, UnsignedHeader bool
}

// proved reports whether one of the names may decide alone.
func (n Names) proved() bool {
	return n.Path != "" && !n.UnsignedPath || n.Header != "" && !n.UnsignedHeader
}

// EventName finds the event's name in the body's field, if the vendor has one, the URL and the header. Those that have it
// must agree. With a fault, the name is the one that is likelier meant.
func EventName(c *connectors.Connector, named Names, body []byte) (string, *Fault) {
	name, proved := cmp.Or(named.Path, named.Header), named.proved()
	if c.EventField != "" {
		inBody, _, err := vendorjson.Field(body, c.EventField)
		if err != nil {
			return name, NewFault(Malformed, err)
		}
		if inBody != "" {
			name, proved = inBody, true
		}
	}
	switch {
	case name == "":
		return "", NewFault(NoEvent, errors.New("neither the body nor the request names the event"))
	case named.Path != "" && named.Path != name:
		return name, NewFault(EventMismatch, fmt.Errorf("the body says %.64q, the URL says %.64q", name, named.Path))
	case named.Header != "" && named.Header != name:
		return name, NewFault(EventMismatch, fmt.Errorf("the body or the URL says %.64q, the header says %.64q", name, named.Header))
	case !proved:
		return name, NewFault(UnsignedName, errors.New("the body does not name the event, and the signature does not cover the name"))
	}
	return name, nil
}

// checkName says whether an event's name can be a part of a canonical event. The error continues a sentence.
func checkName(s string) error {
	if err := checkText(s, maxName); err != nil {
		return err
	}
	// What is stored of a name that was no text must not be taken for one later.
	if strings.ContainsRune(s, utf8.RuneError) {
		return errors.New("is not valid UTF-8")
	}
	return nil
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
