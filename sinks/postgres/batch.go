package postgres

import (
	"fmt"
	"sync"

	"google.golang.org/protobuf/reflect/protoreflect"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

// batch is the events of one transaction. Each is decoded and written as JSON once.
type batch struct {
	records []sinks.Record
	made    []made
}

// made is what was made of an event so far.
type made struct {
	event *eventv1.Event
	// text is the JSON of the data, and exact says that it holds them exactly.
	text  []byte
	exact bool
	// columns are the values of the data's own columns in the table of the kind.
	columns []any
}

func newBatch(records []sinks.Record) *batch { return &batch{records, make([]made, len(records))} }

// event returns the i-th event, which must not be changed.
func (b *batch) event(i int) (*eventv1.Event, error) {
	m := &b.made[i]
	if m.event == nil {
		e, err := b.records[i].Decoded()
		if err != nil {
			return nil, refusef("%v", fmt.Errorf("the event cannot be decoded: %w", err))
		}
		m.event = e
	}
	return m.event, nil
}

// data returns the data of the i-th event and their field, as dataOf.
func (b *batch) data(i int) (protoreflect.FieldDescriptor, protoreflect.Message, error) {
	e, err := b.event(i)
	if err != nil {
		return nil, nil, err
	}
	field, data := dataOf(e)
	return field, data, nil
}

// text returns the JSON of the i-th event's data, as jsonOf.
func (b *batch) text(i int) (text []byte, exact bool, err error) {
	m := &b.made[i]
	if m.text == nil {
		_, data, err := b.data(i)
		if err != nil {
			return nil, false, err
		}
		if m.text, m.exact, err = jsonOf(data); err != nil {
			return nil, false, err
		}
	}
	return m.text, m.exact, nil
}

// halves divides a batch.
func (b *batch) halves() (first, rest *batch) {
	half := len(b.records) / 2
	return &batch{b.records[:half], b.made[:half]}, &batch{b.records[half:], b.made[half:]}
}

// Prepare implements [sinks.Preparer]: it makes of the events what their rows need. An event for which that fails is left to Deliver.
func (s *Sink) Prepare(events []sinks.Record) {
	b := newBatch(events)
	for i := range events {
		if s.ctx.Err() != nil {
			return
		}
		field, data, err := b.data(i)
		if err != nil {
			continue
		}
		k := s.state.kindOf(field)
		if s.events == nil && k == nil {
			continue
		}
		text, _, err := b.text(i)
		if err != nil || k == nil {
			continue
		}
		if columns, err := k.appendColumns(nil, data, text); err == nil {
			b.made[i].columns = columns
		}
	}
	s.prepared.add(b)
}

// preparations are the events that were prepared for the next Deliver. They are safe for concurrent use.
type preparations struct {
	mu      sync.Mutex
	batches []*batch
}

func (p *preparations) add(b *batch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.batches = append(p.batches, b)
}

// take gives a batch what was made of its events, and forgets the rest.
func (p *preparations) take(to *batch) {
	p.mu.Lock()
	batches := p.batches
	p.batches = nil
	p.mu.Unlock()
	next := 0
	for _, from := range batches {
		for i := range from.records {
			at := from.records[i].Position
			for next < len(to.records) && to.records[next].Position < at {
				next++
			}
			if next < len(to.records) && same(&to.records[next], &from.records[i]) {
				to.made[next] = from.made[i]
			}
		}
	}
}

// same reports whether two records are the same event in the same memory.
func same(a, b *sinks.Record) bool {
	return a.Position == b.Position && len(a.Encoded) == len(b.Encoded) && len(a.Encoded) > 0 && &a.Encoded[0] == &b.Encoded[0]
}
