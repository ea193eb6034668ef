// Package memgroups keeps subscription groups in memory. It is the reference for the semantics of [journal.Groups], and a store for fast
// tests. Several instances share a store, as the processes over one database do. A test can freeze and end an instance, end its sessions,
// and have writes fail or wait. Nothing happens by itself: a session lives until it is closed, its instance ends, or a test says [Instance.Lose].
package memgroups

import (
	"context"
	"sync"
	"time"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// Store has the groups of all instances. It is safe for concurrent use.
type Store struct {
	now func() time.Time

	mu     sync.Mutex
	groups map[string]*group
	// letters are the parked events, by the names of their readers.
	letters map[string]map[sinks.Position]*letter
	// spent is the greatest version and epoch of the groups that were deleted.
	spent    uint64
	sessions map[*session]struct{}
	// serial numbers the sessions.
	serial int
	// writes is how many writes succeed before all others fail. Below 0 none fails.
	writes  int
	stalled *stall
}

type group struct {
	definition []byte
	version    uint64
	shares     [journal.GroupShares]share
	members    map[string]*member
}

type share struct {
	epoch, version uint64
	state          []byte
	owner          *session
}

type member struct {
	session *session
	joined  time.Time
	note    []byte
}

type letter struct {
	parked *journalv1.Parked
	retry  bool
}

// stall holds up writes.
type stall struct {
	held   chan struct{}
	once   sync.Once
	resume chan struct{}
	fail   bool
}

// New makes an empty store. Its times are those of now; the default is time.Now.
func New(now func() time.Time) *Store {
	if now == nil {
		now = time.Now
	}
	return &Store{
		now: now, groups: make(map[string]*group), letters: make(map[string]map[sinks.Position]*letter),
		sessions: make(map[*session]struct{}), writes: -1,
	}
}

// FailAfter has n more writes succeed, and all others fail with ErrUnavailable and without an effect. Below 0 none fails.
func (s *Store) FailAfter(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes = n
}

// Stall holds up every write. held is closed when the first one is held up. resume lets them go on, or has them fail. It is called once.
func (s *Store) Stall() (held <-chan struct{}, resume func(fail bool)) {
	st := &stall{held: make(chan struct{}), resume: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stalled = st
	return st.held, func(fail bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.stalled, st.fail = nil, fail
		close(st.resume)
	}
}

// pass waits while writes are held up.
func (s *Store) pass(ctx context.Context) error {
	s.mu.Lock()
	st := s.stalled
	s.mu.Unlock()
	if st == nil {
		return nil
	}
	st.once.Do(func() { close(st.held) })
	select {
	case <-st.resume:
	case <-ctx.Done():
		return ctx.Err()
	}
	if st.fail {
		return journal.ErrUnavailable
	}
	return nil
}

// count counts a write, and returns ErrUnavailable if it fails. The caller holds mu.
func (s *Store) count() error {
	if s.writes == 0 {
		return journal.ErrUnavailable
	}
	s.writes = max(s.writes-1, -1)
	return nil
}

// notify tells all sessions of a change. The caller holds mu.
func (s *Store) notify() {
	for each := range s.sessions {
		select {
		case each.changed <- struct{}{}:
		default:
		}
	}
}

// end ends a session. The caller holds mu.
func (s *Store) end(ended *session) {
	if _, lives := s.sessions[ended]; !lives {
		return
	}
	delete(s.sessions, ended)
	close(ended.lost)
	for _, g := range s.groups {
		for i := range g.shares {
			if g.shares[i].owner == ended {
				g.shares[i].owner = nil
			}
		}
		for id, m := range g.members {
			if m.session == ended {
				delete(g.members, id)
			}
		}
	}
	s.notify()
}
