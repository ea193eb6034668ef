package sinks

import (
	"slices"
	"sync"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
)

// Memo remembers what readers derive from one event: its decoded form, for example. A log that gives the same record to many readers
// gives them one memo with it. It is safe for concurrent use.
type Memo struct {
	owner MemoOwner
	at    Position

	mu        sync.Mutex
	entries   []*derived // A few: a list is smaller and faster than a map.
	forgotten bool       // Nothing more is remembered.
}

type derived struct {
	key   any
	once  sync.Once
	value any
	err   error
}

// MemoOwner counts the memory of the memos of a log's records.
type MemoOwner interface {
	// Charge is called with the size of each thing that the memo of an event remembers. It must be safe for concurrent use.
	Charge(p Position, bytes int)
}

// Begin makes a memo that of the event at a position. It must be empty.
func (m *Memo) Begin(owner MemoOwner, p Position) { m.owner, m.at = owner, p }

// Forget makes a memo empty for good: its owner does not count it any more, so it remembers nothing of late readers. What readers have,
// they keep.
func (m *Memo) Forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.entries, m.forgotten = nil, true
}

// Child returns an empty memo for something that was derived from the event. What it remembers counts as the event's. The child of nil is
// nil.
func (m *Memo) Child() *Memo {
	if m == nil {
		return nil
	}
	return &Memo{owner: m.owner, at: m.at}
}

func (m *Memo) entry(key any) *derived {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.entries {
		if e.key == key {
			return e
		}
	}
	e := &derived{key: key}
	if !m.forgotten {
		m.entries = append(m.entries, e)
	}
	return e
}

func (m *Memo) remembers(e *derived) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Contains(m.entries, e)
}

// Derive returns what compute makes of the event, and about how many bytes it takes. If the record has a memo, this is computed once for
// each key, and all readers share the result and the error: nobody may change it. The key must be comparable; like the key of a
// context, its type should be the caller's own.
func Derive[T any](r *Record, key any, compute func() (value T, bytes int, err error)) (T, error) {
	if r.Memo == nil {
		value, _, err := compute()
		return value, err
	}
	e := r.Memo.entry(key)
	e.once.Do(func() {
		var bytes int
		e.value, bytes, e.err = compute()
		if r.Memo.remembers(e) {
			r.Memo.owner.Charge(r.Memo.at, bytes)
		}
	})
	value, _ := e.value.(T)
	return value, e.err
}

type decodedKey struct{}

// decodedSize is about how many bytes a decoded event takes for each byte of its encoding.
const decodedSize = 4

// Decoded returns the decoded event for a reader that only looks at it. Other readers may share it, so it must not be changed.
func (r *Record) Decoded() (*eventv1.Event, error) {
	return Derive(r, decodedKey{}, func() (*eventv1.Event, int, error) {
		e, err := r.Event()
		return e, decodedSize * len(r.Encoded), err
	})
}
