package groups_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/groups/groupstest"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// TestHistoriesFindFaults plants a fault in what the groups stand on, or in how they use it, and expects that a history finds it.
func TestHistoriesFindFaults(t *testing.T) {
	for name, fault := range map[string]struct {
		breaks func(parts) parts
		plan   func(*groupstest.Plan)
	}{
		"writes without a version":            {withStore(blindWrites), withFaults},
		"a share with two owners":             {withStore(twoOwners), withFaults},
		"an acknowledgement is not stored":    {withStore(forgetsWrites), withFaults},
		"a failure is not stored":             {withStore(forgetsFailures), withFaults},
		"a parked event is not stored":        {withStore(dropsParked), quiet},
		"a replayed event stays parked":       {withStore(keepsParked), quiet},
		"parked events are not seen":          {hidesLetters, strict},
		"an event of the log is not seen":     {withLog(hidesEvents), quiet},
		"the subject is not read":             {withLog(hidesSubjects), quiet},
		"deadlines end early":                 {fastClock, quiet},
		"a seek moves the definition alone":   {withStore(seeksNothing), seeking},
		"the log gives events before a start": {withStore(startsEarly), late},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := uint64(1); seed <= 40; seed++ {
				plan := groupstest.RandomPlan(seed)
				plan.Seeks, plan.Expiries, plan.Calm = false, false, 3*time.Minute
				fault.plan(&plan)
				if breaches := drive(t, plan, fault.breaks); len(breaches) > 0 {
					t.Logf("seed %d: %v", seed, breaches[0])
					return
				}
			}
			t.Error("no history finds it")
		})
	}
}

func withFaults(p *groupstest.Plan) { p.Kills, p.Freezes, p.Workers = true, true, 4 }
func quiet(p *groupstest.Plan)      { p.Kills, p.Freezes = false, false }
func seeking(p *groupstest.Plan)    { p.Seeks, p.Kills, p.Freezes = true, false, false }
func late(p *groupstest.Plan)       { quiet(p); p.Latest, p.Before = true, 20 }

func strict(p *groupstest.Plan) {
	quiet(p)
	p.Policy.StrictOrder, p.Subjects, p.Seed = true, 3, p.Seed*3+2
}

// store is a store with a fault.
type store struct {
	journal.Groups
	save func(ctx context.Context, group string, changes []journal.ShareChange) ([]bool, error)
	set  func(ctx context.Context, name string, version uint64, definition []byte, reset *journal.GroupReset) (uint64, error)
	take func(ctx context.Context, s journal.Session, group string, indexes []int) ([]journal.Share, error)
}

func (s *store) SaveShares(ctx context.Context, group string, changes []journal.ShareChange) ([]bool, error) {
	if s.save != nil {
		return s.save(ctx, group, changes)
	}
	return s.Groups.SaveShares(ctx, group, changes)
}

func (s *store) SetGroup(ctx context.Context, name string, version uint64, definition []byte, reset *journal.GroupReset) (uint64, error) {
	if s.set != nil {
		return s.set(ctx, name, version, definition, reset)
	}
	return s.Groups.SetGroup(ctx, name, version, definition, reset)
}

func (s *store) Enlist(ctx context.Context) (journal.Session, error) {
	enlisted, err := s.Groups.Enlist(ctx)
	if err != nil || s.take == nil {
		return enlisted, err
	}
	return &session{enlisted, s}, nil
}

type session struct {
	journal.Session
	s *store
}

func (s *session) Take(ctx context.Context, group string, indexes []int) ([]journal.Share, error) {
	return s.s.take(ctx, s.Session, group, indexes)
}

func withStore(fault func(*store)) func(parts) parts {
	return func(p parts) parts {
		s := &store{Groups: p.groups}
		fault(s)
		p.groups = s
		return p
	}
}

// blindWrites writes over what others wrote.
func blindWrites(s *store) {
	s.save = func(ctx context.Context, group string, changes []journal.ShareChange) ([]bool, error) {
		changes = slices.Clone(changes)
		for i, c := range changes {
			current, err := s.Shares(ctx, group, []int{c.Index})
			if err != nil {
				return nil, err
			}
			changes[i].Epoch, changes[i].Version = current[0].Epoch, current[0].Version
		}
		return s.Groups.SaveShares(ctx, group, changes)
	}
}

