package grpcstream

import (
	"context"
	"fmt"

	"github.com/webhook-bridge/bridge/sinks"
)

// Viewer is the caller of one call: it says what the caller may see. It is safe for concurrent use. Errors are statuses for the client:
// PERMISSION_DENIED, with a text that names what is missing. They are counted as refusals, so a question that refuses nobody, such as
// which groups to list, goes to the methods that return a bool.
//
// A reader asks [Viewer.MaySeeSource] and [Viewer.MaySeeType] once for each source and type, and remembers the answers. Both must
// be true for an event, also where the event reaches the client in another way: as a parked event, by its id, or raw.
//
// A caller without [Viewer.Personal] gets events, and typed vendor messages, without personal data. It must not learn them by a
// question either: an expression over the content of events sees the masked event.
type Viewer interface {
	// Name is the principal's name, or empty.
	Name() string
	// Filter returns an error if an entry of a filter chooses nothing that the caller may see. A filter that chooses more than the
	// caller may see is no error: it is narrowed, by MaySeeSource and MaySeeType.
	Filter(sources, types []string) error
	// MaySeeSource and MaySeeType report whether the caller may see events of a source, and of a type.
	MaySeeSource(source string) bool
	MaySeeType(kind string) bool
	// Group returns an error if the caller may not use a group: join, look, seek, replay, delete. MayJoin reports the same.
	Group(name string) error
	MayJoin(group string) bool
	// RawPayload returns an error if the caller may not see raw webhooks. They are not masked.
	RawPayload() error
	// Personal reports whether the caller may see personal data.
	Personal() bool
	// Rules is a comparable value: viewers with equal rules may see the same. Streams whose viewers have equal rules share what is sent.
	Rules() any
}

// anyone may see everything.
type anyone struct{}

func (anyone) Name() string                    { return "" }
func (anyone) Filter([]string, []string) error { return nil }
func (anyone) MaySeeSource(string) bool        { return true }
func (anyone) MaySeeType(string) bool          { return true }
func (anyone) Group(string) error              { return nil }
func (anyone) MayJoin(string) bool             { return true }
func (anyone) RawPayload() error               { return nil }
func (anyone) Personal() bool                  { return true }
func (anyone) Rules() any                      { return anyone{} }

// maxVisible bounds the number of sources that a view remembers, and of types. Bridge has a few dozen.
const maxVisible = 1024

// View has the rights of the caller of one call. It belongs to one goroutine.
type View struct {
	viewer         Viewer
	masked         func(sinks.Record) ([]byte, error)
	sources, types map[string]bool
}

// NewView returns the view of a call's caller.
func (s *Server) NewView(ctx context.Context) *View {
	return &View{viewer: s.viewer(ctx), masked: s.masked, sources: make(map[string]bool), types: make(map[string]bool)}
}

// Viewer returns the caller.
func (v *View) Viewer() Viewer { return v.viewer }

// Shows reports whether the caller may see an event.
func (v *View) Shows(h *sinks.Header) bool {
	return remembered(v.sources, h.Source, v.viewer.MaySeeSource) && remembered(v.types, h.Type, v.viewer.MaySeeType)
}

// Seen returns an event as the caller may see it. A filter looks at nothing else: it must not tell what is masked.
func (v *View) Seen(r *sinks.Record) (sinks.Record, error) {
	if v.viewer.Personal() {
		return *r, nil
	}
	return sinks.Derive(r, maskedKey{}, func() (sinks.Record, int, error) {
		masked, err := v.masked(*r)
		if err != nil {
			return sinks.Record{}, 0, fmt.Errorf("grpcstream: mask the event at position %d: %w", r.Position, err)
		}
		return sinks.Record{Position: r.Position, Header: r.Header, Encoded: masked, Memo: r.Memo.Child()}, len(masked), nil
	})
}

// maskedKey is the key of a masked event among what is derived from a record.
type maskedKey struct{}

// remembered returns the answer for a key, and asks only once.
func remembered(answers map[string]bool, key []byte, ask func(string) bool) bool {
	if answer, ok := answers[string(key)]; ok {
		return answer
	}
	name := string(key)
	answer := ask(name)
	if len(answers) < maxVisible {
		answers[name] = answer
	}
	return answer
}
