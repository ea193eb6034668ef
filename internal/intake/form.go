package intake

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/webhook-bridge/bridge/connectors"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
)

// IsForm reports whether a body of this type is a form.
func IsForm(contentType string) bool {
	mediaType, _, _ := strings.Cut(contentType, ";")
	return strings.EqualFold(strings.TrimSpace(mediaType), "application/x-www-form-urlencoded")
}

// Document returns the JSON of a body: the value of the connector's FormField if the body is a form, otherwise the body itself.
// Either is normalized if the connector does that. The document is at most as long as the body.
func Document(c *connectors.Connector, encoding journalv1.Encoding, body []byte) ([]byte, *Fault) {
	if encoding == journalv1.Encoding_ENCODING_FORM {
		field, err := formField(body, c.FormField)
		if err != nil {
			return nil, NewFault(BadForm, err)
		}
		body = field
	}
	if c.Normalize != nil {
		return normalize(c, body)
	}
	return body, nil
}

// normalize has the connector normalize a document. If the connector panics or changes the length, that is an internal error.
func normalize(c *connectors.Connector, text []byte) (document []byte, fault *Fault) {
	if fault := guard(func() { document = c.Normalize(text) }); fault != nil {
		return nil, fault
	}
	if len(document) != len(text) {
		return nil, NewFault(BadEvents, fmt.Errorf("the connector normalized %d bytes to %d", len(text), len(document)))
	}
	return document, nil
}

// formField returns the value of a form's field, which must be there once.
func formField(form []byte, field string) ([]byte, error) {
	var value []byte
	found := false
	for len(form) > 0 {
		var pair []byte
		pair, form, _ = bytes.Cut(form, []byte{'&'})
		name, text, _ := bytes.Cut(pair, []byte{'='})
		if !isField(name, field) {
			continue
		}
		if found {
			return nil, fmt.Errorf("the form has its field %.64q twice", field)
		}
		found, value = true, text
	}
	if !found {
		return nil, fmt.Errorf("the form has no field %.64q", field)
	}
	return unescapeForm(value)
}

func isField(name []byte, field string) bool {
	if string(name) == field {
		return true
	}
	// Three bytes may stand for one.
	if len(name) > 3*len(field) || bytes.IndexByte(name, '%') < 0 && bytes.IndexByte(name, '+') < 0 {
		return false
	}
	plain, err := unescapeForm(name)
	return err == nil && string(plain) == field
}

// unescapeForm undoes the escapes of a name or value of a form, in memory of its own.
func unescapeForm(text []byte) ([]byte, error) {
	plain := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '+':
			plain = append(plain, ' ')
		case '%':
			if i+2 >= len(text) {
				return nil, errors.New("the form ends within an escape")
			}
			high, low := unhex(text[i+1]), unhex(text[i+2])
			if high < 0 || low < 0 {
				return nil, errors.New("the form has an invalid escape in its field")
			}
			plain = append(plain, byte(high<<4|low))
			i += 2
		default:
			plain = append(plain, c)
		}
	}
	return plain, nil
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}
