package alerts

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
)

const (
	// noteInterval is how often the note is saved while it changes. A change of an alert is saved at once.
	noteInterval = 15 * time.Second
	// noteTime bounds the time of a save.
	noteTime = 2 * time.Second
)

// noteWriter saves the note of the claim.
type noteWriter struct {
	at     time.Time
	saved  []byte
	raised []bool
	failed bool
}

// save saves the note if an alert has changed or, now and then, if anything has.
func (w *noteWriter) save(ctx context.Context, now time.Time, m *Monitor, claim Claim) {
	raised := m.raised()
	if slices.Equal(raised, w.raised) && now.Sub(w.at) < noteInterval {
		return
	}
	note, err := proto.MarshalOptions{Deterministic: true}.Marshal(m.newNote())
	if err == nil && bytes.Equal(note, w.saved) {
		return
	}
	saving, cancel := context.WithTimeout(ctx, noteTime)
	defer cancel()
	if err == nil {
		err = claim.SaveNote(saving, note)
	}
	w.at = now
	if err != nil {
		if !w.failed && ctx.Err() == nil {
			m.log.Warn("alerts: the note for the next holder cannot be saved", "error", err)
		}
		w.failed = true
		return
	}
	w.saved, w.raised, w.failed = note, raised, false
}

// last saves the note before the claim is given back. That may fail without a word: the claim may be lost by now, as when the journal closes.
func (w *noteWriter) last(ctx context.Context, m *Monitor, claim Claim) {
	w.failed = true
	w.save(context.WithoutCancel(ctx), w.at.Add(noteInterval), m, claim)
}

// raised says which alerts are raised.
func (m *Monitor) raised() (all []bool) {
	for _, s := range m.sources {
		for _, a := range s.alerts() {
			all = append(all, a.isRaised())
		}
	}
	return all
}

// readNote returns nil if there is no note.
func readNote(text []byte) (*journalv1.AlertsNote, error) {
	if len(text) == 0 {
		return nil, nil
	}
	note := new(journalv1.AlertsNote)
	if err := proto.Unmarshal(text, note); err != nil {
		return nil, err
	}
	return note, nil
}

func (m *Monitor) newNote() *journalv1.AlertsNote {
	note := &journalv1.AlertsNote{}
	for _, s := range m.sources {
		note.Sources = append(note.Sources, s.state(m.sums.total[s.Name]))
	}
	for _, id := range slices.Sorted(maps.Keys(m.sums.known)) {
		k := m.sums.known[id]
		r := &journalv1.ReplicaCounts{Replica: id, SeenAt: timestamppb.New(k.seen)}
		for _, source := range slices.Sorted(maps.Keys(k.counts)) {
			r.Counts = append(r.Counts, k.counts[source].message(source))
		}
		note.Replicas = append(note.Replicas, r)
	}
	return note
}

// state returns the part of the note that the next holder needs for the source.
func (m *sourceMonitor) state(sum counts) *journalv1.SourceAlerts {
	s := &journalv1.SourceAlerts{
		Source: m.Name, LastAt: timestamppb.New(m.lastAt), Heard: m.isHeard, Sums: sum.message(""),
		Requests: m.requests.messages(), Quarantines: m.quarantines.messages(), VerifiedAtRaise: uint64(m.verifiedAtRaise),
	}
	for _, a := range m.alerts() {
		if a.isRaised() {
			s.Raised = append(s.Raised, &journalv1.RaisedAlert{Alert: a.name, LoggedAt: timestamppb.New(a.logged)})
		}
	}
	return s
}

func (w *window) messages() (all []*journalv1.CountsReading) {
	for _, r := range w.readings {
		all = append(all, &journalv1.CountsReading{At: timestamppb.New(r.at), Counts: r.message("")})
	}
	return all
}

// restore takes the readings of a note.
func (w *window) restore(all []*journalv1.CountsReading, now time.Time) {
	w.readings = nil
	for _, r := range all {
		w.readings = append(w.readings, reading{notAfter(r.GetAt(), now), countsOf(r.GetCounts())})
	}
}

// notAfter is the time of a note. The clock of the instance that wrote it may be ahead.
func notAfter(t *timestamppb.Timestamp, now time.Time) time.Time {
	if at := t.AsTime(); at.Before(now) {
		return at
	}
	return now
}
