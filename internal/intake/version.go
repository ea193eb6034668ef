package intake

import (
	"encoding/binary"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
)

// appendVersions appends the versions of the subjects of a source's events: one for each event, or nothing if no event has one.
func appendVersions(versions []journal.Version, source string, events []*eventv1.Event) []journal.Version {
	from := len(versions)
	for i, e := range events {
		if !isVersioned(e) {
			continue
		}
		for len(versions) < from+len(events) {
			versions = append(versions, journal.Version{})
		}
		versions[from+i] = journal.Version{Subject: subjectHash(source, e.GetSubject()), Text: e.GetSubjectVersion(), Window: NaturalWindow}
	}
	return versions
}

// isVersioned reports whether an event's version can be compared with others of its subject. The subject of an unmapped event is
// its vendor event: the versions there are those of several records.
func isVersioned(e *eventv1.Event) bool {
	return e.GetSubjectVersion() != "" && e.GetType() != UnmappedType
}

// subjectHash is the digest of a subject of a source.
func subjectHash(source, subject string) journal.Hash {
	var memory [256]byte
	b := binary.BigEndian.AppendUint32(append(memory[:0], kindVersion), uint32(len(source)))
	return digest(append(append(b, source...), subject...))
}
