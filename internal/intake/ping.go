package intake

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/webhook-bridge/bridge/connectors"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
)

// The pings that many vendors send. docs/receiving.md describes them.
var (
	pingEmpty     = &connectors.Ping{Name: "empty"}
	pingForm      = &connectors.Ping{Name: "form"}
	pingTest      = &connectors.Ping{Name: "test"}
	pingChallenge = &connectors.Ping{Name: "challenge"}

	commonPings = []*connectors.Ping{pingEmpty, pingForm, pingTest, pingChallenge}
)

// maxPing is the largest body that is looked at for the signs of a common ping, in bytes, and maxEmpty the largest of empty objects
// and arrays.
const maxPing, maxEmpty = 256, 32

// findPing returns which ping a webhook is, nil if it is none.
func (s *Source) findPing(d *Delivery, r *Reading) *connectors.Ping {
	if d.Fault != nil {
		return nil
	}
	names := [...]string{r.Event, d.PathEvent, HeaderOf(d.Headers, s.Connector.EventHeader)}
	for i := range s.Connector.Pings {
		p := &s.Connector.Pings[i]
		if slices.ContainsFunc(p.Events, func(e string) bool { return slices.Contains(names[:], e) }) || p.Path != "" && textAt(r.Document, p.Path, p.Value) == p.Value {
			return p
		}
	}
	if s.Connector.NoPings {
		return nil
	}
	if d.Element == 0 {
		if p := contentPing(d, r.Document); p != nil {
			return p
		}
	}
	for _, name := range names {
		if name == "" {
			continue
		}
		if _, modelled := s.Event(name); !modelled && isPingName(name) {
			return pingTest
		}
	}
	return nil
}

// contentPing returns the common ping that a body is. An element of an array is none: a vendor that sends facts does not test.
func contentPing(d *Delivery, document []byte) *connectors.Ping {
	if d.Encoding == journalv1.Encoding_ENCODING_PROTOBUF {
		return nil // its sender is a program, and no vendor
	}
	body := trim(d.Body)
	switch {
	case len(body) == 0:
		return pingEmpty
	case len(body) > maxPing && (d.Encoding == journalv1.Encoding_ENCODING_JSON || document == nil || len(document) > maxPing):
		return nil
	case pingForms.Match(body):
		return pingForm
	case document == nil:
		return textPing(body)
	}
	return textPing(trim(document))
}

func trim(text []byte) []byte {
	return bytes.Trim(bytes.TrimPrefix(text, []byte("\uFEFF")), " \t\r\n\x00")
}

// pingForms matches a form that has only the id of the webhook that was set up, as WooCommerce sends it.
var pingForms = regexp.MustCompile(`^(?:webhook_id|hook_id|webhook|ping|test)=[0-9A-Za-z_-]{0,40}$`)

// textPing returns the common ping that a document without white space around it is.
func textPing(text []byte) *connectors.Ping {
	switch string(text) {
	case "", "null", `""`:
		return pingEmpty
	}
	switch {
	case len(text) <= maxEmpty && len(bytes.Trim(text, "[]{}, \t\r\n")) == 0 && json.Valid(text): // empty objects and arrays
		return pingEmpty
	case text[0] == '{':
		return objectPing(text)
	case isPingName(strings.Trim(string(text), `"`)):
		return pingTest
	}
	return nil
}

// signs are in every object that is a common ping. An object of more than one member has the first.
var signs = [][]byte{[]byte(`"challenge"`), []byte(`"ping`), []byte(`"test`), []byte(`ping"`), []byte(`test"`), []byte(`hook_id"`)}

