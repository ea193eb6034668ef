package commit

import (
	"google.golang.org/protobuf/encoding/protowire"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// SubjectVersion is the greatest version of a subject.
type SubjectVersion struct {
	Subject journal.Hash
	Text    string
}

// Versions are the greatest versions of the subjects of which the group adds events with versions. The engine records each with
// the time of the commit, in place of what it knew of the subject, or beside it.
func (p *Plan) Versions() []SubjectVersion { return p.versions }

// decideVersions finds the stale events of an item whose events are added.
func (p *Plan) decideVersions(item *Item, d *Decision, known *Known) {
	from := len(p.stale)
	for i := range item.Versions {
		v := &item.Versions[i]
		if v.Subject != (journal.Hash{}) && p.addVersion(v, known) {
			p.stale = append(p.stale, i)
		}
	}
	if n := len(p.stale); n > from {
		d.Stale = p.stale[from:n:n]
	}
}

// addVersion adds a version to those of its subject, and reports whether one of them is greater.
func (p *Plan) addVersion(v *journal.Version, known *Known) (stale bool) {
	at, ok := p.subjects[v.Subject]
	if !ok {
		at = int32(len(p.versions))
		p.subjects[v.Subject] = at
		p.versions = append(p.versions, SubjectVersion{v.Subject, greatestKnown(v, known)})
	}
	greatest := &p.versions[at].Text
	order := sinks.CompareVersions(v.Text, *greatest)
	if order > 0 {
		*greatest = v.Text
	}
	return order < 0
}

// greatestKnown returns the greatest version that is known of the subject of v, or that of v if none is.
func greatestKnown(v *journal.Version, known *Known) string {
	greatest, found := v.Text, false
	for _, s := range known.Versions[v.Subject] {
		if known.Now.Sub(s.At) < v.Window && (!found || sinks.CompareVersions(s.Text, greatest) > 0) {
			greatest, found = s.Text, true
		}
	}
	return greatest
}

// staleField marks an event as stale. Fields of a message may be in any order, so that it can follow the encoded event.
var staleField = protowire.AppendVarint(protowire.AppendTag(nil,
	(*eventv1.Event)(nil).ProtoReflect().Descriptor().Fields().ByTextName("stale").Number(), protowire.VarintType), 1)
