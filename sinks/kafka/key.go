package kafka

import (
	"bytes"
	"fmt"
	"net/url"
	"strings"

	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/template"
)

// defaultKey is the template that means Key.
const defaultKey = "{source}/{subject}"

// Key returns the key of the records of a source and subject: both, joined by a slash, such as "returns/shipment/2b20e85f".
// Source names have no slash, so no two pairs share a key. If a name had a slash or a percent sign, it would be escaped as in a
// URL's path.
func Key(source, subject string) string { return escapeSource(source) + "/" + subject }

func escapeSource(source string) string {
	if strings.ContainsAny(source, "/%") {
		return url.PathEscape(source)
	}
	return source
}

// keyTemplate makes keys. The zero value makes those of Key.
type keyTemplate struct{ parsed *template.Template }

func (t keyTemplate) of(h *sinks.Header) (string, error) {
	if t.parsed == nil {
		return Key(string(h.Source), string(h.Subject)), nil
	}
	key, err := t.parsed.Expand(h, nil)
	if err != nil {
		return "", fmt.Errorf("key: %w", err)
	}
	return key, nil
}

// key parses a template. A tombstone must have the key of the records that it deletes.
func (r *resolver) key(text string, tombstones bool) keyTemplate {
	if text == "" || text == defaultKey {
		return keyTemplate{}
	}
	t, err := template.Parse(text, "source", "connector", "type", "kind", "subject")
	switch {
	case err != nil:
		r.addf("key", "%w", err)
	case tombstones && !strings.Contains(text, "{subject}"):
		r.addf("key", "must have {subject} with tombstones: a deletion would delete other subjects")
	case tombstones && strings.Contains(text, "{type}"):
		r.addf("key", "must not have {type} with tombstones: the deletion of a subject would have another key than its state")
	}
	return keyTemplate{&t}
}

// deletes reports whether an event deletes its subject. A stale event does not: a newer state was published before it.
func deletes(h *sinks.Header) bool { return bytes.HasSuffix(h.Type, []byte(".deleted")) && !h.Stale }