// twoOwners gives a session shares that it does not own, as they are.
func twoOwners(s *store) {
	s.take = func(ctx context.Context, owner journal.Session, group string, indexes []int) ([]journal.Share, error) {
		if _, err := owner.Take(ctx, group, indexes); err != nil {
			return nil, err
		}
		all := make([]int, journal.GroupShares)
		for i := range all {
			all[i] = i
		}
		return s.Shares(ctx, group, all)
	}
}

// forgetsWrites says at times that it has written, and has not.
func forgetsWrites(s *store) {
	var n atomic.Int64
	s.save = func(ctx context.Context, group string, changes []journal.ShareChange) ([]bool, error) {
		if n.Add(1)%7 == 0 {
			return slices.Repeat([]bool{true}, len(changes)), nil
		}
		return s.Groups.SaveShares(ctx, group, changes)
	}
}

// forgetsFailures stores no failed attempts.
func forgetsFailures(s *store) {
	s.save = func(ctx context.Context, group string, changes []journal.ShareChange) ([]bool, error) {
		changes = slices.Clone(changes)
		for i := range changes {
			var state journalv1.GroupShare
			if err := proto.Unmarshal(changes[i].State, &state); err != nil {
				return nil, err
			}
			state.Failed = nil
			changes[i].State, _ = proto.Marshal(&state)
		}
		return s.Groups.SaveShares(ctx, group, changes)
	}
}

func dropsParked(s *store) { s.save = without(s, func(c *journal.ShareChange) { c.Park = nil }) }

func keepsParked(s *store) { s.save = without(s, func(c *journal.ShareChange) { c.Unpark = nil }) }

func without(s *store, change func(*journal.ShareChange)) func(context.Context, string, []journal.ShareChange) ([]bool, error) {
	return func(ctx context.Context, group string, changes []journal.ShareChange) ([]bool, error) {
		changes = slices.Clone(changes)
		for i := range changes {
			change(&changes[i])
		}
		return s.Groups.SaveShares(ctx, group, changes)
	}
}

func seeksNothing(s *store) {
	s.set = func(ctx context.Context, name string, version uint64, definition []byte, reset *journal.GroupReset) (uint64, error) {
		if version != 0 {
			reset = nil
		}
		return s.Groups.SetGroup(ctx, name, version, definition, reset)
	}
}

func startsEarly(s *store) {
	s.set = func(ctx context.Context, name string, version uint64, definition []byte, reset *journal.GroupReset) (uint64, error) {
		if reset != nil {
			reset = &journal.GroupReset{}
		}
		return s.Groups.SetGroup(ctx, name, version, definition, reset)
	}
}

// letters shows no parked events to whoever asks for a whole page of them.
type letters struct{ journal.DeadLetters }

func (l *letters) Parked(ctx context.Context, name string, from sinks.Position, limit int) ([]*journalv1.Parked, error) {
	if limit == 100 {
		return nil, nil
	}
	return l.DeadLetters.Parked(ctx, name, from, limit)
}

func hidesLetters(p parts) parts {
	p.letters = &letters{p.letters}
	return p
}

// log is a log with a fault.
type log struct {
	sinks.Log
	fault func(*sinks.Record)
}

func (l *log) Read(ctx context.Context, from sinks.Position, records []sinks.Record) ([]sinks.Record, error) {
	read, err := l.Log.Read(ctx, from, records)
	for i := range read {
		l.fault(&read[i])
	}
	return read, err
}

func withLog(fault func(*sinks.Record)) func(parts) parts {
	return func(p parts) parts {
		p.log = &log{Log: p.log, fault: fault}
		return p
	}
}

func hidesEvents(r *sinks.Record) {
	if r.Position%17 == 0 {
		r.Header.Type = []byte("customer.created")
	}
}

func hidesSubjects(r *sinks.Record) { r.Header.Subject = nil }

// fastClock runs three times as fast as the test's.
func fastClock(p parts) parts {
	began := time.Now()
	p.now = func() time.Time { return began.Add(3 * time.Since(began)) }
	return p
}