// objectPing returns the common ping that a small object is: it says nothing but that it is one, or has a challenge.
func objectPing(text []byte) *connectors.Ping {
	// Few facts pass these checks, so few are parsed twice.
	few := signs
	if bytes.IndexByte(text, ',') >= 0 {
		few = signs[:1]
	}
	if !slices.ContainsFunc(few, func(sign []byte) bool { return bytes.Contains(text, sign) }) {
		return nil
	}
	var members map[string]any
	if json.Unmarshal(text, &members) != nil {
		return nil
	}
	if _, ok := members["challenge"].(string); ok && len(members) <= 4 && !hasContainer(members) {
		return pingChallenge
	}
	if len(members) != 1 {
		return nil
	}
	for name, value := range members {
		text, isText := value.(string)
		switch name {
		case "webhook_id", "hook_id", "ping", "test":
			if !isContainer(value) {
				return pingTest
			}
		case "event", "event_type", "eventType", "type", "action", "topic", "message":
			if isText && isPingName(text) {
				return pingTest
			}
		}
	}
	return nil
}

func hasContainer(members map[string]any) bool {
	for _, v := range members {
		if isContainer(v) {
			return true
		}
	}
	return false
}

func isContainer(v any) bool {
	switch v.(type) {
	case map[string]any, []any:
		return true
	}
	return false
}

// isPingName reports whether an event's name says that it is a ping or a test, and nothing of what is tested but the webhook
// itself: "ping", "webhook.test", "TestEvent".
func isPingName(name string) bool {
	if len(name) < len("ping") || len(name) > 40 {
		return false
	}
	found := false
	for _, word := range wordsOf(name) {
		switch word {
		case "ping", "test", "testing":
			found = true
		case "webhook", "webhooks", "hook", "event", "events", "notification", "message", "endpoint", "connection", "url":
		default:
			return false
		}
	}
	return found
}

// wordsOf splits a name at capitals, and at what is no letter. The words are in lower case.
func wordsOf(name string) (words []string) {
	start, upper := 0, false
	add := func(end int) {
		if end > start {
			words = append(words, strings.ToLower(name[start:end]))
		}
	}
	for i, r := range name {
		switch {
		case !unicode.IsLetter(r):
			if unicode.IsDigit(r) {
				return nil
			}
			add(i)
			start, upper = i+1, false
		case unicode.IsUpper(r):
			if !upper {
				add(i)
				start = i
			}
			upper = true
		default:
			upper = false
		}
	}
	add(len(name))
	return words
}

// textAt returns the text or the number at a path such as "$.a.b" of a document. Only a document that has the text of want can
// have it there; any other is not parsed. Empty if there is none.
func textAt(document []byte, path, want string) string {
	if len(document) == 0 || !bytes.Contains(document, []byte(want)) {
		return ""
	}
	value := json.RawMessage(document)
	for _, step := range strings.Split(path, ".")[1:] {
		var members map[string]json.RawMessage
		if json.Unmarshal(value, &members) != nil {
			return ""
		}
		value = members[step]
	}
	var text string
	if json.Unmarshal(value, &text) == nil {
		return text
	}
	var number json.Number
	if json.Unmarshal(value, &number) == nil {
		return number.String()
	}
	return ""
}

// challengeOf returns the challenge of a ping that has a valid one. It shares no memory with the document.
func challengeOf(p *connectors.Ping, document []byte) string {
	if p.Challenge == "" {
		return ""
	}
	if challenge := textAt(document, p.Challenge, ""); connectors.ValidChallenge(challenge) {
		return challenge
	}
	return ""
}

// setPing makes the draft that of a ping.
func (d *Draft) setPing(delivery *Delivery, p *connectors.Ping) {
	d.Ping, d.webhook.Ping = p, p.Name
	if delivery.Stored != nil {
		d.keys = append(d.keyMemory[:0], d.ownKey(delivery, kindReleased, ""))
		return
	}
	// Pings of one name are one content for the source's window, so that their sender cannot fill the storage.
	d.entry.Bytes = digest([]byte(p.Name))
	d.keys = append(d.keyMemory[:0], scope{source: d.source.Name}.key(kindPing, p.Name, d.source.Window))
}
